"""Errors under each corruption beside AlexNet's, and differences of errors between two runs."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tasks.reporting.drawing import COLOURS, INK, LINE, bare, bars, new_figure, styled
from tasks.reporting.page import ReportFigure
from tasks.reporting.texts import fitted
from tasks.robustness.corruptions import all_corruptions
from tasks.robustness.figures.values import group_spans, spoken

BASELINE = "AlexNet, published"
_GREY = "#aeb6c2"
_LESS, _MORE = "less than this run", "more than this run"
_UNDECIDED, _NO_INTERVAL = "interval contains zero", "no interval"
_HUES = {_LESS: COLOURS[0], _MORE: COLOURS[1], _UNDECIDED: _GREY, _NO_INTERVAL: "#dfe3e9"}
_MOST_NUMBERED = 4
"""Up to so many bars per corruption, each has its number."""


@styled
def baseline_bars(
    errors: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, Mapping[str, tuple[float, float]]],
    baseline: Mapping[str, float] | None,
) -> ReportFigure:
    """Bars of the mean error under each corruption that any model has a figure of.

    Args:
        errors: 0 to 1, by model (at least one) and corruption; a missing one leaves a gap.
        intervals: ends of the 95 % intervals, likewise, as far as they are known.
        baseline: AlexNet's errors by corruption, or None.
    """
    found = {k for e in errors.values() for k, value in e.items() if math.isfinite(value)}
    names = _ordered(found)
    shown = {**({} if baseline is None else {BASELINE: baseline}), **errors}
    series = {k: [100 * e.get(name, math.nan) for name in names] for k, e in shown.items()}
    ends = {label: _interval_ends(intervals.get(label, {}), names) for label in errors}
    numbered = len(series) <= _MOST_NUMBERED
    each = 0.15 if numbered else 0.1
    height = 0.9 + 0.22 * -(-len(series) // 2) + (0.09 + each * len(series)) * max(1, len(names))
    figure, grid = new_figure(1, 1, 7.0, height)
    axes = grid[0, 0]
    if names:
        bars(axes, list(map(spoken, names)), series, ends, "{:.1f}" if numbered else None)
    _finish(axes, names)
    _colour(figure, axes, list(series), baseline is not None)
    axes.set_xlim(left=0)
    axes.set_xlabel("error in %, mean over the severities")
    caption = "Error under each corruption, the less the better."
    if any(math.isfinite(low) for pairs in ends.values() for low, _ in pairs):
        caption += " Black lines are 95 % intervals."
    return ReportFigure("baseline_bars", figure, "Errors under each corruption", caption)


@styled
def difference_bars(
    differences: Mapping[str, tuple[float, float, float]], label: str
) -> ReportFigure:
    """Bars of how much more another run errs than this one under each corruption.

    Args:
        differences: by corruption, at least one: error of the other run minus that of this one, -1
            to 1, and the ends of its 95 % interval; what is nan is left out.
        label: of the other run.
    """
    names = _ordered({k for k, parts in differences.items() if math.isfinite(parts[0])})
    figure, grid = new_figure(1, 1, 7.0, 1.15 + 0.24 * max(1, len(names)))
    axes = grid[0, 0]
    for y, name in enumerate(names):
        _draw_difference(axes, y, differences[name])
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(range(len(names)), list(map(spoken, names)))
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    _finish(axes, names)
    other = fitted(axes, label, 2.6, 9)
    axes.set_xlabel(f"error of {other} minus error of this run, in points")
    _explain(figure, [differences[name] for name in names])
    caption = (
        f"Error of {label} minus error of this run, with its 95 % interval, in points. Left of "
        f"zero {label} errs less, right of zero it errs more. If the interval contains zero, the "
        "difference may be due to the choice of images."
    )
    return ReportFigure("difference_bars", figure, f"Differences of error to {label}", caption)


def _ordered(names: set[str]) -> list[str]:
    """In the published order, unknown ones last."""
    known = [name for name in all_corruptions() if name in names]
    return known + sorted(names - set(known))


def _interval_ends(
    intervals: Mapping[str, tuple[float, float]], names: Sequence[str]
) -> list[tuple[float, float]]:
    pairs = [intervals.get(name, (math.nan, math.nan)) for name in names]
    return [(100 * low, 100 * high) for low, high in pairs]


def _finish(axes: Axes, names: Sequence[str]) -> None:
    """Lines between the groups of corruptions; a remark if there is nothing to draw."""
    for _, start, _ in group_spans(names)[1:]:
        axes.axhline(start - 0.5, color=LINE, linewidth=1)
    if not names:
        bare(axes)
        axes.text(0.5, 0.5, "no figures", transform=axes.transAxes, ha="center", va="center")


def _colour(figure: Figure, axes: Axes, labels: Sequence[str], baseline: bool) -> None:
    """Pale bars for the baseline, the first hues for the models, and the legend above them."""
    legend = axes.get_legend()
    if legend is not None:
        legend.remove()  # it would hide bars
    hues = [_GREY, *COLOURS] if baseline else list(COLOURS)
    drawn = [part for part in axes.containers if isinstance(part, BarContainer)]
    for i, part in enumerate(drawn):
        for bar in part:
            bar.set_color(hues[i % len(hues)])
    patches = [
        Patch(color=hues[i % len(hues)], label=fitted(axes, label, 2.6, 8))
        for i, label in enumerate(labels)
    ]
    figure.legend(handles=patches, loc="outside upper center", ncols=2, fontsize=8)


def _verdict(value: float, low: float, high: float) -> str:
    """The text of the legend that tells what a difference means."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return _NO_INTERVAL
    if low <= 0 <= high:
        return _UNDECIDED
    return _LESS if value < 0 else _MORE


def _draw_difference(axes: Axes, y: int, parts: tuple[float, float, float]) -> None:
    """A bar with its interval, and the numbers at the right edge."""
    value, low, high = (100 * part for part in parts)
    verdict = _verdict(*parts)
    axes.barh(y, value, 0.62, color=_HUES[verdict])
    text = _signed(value)
    if verdict != _NO_INTERVAL:
        reach = np.maximum(0, [[value - low], [high - value]])
        axes.errorbar([value], [y], xerr=reach, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        text += f"  ({_signed(low)} to {_signed(high)})"
    axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=7.5)


def _signed(value: float) -> str:
    """With two digits and a sign, which zero has none of."""
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def _explain(figure: Figure, differences: Sequence[tuple[float, float, float]]) -> None:
    """A legend of the verdicts; that of a missing interval only if there is one."""
    occurring = {_verdict(*parts) for parts in differences}
    texts = [text for text in _HUES if text != _NO_INTERVAL or text in occurring]
    patches = [Patch(color=_HUES[text], label=text) for text in texts]
    figure.legend(handles=patches, loc="outside upper center", ncols=4, fontsize=8)
