"""Images and tables of a classifier's test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from tasks.reporting.confusion import share_text
from tasks.reporting.drawing import COLOURS, bare, new_figure, short, styled
from tasks.reporting.page import ReportFigure, Table

_MISTAKES_PER_ROW = 6


@dataclass(frozen=True)
class Mistake:
    """One wrong prediction: its image (uint8, H x W x 3) and names."""

    pixels: NDArray[np.uint8]
    truth: str
    predicted: str
    confidence: float


def class_table(counts: NDArray[np.int64], names: Sequence[str]) -> Table:
    """Images, recall, precision and the most frequent mistake of every class."""
    seen, guessed = counts.sum(1), counts.sum(0)
    rows = []
    for i, name in enumerate(names):
        wrong = counts[i].copy()
        wrong[i] = 0
        mistake = names[int(wrong.argmax())] if wrong.any() else "-"
        right = int(counts[i, i])
        shares = [share_text(right, int(total[i])) for total in (seen, guessed)]
        rows.append([name, str(int(seen[i])), *shares, mistake])
    return Table(["class", "images", "top-1", "precision", "most often taken for"], rows)


@styled
def mistakes_figure(mistakes: Sequence[Mistake]) -> ReportFigure:
    """The given wrong predictions in a grid, each with its truth, prediction and confidence.

    Args:
        mistakes: at least one, in the order in which they are to be shown.
    """
    columns = min(_MISTAKES_PER_ROW, len(mistakes))
    rows = -(-len(mistakes) // columns)
    figure, axes = new_figure(rows, columns, 1.5 * columns, 1.86 * rows)
    places: list[Axes] = axes.ravel().tolist()
    for place in places:
        bare(place)
    for place, mistake in zip(places, mistakes, strict=False):
        place.imshow(mistake.pixels, interpolation="nearest")
        _name(place, mistake)
    caption = "Highest loss first: the truth in black, below it what was predicted and how surely."
    return ReportFigure("worst", figure, "The worst predictions", caption)


def _name(axes: Axes, mistake: Mistake) -> None:
    at: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "fontsize": 7.5,
    }
    axes.annotate(short(mistake.truth, 18), (0, 1), (0, 13), **at, fontweight="bold")
    predicted = f"{short(mistake.predicted, 15)}  {mistake.confidence:.0%}"
    axes.annotate(predicted, (0, 1), (0, 3), **at, color=COLOURS[1])
