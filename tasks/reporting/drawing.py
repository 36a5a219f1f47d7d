"""How figures look, and how a drawn figure becomes PNG bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from tasks.reporting.fonts import MAIN, drawable, dress

# Okabe and Ito's palette, which colour-blind readers can tell apart
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
INK, SOFT, LINE = "#1c2430", "#5b6675", "#d9dee5"
DPI = 160
MOST_BARS = 40
"""Beyond so many classes, only the best and the worst ones are drawn."""
_STYLE: Any = {
    "font.family": MAIN,
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "$5 note"
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a94a3",
    "axes.labelcolor": "#3c4653",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.grid": True,
    "grid.color": "#e6eaf0",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
}

styled = mpl.rc_context(_STYLE)
"""Decorator of a function that draws: titles, legends and texts take the style when made."""


@styled
def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, NDArray[Any]]:
    """A figure of `width` x `height` inches and its axes (rows, columns), without pyplot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def inch_canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure and an axes that covers it, in inches from the upper left corner."""
    figure, ((axes,),) = new_figure(1, 1, width, height)
    figure.set_layout_engine("none")
    figure.set_dpi(DPI)  # texts are measured as they will be drawn
    bare(axes)
    axes.set_position((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    return figure, axes


@styled
def as_png(figure: Figure, dpi: int = DPI) -> bytes:
    """The figure as PNG bytes; the same figure always gives the same bytes."""
    for text in figure.findobj(Text):
        dress(text)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def bare(axes: Axes) -> None:
    """Leave only the content of an axes: no ticks, grid or frame."""
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def short(name: str, length: int = 22) -> str:
    """A name cut to `length` characters, on one line, as installed fonts can draw it."""
    name = drawable(" ".join(name.split()))
    return name if len(name) <= length else f"{name[: length - 1]}…"


@styled
def heat_map(
    axes: Axes,
    values: NDArray[np.float64],
    row_names: Sequence[str],
    column_names: Sequence[str],
    numbers: str | None = None,
    limits: tuple[float, float] | None = None,
    hide_zeros: bool = True,
) -> None:
    """Draw a matrix (rows, columns); a cell of nan, for which there is no figure, is grey.

    Args:
        axes: where to draw.
        values: the matrix.
        row_names: one per row.
        column_names: one per column.
        numbers: format of the cells' numbers such as ``{:.0%}``, or None for none.
        limits: values of the palest and the darkest colour; None: 0 and the largest value.
        hide_zeros: leave out the numbers of cells that are not above 0.
    """
    finite = values[np.isfinite(values)]
    low, high = limits or (0.0, max(1e-9, float(finite.max(initial=0))))
    colours = mpl.colormaps["Blues"].with_extremes(bad="#d5d9df")
    axes.imshow(
        np.ma.masked_invalid(values),
        cmap=colours,
        vmin=low,
        vmax=high,
        aspect="auto",
        interpolation="nearest",
    )
    axes.grid(False)
    axes.set_xticks(range(len(column_names)), list(map(short, column_names)))
    axes.tick_params(axis="x", rotation=40)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
        label.set_rotation_mode("anchor")
    axes.set_yticks(range(len(row_names)), list(map(short, row_names)))
    axes.tick_params(length=0)
    if numbers is None:
        return
    dark = low + 0.55 * (high - low)
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value) or (hide_zeros and value <= 0):
            continue
        colour = "white" if value > dark else INK
        text = numbers.format(value)
        cell = axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
        cell.set_in_layout(False)  # it lies inside; measuring hundreds of them takes seconds


def best_and_worst(values: NDArray[np.float64]) -> tuple[list[int], str]:
    """Indices of the finite values, best first, and a remark on them for a caption.

    Of more than `MOST_BARS` only the best and the worst ones are taken.
    """
    order = [int(i) for i in np.argsort(-values, kind="stable") if np.isfinite(values[i])]
    remark = f"the mean over the {len(order)} classes that occur."
    if len(order) > MOST_BARS:
        half = MOST_BARS // 2
        order = [*order[:half], *order[-half:]]
        remark += f" Shown are the {half} best and the {half} worst."
    return order, remark


@styled
def bars(
    axes: Axes,
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    intervals: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    numbers: str | None = None,
) -> None:
    """Draw lying bars, the first name on top; several series stand side by side under a legend.

    Args:
        axes: where to draw.
        names: one per bar, or group of bars.
        series: values by label, one per name; nan leaves a gap.
        intervals: (low, high) per value, for the labels that have them.
        numbers: format of the number behind each bar such as ``{:.1%}``, or None for none.
    """
    height = 0.8 / len(series)
    places = np.arange(len(names), dtype=float)
    for i, (label, values) in enumerate(series.items()):
        at = places + (i - (len(series) - 1) / 2) * height
        lengths = np.asarray(values, dtype=float)
        axes.barh(at, lengths, 0.9 * height, color=COLOURS[i % len(COLOURS)], label=label)
        ends = lengths.copy()
        if intervals and label in intervals:
            low, high = np.asarray(intervals[label], dtype=float).T
            reach = np.maximum(0, [lengths - low, high - lengths])
            axes.errorbar(lengths, at, xerr=reach, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
            ends = np.fmax(ends, high)
        if numbers is not None:
            for y, end, value in zip(at, ends, lengths, strict=True):
                text = "no figure" if np.isnan(value) else numbers.format(value)
                x = 0.0 if np.isnan(value) else float(end)
                axes.annotate(
                    text, (x, y), (4, 0), textcoords="offset points", va="center", fontsize=7.5
                )
    axes.set_yticks(places, list(map(short, names)))
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.margins(x=0.14 if numbers else 0.05)
    axes.set_ylim(len(names) - 0.5, -0.5)
    if len(series) > 1:
        axes.legend()
