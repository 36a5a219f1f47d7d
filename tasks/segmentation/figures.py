"""Images and tables of a segmentation's test."""

from collections.abc import Sequence

import numpy as np
from matplotlib.patches import Patch
from numpy.typing import NDArray

from tasks.reporting.confusion import share_text
from tasks.reporting.drawing import (
    INK,
    bare,
    bars,
    best_and_worst,
    new_figure,
    short,
    styled,
)
from tasks.reporting.page import ReportFigure, Table
from tasks.segmentation.examples import Example
from tasks.segmentation.model import IGNORED

_NO_CLASS = (200, 200, 200)
_RIGHT, _WRONG = (222, 228, 234), (213, 94, 0)
_PALE = 0.45
_LEGEND_COLUMNS = 6


@styled
def iou_figure(iou: NDArray[np.float64], names: Sequence[str]) -> ReportFigure:
    """Bars of the intersection over union of each class, best first.

    Args:
        iou: per class; nan where a class does not occur, which is left out.
        names: of the classes.
    """
    order, remark = best_and_worst(iou)
    caption = f"The dashed line is {remark}"
    figure, axes = new_figure(1, 1, 6.4, 0.9 + 0.2 * len(order))
    series = {"IoU": [float(iou[i]) for i in order]}
    bars(axes[0, 0], [names[i] for i in order], series, numbers="{:.1%}")
    axes[0, 0].axvline(float(np.nanmean(iou)), color=INK, linestyle="--", linewidth=0.9)
    axes[0, 0].set_xlabel("intersection over union")
    return ReportFigure("iou", figure, "Intersection over union of each class", caption)


def class_table(
    counts: NDArray[np.int64],
    iou: NDArray[np.float64],
    accuracy: NDArray[np.float64],
    names: Sequence[str],
) -> Table:
    """IoU, accuracy and share of all pixels of every class (counts: rows are the truth)."""
    seen, everything = counts.sum(1), int(counts.sum())
    rows = [
        [
            name,
            "-" if np.isnan(iou[i]) else f"{iou[i]:.1%}",
            "-" if np.isnan(accuracy[i]) else f"{accuracy[i]:.1%}",
            share_text(int(seen[i]), everything),
        ]
        for i, name in enumerate(names)
    ]
    return Table(["class", "IoU", "accuracy", "of all pixels"], rows)


@styled
def examples_figure(
    examples: Sequence[Example], palette: NDArray[np.uint8], names: Sequence[str]
) -> ReportFigure:
    """A row per image: the image, truth and prediction over it, and where they differ.

    Args:
        examples: at least one.
        palette: (classes, 3), RGB.
        names: of the classes; those that occur stand in the legend.
    """
    titles = ("image", "truth", "prediction", "error")
    tall = sum(2.3 * e.image.shape[0] / e.image.shape[1] for e in examples)
    present = _present(examples)
    legend_rows = -(-(len(present) + 1) // _LEGEND_COLUMNS)
    height = tall + 0.28 * len(examples) + 0.22 * legend_rows + 0.4
    figure, axes = new_figure(len(examples), len(titles), 9.4, height)
    for row, example in enumerate(examples):
        for column, pixels in enumerate(_panels(example, palette)):
            bare(axes[row, column])
            axes[row, column].imshow(pixels, interpolation="nearest")
        axes[row, 0].set_xlabel(f"no. {example.index}", fontsize=7.5)
        axes[row, 3].set_xlabel(f"{example.wrong:.1%} wrong", fontsize=7.5)
    for column, title in enumerate(titles):
        axes[0, column].set_title(title)
    patches = [Patch(color=_plain(palette[i]), label=short(names[i])) for i in present]
    if any((e.truth == IGNORED).any() for e in examples):
        patches.append(Patch(color=_plain(_NO_CLASS), label="no class"))
    figure.legend(handles=patches, loc="outside lower center", ncols=_LEGEND_COLUMNS, fontsize=7.5)
    caption = (
        "The first images of the split, then the ones with the largest share of wrong pixels. "
        "Orange: labelled wrong; pixels of no class do not count."
    )
    return ReportFigure("examples", figure, "Images, truth, predictions and errors", caption)


def coloured(labels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels (H, W) as colours (H, W, 3); grey where there is no class."""
    table = np.full((256, 3), _NO_CLASS, np.uint8)
    table[: len(palette)] = palette
    table[IGNORED] = _NO_CLASS
    return table[labels]


def overlaid(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], palette: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """An image (H, W, 3) with the colours of its labels (H, W) over it."""
    mixed = _PALE * image + (1 - _PALE) * coloured(labels, palette)
    plain: NDArray[np.uint8] = mixed.round().astype(np.uint8)
    return plain


def _panels(example: Example, palette: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    counted = example.truth != IGNORED
    wrong = (example.truth != example.predicted) & counted
    error = np.where(wrong[..., None], *(np.array(c, np.uint8) for c in (_WRONG, _RIGHT)))
    error[~counted] = _NO_CLASS
    overlays = [
        overlaid(example.image, labels, palette) for labels in (example.truth, example.predicted)
    ]
    return [example.image, *overlays, error]


def _plain(colour: Sequence[int] | NDArray[np.uint8]) -> tuple[float, float, float]:
    red, green, blue = (int(part) / 255 for part in colour)
    return red, green, blue


def _present(examples: Sequence[Example]) -> list[int]:
    labels = [part.ravel() for e in examples for part in (e.truth, e.predicted)]
    return [i for i in np.unique(np.concatenate(labels)).tolist() if i != IGNORED]
