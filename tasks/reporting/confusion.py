"""Which classes are taken for which: a figure and a table of a confusion matrix."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.reporting.drawing import heat_map, new_figure, styled
from tasks.reporting.page import ReportFigure, Table

MOST_NUMBERED = 30
"""Up to so many classes, the confusion matrix is drawn with names and numbers."""


@styled
def confusion_figure(
    counts: NDArray[np.int64], names: Sequence[str], unit: str = "images"
) -> ReportFigure:
    """The confusion matrix, each row divided by its sum; rows are the truth.

    Args:
        counts: images (or pixels) by true (rows) and predicted class (columns).
        names: of the classes; beyond `MOST_NUMBERED` of them the figure is a small one without
            names, to be read beside `confused_pairs`.
        unit: what is counted.
    """
    seen = counts.sum(1, keepdims=True)
    shares = np.where(seen > 0, counts / np.maximum(seen, 1), np.nan)
    caption = f"Share of the {unit} of each true class that was predicted as each class."
    if len(names) <= MOST_NUMBERED:
        side = max(3.6, 0.46 * len(names))
        figure, axes = new_figure(1, 1, side + 1.4, side + 0.6)
        heat_map(axes[0, 0], shares, names, names, "{:.0%}", limits=(0, 1))
    else:
        figure, axes = new_figure(1, 1, 5.4, 5.0)
        spread = np.sqrt(np.nan_to_num(shares))
        axes[0, 0].imshow(spread, cmap="Blues", vmin=0, vmax=1, interpolation="antialiased")
        axes[0, 0].grid(False)
        caption += " Square-root scale: rare mistakes are drawn stronger than they are."
    if not seen.all():
        caption += " Classes that do not occur have no share."
    axes[0, 0].set_xlabel("predicted")
    axes[0, 0].set_ylabel("truth")
    return ReportFigure("confusion", figure, "Confusion matrix", caption)


def confused_pairs(
    counts: NDArray[np.int64], names: Sequence[str], most: int = 15, unit: str = "images"
) -> Table:
    """The pairs of classes that are confused most often (arguments as of `confusion_figure`)."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows = []
    for flat in order:
        truth, predicted = divmod(int(flat), len(names))
        count = int(wrong[truth, predicted])
        if count:
            share = share_text(count, int(counts[truth].sum()))
            rows.append([names[truth], names[predicted], str(count), share])
    return Table(["truth", "predicted", unit, "of the class"], rows, "Most confused pairs")


def share_text(part: int, whole: int) -> str:
    """A share as a percentage, `-` of nothing."""
    return f"{part / whole:.1%}" if whole else "-"
