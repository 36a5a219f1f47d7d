"""Curves and bars of a detector's test."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from tasks.detection.scoring.coco import CocoFigures
from tasks.detection.scoring.figures import Figures
from tasks.detection.scoring.mistakes import KINDS, Mistakes
from tasks.reporting.drawing import COLOURS, bars, best_and_worst, new_figure, styled
from tasks.reporting.page import ReportFigure

MOST_CURVES = 20
"""Up to so many classes, each has its own curve."""
KIND_NAMES = {"box": "boxes", "mask": "masks"}
_CLASS_CURVE = "#c3cad4"


@styled
def precision_recall_figure(figures: CocoFigures, names: Sequence[str], kind: str) -> ReportFigure:
    """Precision over recall: mean curves at several IoU, and pale ones of single classes.

    Args:
        figures: of boxes or masks; classes without objects have no curve.
        names: of the classes.
        kind: `box` or `mask`.
    """
    figure, grid = new_figure(1, 1, 5.2, 3.9)
    axes = grid[0, 0]
    defined = np.isfinite(figures.precision).all((0, 1))
    curves = figures.precision[:, :, defined]
    recall = np.linspace(0, 1, curves.shape[1])
    caption = f"Mean over the {curves.shape[2]} classes that occur."
    if curves.size:
        _draw_means(axes, recall, curves.mean(2), figures)
    if curves.shape[2] > 1 and len(names) <= MOST_CURVES:
        lines = axes.plot(recall, curves[0], color=_CLASS_CURVE, linewidth=0.8, zorder=1.5)
        lines[0].set_label("one class, IoU 0.5")
        caption += " The pale lines are single classes at an IoU of 0.5."
    if curves.size:
        axes.legend(fontsize=8)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"Precision and recall of {KIND_NAMES[kind]}")
    alt = f"Precision over recall of {KIND_NAMES[kind]}"
    return ReportFigure(f"precision_recall_{kind}", figure, alt, caption)


def _draw_means(
    axes: Axes, recall: NDArray[np.float64], means: NDArray[np.float64], figures: CocoFigures
) -> None:
    series = (
        ("IoU 0.5", figures.ap50, COLOURS[0]),
        ("IoU 0.75", figures.ap75, COLOURS[1]),
        ("IoU 0.5 to 0.95", figures.ap, COLOURS[2]),
    )
    for curve, (label, area, colour) in zip(means, series, strict=True):
        axes.plot(recall, curve, color=colour, linewidth=2, label=f"{label}: AP {area:.1%}")


@styled
def class_ap_figure(figures: Figures, names: Sequence[str]) -> ReportFigure:
    """Bars of the AP of each class, best first; boxes and masks side by side.

    Args:
        figures: by kind, of which the first one sorts; classes without objects, which are not
            all, are left out.
        names: of the classes.
    """
    order, remark = best_and_worst(next(iter(figures.values())).class_ap)
    caption = f"AP over IoU 0.5 to 0.95. Dashed: {remark}"
    height = 0.9 + (0.06 + 0.16 * len(figures)) * len(order)
    figure, axes = new_figure(1, 1, 6.4, height)
    series = {KIND_NAMES[k]: [float(f.class_ap[i]) for i in order] for k, f in figures.items()}
    bars(axes[0, 0], [names[i] for i in order], series, numbers="{:.1%}")
    for colour, found in zip(COLOURS, figures.values(), strict=False):
        if np.isfinite(found.ap):
            axes[0, 0].axvline(found.ap, color=colour, linestyle="--", linewidth=0.9)
    for number in axes[0, 0].texts:  # the lines may run behind them
        number.set_path_effects([withStroke(linewidth=2, foreground="white")])
    axes[0, 0].set_xlabel("average precision")
    return ReportFigure("class_ap", figure, "Average precision of each class", caption)


@styled
def mistakes_figure(mistakes: Mistakes) -> ReportFigure:
    """Bars of what each kind of mistake costs."""
    figure, axes = new_figure(1, 1, 5.2, 2.4)
    gains = [100 * mistakes.gains[kind] for kind in KINDS]
    bars(axes[0, 0], list(KINDS), {"gain": gains}, numbers="{:.1f}")
    axes[0, 0].set_xlabel("points of AP50 gained if only this were mended")
    return ReportFigure("mistakes", figure, "What each kind of mistake costs")
