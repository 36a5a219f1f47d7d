"""Pictures and tables of a classifier's test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.reporting.drawing import COLOURS, as_png, bare, heat_map, new_figure
from tasks.reporting.page import Picture, Table

MOST_NUMBERED = 30
"""Up to so many classes, the confusion matrix is drawn with names and numbers."""


@dataclass(frozen=True)
class Mistake:
    """One wrong prediction: its picture (uint8, H x W x 3) and names."""

    pixels: NDArray[np.uint8]
    truth: str
    predicted: str
    confidence: float


def confusion_picture(counts: NDArray[np.int64], names: Sequence[str]) -> Picture:
    """The confusion matrix, each row divided by its sum; rows are the truth."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    if len(names) <= MOST_NUMBERED:
        side = max(4.2, 0.55 * len(names))
        figure, axes = new_figure(1, 1, side + 1.0, side)
        heat_map(axes[0, 0], shares, names, names, "{:.0%}")
    else:
        figure, axes = new_figure(1, 1, 7.0, 6.6)
        axes[0, 0].imshow(np.sqrt(shares), cmap="Blues")
        axes[0, 0].grid(False)
    axes[0, 0].set_xlabel("predicted")
    axes[0, 0].set_ylabel("truth")
    return Picture("confusion", as_png(figure), "Confusion matrix", "Share of each true class.")


def confused_pairs(counts: NDArray[np.int64], names: Sequence[str], most: int = 15) -> Table:
    """The pairs of classes that are confused most often."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(wrong, axis=None)[::-1][:most]
    rows = []
    for flat in order:
        truth, predicted = divmod(int(flat), len(names))
        count = int(wrong[truth, predicted])
        if count:
            share = count / max(1, int(counts[truth].sum()))
            rows.append([names[truth], names[predicted], str(count), f"{share:.1%}"])
    return Table(["truth", "predicted", "images", "of the class"], rows, "Most confused pairs")


def class_table(counts: NDArray[np.int64], names: Sequence[str]) -> Table:
    """Images, recall, precision and the most frequent mistake of every class."""
    seen, guessed = counts.sum(1), counts.sum(0)
    rows = []
    for i, name in enumerate(names):
        wrong = counts[i].copy()
        wrong[i] = 0
        mistake = names[int(wrong.argmax())] if wrong.any() else "-"
        right = int(counts[i, i])
        rows.append([name, str(int(seen[i])), _share(right, seen[i]), _share(right, guessed[i])])
        rows[-1].append(mistake)
    return Table(["class", "images", "top-1", "precision", "most often taken for"], rows)


def mistakes_picture(mistakes: Sequence[Mistake]) -> Picture:
    """The given wrong predictions in a grid, each with its truth, prediction and confidence."""
    columns = min(8, len(mistakes))
    rows = -(-len(mistakes) // columns)
    figure, axes = new_figure(rows, columns, 1.35 * columns, 1.75 * rows)
    for place in axes.flat:
        bare(place)
    for place, mistake in zip(axes.flat, mistakes, strict=False):
        place.imshow(mistake.pixels, interpolation="nearest")
        title = f"{mistake.truth}\n→ {mistake.predicted} {mistake.confidence:.0%}"
        place.set_title(title, fontsize=7.5, fontweight="normal", loc="left")
    caption = "Highest loss first: the truth, then what was predicted and how surely."
    return Picture("worst", as_png(figure), "The worst predictions", caption)


def reliability_picture(
    counts: NDArray[np.float64], confidence: NDArray[np.float64], accuracy: NDArray[np.float64]
) -> Picture:
    """Accuracy against confidence in bins of equal width, over the share of images in each."""
    edges = np.linspace(0, 1, len(counts) + 1)
    width = edges[1] - edges[0]
    figure, axes = new_figure(1, 2, 7.6, 3.1)
    axes[0, 0].plot([0, 1], [0, 1], color="#8a94a3", linestyle="--", linewidth=1)
    axes[0, 0].bar(edges[:-1] + width / 2, np.nan_to_num(accuracy), 0.92 * width, color=COLOURS[5])
    axes[0, 0].plot(confidence, accuracy, "o", color=COLOURS[0], markersize=4)
    axes[0, 0].set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes[0, 0].set_title("Reliability", loc="left")
    shares = counts / max(1.0, float(counts.sum()))
    axes[0, 1].bar(edges[:-1] + width / 2, shares, 0.92 * width, color=COLOURS[0])
    axes[0, 1].set(xlabel="confidence", ylabel="share of images", xlim=(0, 1))
    axes[0, 1].set_title("Confidence", loc="left")
    caption = "On the dashed line a prediction is right as often as its confidence says."
    return Picture("reliability", as_png(figure), "Reliability diagram", caption)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
