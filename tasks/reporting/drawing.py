"""How pictures look, and how a drawn figure becomes PNG bytes."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Okabe and Ito's palette, which colour-blind readers can tell apart
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a94a3",
    "axes.labelcolor": "#3c4653",
    "xtick.color": "#5b6675",
    "ytick.color": "#5b6675",
    "axes.grid": True,
    "grid.color": "#e6eaf0",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, NDArray[Any]]:
    """A figure of `width` x `height` inches and its axes (rows, columns), without pyplot."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def as_png(figure: Figure, dpi: int = 130) -> bytes:
    """The figure as PNG bytes; the same figure always gives the same bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def bare(axes: Axes) -> None:
    """Leave only the content of an axes: no ticks, grid or frame."""
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def heat_map(
    axes: Axes,
    values: NDArray[np.float64],
    row_names: Sequence[str],
    column_names: Sequence[str],
    numbers: str | None = None,
) -> None:
    """Draw a matrix; `numbers` is a format such as ``{:.0%}`` for the cells, or None for none."""
    axes.imshow(values, cmap="Blues", vmin=0, vmax=max(1e-9, float(np.nanmax(values))))
    axes.grid(False)
    axes.set_xticks(range(len(column_names)), column_names, rotation=40, ha="right")
    axes.set_yticks(range(len(row_names)), row_names)
    if numbers is None:
        return
    dark = 0.55 * float(np.nanmax(values))
    for (row, column), value in np.ndenumerate(values):
        if value > 0:
            colour = "white" if value > dark else "#1c2430"
            text = numbers.format(value)
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
