"""Learning curves from the table of metrics that a run logs."""

import csv
from pathlib import Path

from matplotlib.axes import Axes

from tasks.reporting.drawing import COLOURS, as_png, new_figure
from tasks.reporting.page import Picture

Series = dict[str, tuple[list[float], list[float]]]
_NO_CURVES = {"epoch", "step"}


def read_series(path: Path) -> Series:
    """Steps and values of every metric in a `metrics.csv`, whose rows are sparse."""
    series: Series = {}
    if not path.is_file():
        return series
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                if text and name not in _NO_CURVES:
                    steps, values = series.setdefault(name, ([], []))
                    steps.append(float(row["step"]))
                    values.append(float(text))
    return series


def learning_curves(path: Path) -> list[Picture]:
    """Loss, validation figures and learning rates over the steps; empty if nothing was trained."""
    series = read_series(path)
    losses = {name: s for name, s in series.items() if name in ("train/loss", "val/loss")}
    figures = {
        name: s for name, s in series.items() if name.startswith("val/") and name not in losses
    }
    rates = {name: s for name, s in series.items() if name.startswith("lr/")}
    panels = [
        (title, panel)
        for title, panel in (("Loss", losses), ("Validation", figures), ("Learning rate", rates))
        if panel
    ]
    if not panels:
        return []
    figure, axes = new_figure(1, len(panels), 3.9 * len(panels), 2.9)
    for place, (title, panel) in zip(axes[0], panels, strict=True):
        _draw(place, title, panel)
    caption = "Pale: every logged step; strong: a running mean over a twentieth of the run."
    return [Picture("curves", as_png(figure), "Loss, validation and rate curves", caption)]


def _draw(axes: Axes, title: str, panel: Series) -> None:
    for colour, (name, (steps, values)) in zip(COLOURS, sorted(panel.items()), strict=False):
        marker = "o" if name.startswith("val/") else None
        if name == "train/loss" and len(values) > 20:
            axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
            values = _running_mean(values, len(values) // 20)
        axes.plot(steps, values, color=colour, marker=marker, markersize=3, label=name)
    axes.set_title(title, loc="left")
    axes.set_xlabel("optimizer step")
    axes.legend()


def _running_mean(values: list[float], reach: int) -> list[float]:
    windows = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]
