"""How figures fall or rise with the severity, by group of corruptions."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tasks.reporting.drawing import COLOURS, SOFT, bare, new_figure, short, styled
from tasks.reporting.page import ReportFigure
from tasks.reporting.texts import fitted
from tasks.robustness.corruptions import (
    EXTRA,
    GROUPS,
    SEVERITIES,
    registered_corruptions,
)
from tasks.robustness.figures.values import (
    EXTRA_GROUP,
    Values,
    by_severity,
    has_figure,
    spoken,
)

Lines = dict[str, NDArray[np.float64]]
"""Percent at severity 0 (clean) to 5, by label."""
_WIDTHS = {1: 5.2, 2: 8.4, 3: 10.4}
_HUES = len(COLOURS) - 2
"""Yellow and black are left out."""
_DASHES = ("-", "--", ":")
_LABEL_GAP = 0.075
"""Between the labels of lines, as a share of the height of a panel."""


@styled
def severity_curves(
    series: Mapping[str, Values], clean: Mapping[str, float], measure: str
) -> ReportFigure:
    """A panel per group of corruptions, with the extra ones if any of them has a figure.

    Of a single model there is a line per corruption. Of several there is a line each: the mean over
    those corruptions of the group that any model has figures of, where this model has them all.

    Args:
        series: figures by model, at least one; where one is missing the line has a gap.
        clean: figures on clean images by model, drawn at severity 0, as far as they are known.
        measure: what the figures are, such as ``error`` or ``mIoU``.
    """
    groups = _groups(series)
    columns = {1: 1, 2: 2, 4: 2}.get(len(groups), 3)
    rows = -(-len(groups) // columns)
    figure, grid = new_figure(rows, columns, _WIDTHS[columns], 0.4 + 2.6 * rows)
    panels: list[Axes] = grid.ravel().tolist()
    used, free = panels[: len(groups)], panels[len(groups) :]
    lines = [_lines(series, clean, shown) for _, shown in groups.values()]
    limits = _limits(lines)
    for place, (group, (every, shown)), drawn in zip(used, groups.items(), lines, strict=True):
        partly = f": {len(shown)} of {len(every)}" if 0 < len(shown) < len(every) else ""
        place.set_title(f"{group}{partly}")
        _draw(place, drawn, limits)
        if len(series) == 1:
            _label(place, drawn, limits)
    for place in free:
        bare(place)
    for place in grid[:, 0]:
        place.set_ylabel(f"{short(measure)} in %")
    for place in used[-columns:]:
        place.set_xlabel("severity")
    if len(series) > 1:
        _legend(figure, list(series), free)
    alt = f"{measure} by severity of each group of corruptions"
    return ReportFigure("severity_curves", figure, alt, _caption(series, clean, measure))


def _groups(series: Mapping[str, Values]) -> dict[str, tuple[list[str], list[str]]]:
    """Of each group with a figure of any model: all corruptions, and those with one."""
    groups = {}
    for group, names in {**GROUPS, EXTRA_GROUP: (*EXTRA, *registered_corruptions())}.items():
        shown = [n for n in names if any(has_figure(values, n) for values in series.values())]
        if shown:
            groups[group] = (list(names), shown)
    return groups or {group: (list(names), []) for group, names in GROUPS.items()}


def _lines(
    series: Mapping[str, Values], clean: Mapping[str, float], corruptions: Sequence[str]
) -> Lines:
    lines: Lines = {}
    for model, values in series.items():
        start = np.array([100 * clean.get(model, np.nan)])
        levels = by_severity(values, corruptions)
        if len(series) > 1:
            # the mean of nothing would warn
            mean = levels.mean(0) if len(levels) else np.full(len(SEVERITIES), np.nan)
            lines[model] = np.concatenate([start, mean])
        else:
            for name, row in zip(corruptions, levels, strict=True):
                lines[spoken(name)] = np.concatenate([start, row])
    return lines


def _limits(panels: Sequence[Lines]) -> tuple[float, float]:
    """The same for all panels, so that they can be compared."""
    found = [line[np.isfinite(line)] for lines in panels for line in lines.values()]
    values = np.concatenate(found) if found else np.array([])
    if not values.size:
        return 0.0, 100.0
    low, high = float(values.min()), float(values.max())
    room = max(1.0, 0.06 * (high - low))
    return low - room, high + room


def _draw(axes: Axes, lines: Lines, limits: tuple[float, float]) -> None:
    for i, (label, line) in enumerate(lines.items()):
        dashes = _DASHES[i // _HUES % len(_DASHES)]
        colour = COLOURS[i % _HUES]
        axes.plot(line, dashes, color=colour, marker="o", markersize=3.5, label=label)
    axes.set(xlim=(-0.2, max(SEVERITIES) + 0.2), ylim=limits)
    axes.set_xticks([0, *SEVERITIES], ["clean", *map(str, SEVERITIES)])
    if not any(np.isfinite(line[1:]).any() for line in lines.values()):
        at = axes.text(0.5, 0.5, "no figures", transform=axes.transAxes, color=SOFT)
        at.set(ha="center", va="center")


def _label(axes: Axes, lines: Lines, limits: tuple[float, float]) -> None:
    """Name the lines of a panel at their ends, the names moved apart."""
    ends = {label: line[np.isfinite(line)] for label, line in lines.items()}
    heights = [(end[-1] - limits[0]) / (limits[1] - limits[0]) for end in ends.values()]
    for i, (label, height) in enumerate(zip(ends, _apart(heights), strict=True)):
        text = axes.text(1.02, height, label, transform=axes.transAxes, fontsize=8)
        text.set(color=COLOURS[i % _HUES], va="center")


def _apart(heights: Sequence[float]) -> list[float]:
    """Heights moved as little as needed to lie `_LABEL_GAP` apart, in the same order."""
    order = np.argsort(heights, kind="stable")
    moved = np.asarray(heights, dtype=float)[order]
    for _ in range(50):
        for i in range(1, len(moved)):
            lack = _LABEL_GAP - (moved[i] - moved[i - 1])
            if lack > 0:
                moved[i - 1] -= lack / 2
                moved[i] += lack / 2
    placed = np.empty_like(moved)
    placed[order] = moved
    return [float(height) for height in placed]


def _legend(figure: Figure, models: Sequence[str], free: Sequence[Axes]) -> None:
    """In the panel that is left, else below all."""
    handles = figure.axes[0].get_lines()
    names = [fitted(figure.axes[0], model, 2.1, 9) for model in models]
    if free:
        free[0].legend(handles, names, loc="center left")
    else:
        figure.legend(handles, names, loc="outside lower center", ncols=min(3, len(names)))


def _caption(series: Mapping[str, Values], clean: Mapping[str, float], measure: str) -> str:
    caption = f"{measure} in percent, of "
    if len(series) == 1:
        caption += f"{next(iter(series))}; a line per corruption."
    else:
        caption += (
            "each model: the mean over the corruptions of a group, only where the model has "
            "figures of all of them."
        )
    if all(np.isfinite(clean.get(model, np.nan)) for model in series):
        caption += " The lines begin at the figure on clean images."
    return caption
