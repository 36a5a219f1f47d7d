"""How bad each corruption is at each severity, of one model."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from tasks.reporting.drawing import INK, SOFT, heat_map, new_figure, styled
from tasks.reporting.page import ReportFigure
from tasks.reporting.texts import fitted
from tasks.robustness.corruptions import SEVERITIES
from tasks.robustness.figures.values import Values, by_severity, group_spans, spoken

_WIDTH = 5.8
_LEAST_SPAN = 10.0
"""Percent between the palest and the darkest colour, lest small differences look large."""


@styled
def severity_heat_map(
    values: Values,
    corruptions: Sequence[str],
    measure: str,
    title_of_model: str,
    worse: Literal["high", "low"] = "high",
    limits: tuple[float, float] | None = None,
) -> ReportFigure:
    """A row per corruption, a column per severity and one of the means; darker is worse.

    Args:
        values: figures; a cell without one is grey, and so is the mean of its row.
        corruptions: the rows, at least one, those of a group side by side.
        measure: what the figures are, such as ``error`` or ``mIoU``.
        title_of_model: what the figures are of.
        worse: `high` for an error, `low` for a performance.
        limits: the least and the largest figure that colours tell apart, 0 to 1, to be shared by
            images that are compared; None: those that occur.
    """
    levels = by_severity(values, corruptions)
    cells = np.hstack([levels, levels.mean(1, keepdims=True)])
    low, high = _span(cells) if limits is None else (100 * limits[0], 100 * limits[1])
    badness = (cells - low if worse == "high" else high - cells) / max(1e-9, high - low)
    figure, axes = new_figure(1, 1, _WIDTH, 0.95 + 0.27 * len(corruptions))
    columns = [*map(str, SEVERITIES), "mean"]
    heat_map(axes[0, 0], badness, list(map(spoken, corruptions)), columns, limits=(0, 1))
    _write(axes[0, 0], cells, badness)
    _separate(axes[0, 0], corruptions)
    axes[0, 0].tick_params(axis="x", rotation=0)
    for label in axes[0, 0].get_xticklabels():
        label.set_horizontalalignment("center")
    axes[0, 0].set_xlabel("severity")
    title = fitted(axes[0, 0], f"{measure} in %: {title_of_model}", _WIDTH - 0.3, 10, "bold")
    figure.suptitle(title, fontsize=10, fontweight="bold")
    caption = f"{measure} in percent; the darker, the worse."
    if np.isnan(cells).any():
        caption += " Grey cells have no figure, and no mean is taken over them."
    alt = f"{measure} of {title_of_model} by corruption and severity"
    return ReportFigure("severity_heat_map", figure, alt, caption)


def _span(cells: NDArray[np.float64]) -> tuple[float, float]:
    finite = cells[np.isfinite(cells)]
    if not finite.size:
        return 0.0, 100.0
    low, high = float(finite.min()), float(finite.max())
    widening = max(0.0, _LEAST_SPAN - (high - low)) / 2
    return low - widening, high + widening


def _write(axes: Axes, cells: NDArray[np.float64], badness: NDArray[np.float64]) -> None:
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value):
            colour = "white" if badness[row, column] > 0.65 else INK
            weight = "bold" if column == len(SEVERITIES) else "normal"
            text = axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=7.5)
            text.set(color=colour, fontweight=weight, in_layout=False)


def _separate(axes: Axes, corruptions: Sequence[str]) -> None:
    """Lines between the groups and before the means, the names of the groups at the right."""
    axes.axvline(len(SEVERITIES) - 0.5, color="white", linewidth=4)
    for group, start, stop in group_spans(corruptions):
        if start:
            axes.axhline(start - 0.5, color="white", linewidth=3)
        axes.text(
            1.02,
            (start + stop - 1) / 2,
            group,
            transform=axes.get_yaxis_transform(),
            va="center",
            color=SOFT,
        )
    for spine in axes.spines.values():
        spine.set_visible(False)
