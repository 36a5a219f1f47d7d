"""Learning curves from the table of metrics that a run logs."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.reporting.drawing import COLOURS, new_figure, styled
from tasks.reporting.page import ReportFigure

Series = dict[str, tuple[list[float], list[float]]]
_NO_CURVES = {"epoch", "step"}
_SMOOTHED_FROM = 20
"""Curves of more points are drawn pale, under a running mean."""


def read_series(path: Path) -> Series:
    """Steps and values of every metric in a `metrics.csv`, whose rows are sparse.

    What is no finite number, as in the last line of a run that was killed, is left out.
    """
    series: Series = {}
    if not path.is_file():
        return series
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            step = _number(row.get("step"))
            for name, text in row.items():
                value = _number(text)
                if step is not None and value is not None and name not in _NO_CURVES:
                    steps, values = series.setdefault(name, ([], []))
                    steps.append(step)
                    values.append(value)
    return series


def learning_curves(path: Path) -> list[ReportFigure]:
    """Loss, validation figures and learning rates over the steps; empty if nothing was trained."""
    series = {k: s for k, s in read_series(path).items() if not k.startswith("test/")}
    figures = []
    for name, title, belongs in _PANELS:
        panel = {k: s for k, s in series.items() if belongs(k)}
        if panel:
            figures.append(ReportFigure(name, _draw(title, panel), f"{title}: {', '.join(panel)}"))
    return figures


def _is_rate(name: str) -> bool:
    return name.startswith(("lr/", "lr-"))


def _is_loss(name: str) -> bool:
    return "loss" in name.split("/", 1)[-1] and name.count("/") < 2


def _is_calibration(name: str) -> bool:
    return name.endswith("/ece")


def _is_figure(name: str) -> bool:
    """Whether a name is that of a figure of the whole validation or training, not of a class."""
    others = (_is_loss, _is_rate, _is_calibration)
    return name.count("/") < 2 and not any(belongs(name) for belongs in others)


_PANELS: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("curve_loss", "Loss", _is_loss),
    ("curve_validation", "Validation", _is_figure),
    ("curve_calibration", "Calibration error", _is_calibration),  # the lower the better
    ("curve_rates", "Learning rate", _is_rate),
)


@styled
def _draw(title: str, panel: Series) -> Figure:
    figure, ((axes,),) = new_figure(1, 1, 5.0, 3.1)
    smoothed = False
    for i, (name, (steps, values)) in enumerate(sorted(panel.items())):
        smoothed |= _draw_series(axes, name, steps, values, COLOURS[i % (len(COLOURS) - 2)])
    axes.set_title(title)
    axes.set_xlabel("optimizer step")
    axes.margins(x=0.02)
    if _is_rate(next(iter(panel))):
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    if smoothed:
        axes.plot([], [], color="#8a94a3", alpha=0.4, linewidth=0.8, label="pale: each logged step")
    axes.legend()
    return figure


def _draw_series(
    axes: Axes, name: str, steps: list[float], values: list[float], colour: str
) -> bool:
    """Draw one curve; returns whether it was smoothed."""
    smoothed = len(values) > _SMOOTHED_FROM and name.startswith("train/")
    if smoothed:
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        values = _running_mean(values, max(1, len(values) // 40))
    marker = "o" if len(values) <= _SMOOTHED_FROM else None
    axes.plot(steps, values, color=colour, marker=marker, markersize=3, label=name)
    return smoothed


def _running_mean(values: list[float], reach: int) -> list[float]:
    windows = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
