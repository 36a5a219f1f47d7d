"""Figures of learned positions: where the points of each layer were, and where they went."""

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tasks.reporting.drawing import COLOURS, INK, SOFT, new_figure, styled
from tasks.reporting.page import ReportFigure, Table

_MOST_LAYERS = 4
_CHANNELS_DRAWN = 4
_BINS_PER_CELL = 8
_BLUR = 0.3
"""Standard deviation, in cells, by which a density is smoothed."""


@dataclass(frozen=True)
class Movement:
    """Positions of one layer, or of the layers that share them.

    Args:
        initial: before training, (rows, channels, points), cells from the kernel's centre.
        learned: the same after it.
        reach: largest position, half the kernel's size.
        row_axes: kernel axis on which each row acts (see `dcls.interpolation.row_axes`); with
            two axes, 0 is drawn downwards and 1 to the right.
    """

    initial: NDArray[np.float32]
    learned: NDArray[np.float32]
    reach: float
    row_axes: tuple[int, ...] = (0, 1)

    @property
    def mean_distance(self) -> float:
        """How far a point moved on average, cells."""
        return float(np.linalg.norm(self.learned - self.initial, axis=0).mean())

    @property
    def border_share(self) -> float:
        """Share of points that lie at the kernel's border in some axis."""
        return float((np.abs(self.learned) >= self.reach - 1e-3).any(0).mean())

    def drawn(self, positions: NDArray[np.float32]) -> NDArray[np.float32]:
        """`positions` with the rows in the order (down, right)."""
        return positions[np.argsort(self.row_axes)]


def position_figures(movements: Mapping[str, Movement]) -> list[ReportFigure]:
    """Density before and after, and the paths of single points; one column per layer of two rows.

    Of more than four layers, four are drawn, spread evenly from the first to the last.
    """
    planar = {name: m for name, m in movements.items() if m.initial.shape[0] == 2}
    if not planar:
        return []
    names = list(planar)
    chosen = np.linspace(0, len(names) - 1, min(len(names), _MOST_LAYERS)).round().astype(int)
    drawn = {names[i]: planar[names[i]] for i in chosen}
    caption = (
        "Each panel is the kernel of a layer, in cells from its centre. Top and middle: density of "
        "all points of the layer before and after training, each on its own scale. Bottom: the "
        f"paths of the points of up to {_CHANNELS_DRAWN} channels, one colour per channel, each "
        "ending in a dot; enlarged where no point went far."
    )
    if len(drawn) < len(planar):
        caption += f" {len(drawn)} of {len(planar)} layers are drawn; the table has all."
    return [ReportFigure("positions", _draw(drawn), "Positions before and after training", caption)]


def position_table(movements: Mapping[str, Movement]) -> Table:
    """Points of every layer, how far they moved and how many reached the kernel's border."""
    rows = [
        [
            name,
            str(m.initial.shape[1]),
            str(m.initial.shape[2]),
            f"{m.mean_distance:.2f}",
            f"{_spread(m.initial):.2f}",
            f"{_spread(m.learned):.2f}",
            f"{m.border_share:.1%}",
        ]
        for name, m in movements.items()
    ]
    columns = ["layer", "channels", "points", "displacement", "spread before", "spread after"]
    caption = "Means over all points, in cells; spread is the distance from the centre."
    return Table([*columns, "at the border"], rows, caption)


def _spread(positions: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(positions, axis=0).mean())


@styled
def _draw(movements: Mapping[str, Movement]) -> Figure:
    figure, axes = new_figure(3, len(movements), 2.5 * len(movements) + 0.4, 7.9)
    for column, (name, movement) in enumerate(movements.items()):
        _density(axes[0, column], movement.drawn(movement.initial), movement.reach)
        _density(axes[1, column], movement.drawn(movement.learned), movement.reach)
        _paths(axes[2, column], movement)
        channels, points = movement.initial.shape[1:]
        axes[0, column].set_title(name)
        note = f"{channels} channels, {points} points each"
        axes[0, column].set_xlabel(note, color=SOFT, fontsize=8)
        moved = f"mean displacement {movement.mean_distance:.2f} cells"
        axes[2, column].set_xlabel(moved, color=SOFT, fontsize=8)
    for row, label in enumerate(("initial", "learned", "paths of single points")):
        axes[row, 0].set_ylabel(label, fontsize=10, fontweight="bold", color=INK, labelpad=6)
    return figure


def _density(axes: Axes, positions: NDArray[np.float32], reach: float) -> None:
    cells = int(2 * reach + 1)
    edges = np.linspace(-reach - 0.5, reach + 0.5, cells * _BINS_PER_CELL + 1)
    rows, columns = positions.reshape(2, -1)
    counts, _, _ = np.histogram2d(rows, columns, bins=(edges, edges))
    smooth = _blurred(counts)
    extent = (edges[0], edges[-1], edges[-1], edges[0])
    axes.imshow(smooth**0.5, cmap=mpl.colormaps["magma"], extent=extent, interpolation="bilinear")
    _as_kernel(axes, reach, "white")


def _blurred(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """A two-dimensional histogram smoothed by a Gaussian; what leaves the kernel is dropped."""
    offsets = np.arange(len(counts)) / _BINS_PER_CELL
    weights = np.exp(-0.5 * ((offsets[:, None] - offsets) / _BLUR) ** 2)
    smooth: NDArray[np.float64] = weights @ counts @ weights
    return smooth


def _paths(axes: Axes, movement: Movement) -> None:
    channels = movement.initial.shape[1]
    chosen = np.linspace(0, channels - 1, min(channels, _CHANNELS_DRAWN)).astype(int)
    start, end = movement.drawn(movement.initial), movement.drawn(movement.learned)
    for colour, channel in zip(COLOURS, chosen, strict=False):
        paths = np.stack([start[::-1, channel], end[::-1, channel]]).transpose(2, 0, 1)
        axes.add_collection(LineCollection(list(paths), colors=colour, linewidths=0.8, alpha=0.6))
        axes.scatter(end[1, channel], end[0, channel], s=9, color=colour, linewidths=0, zorder=3)
    farthest = float(np.ceil(np.abs([start[:, chosen], end[:, chosen]]).max()))
    view = min(movement.reach, max(1.0, farthest))
    _as_kernel(axes, view, INK)


def _as_kernel(axes: Axes, reach: float, grid: str) -> None:
    lines = np.arange(-reach - 0.5, reach + 1)
    for draw in (axes.hlines, axes.vlines):
        draw(lines, lines[0], lines[-1], color=grid, alpha=0.09, linewidth=0.5)
    axes.grid(False)
    axes.set_aspect("equal")
    axes.set_xlim(-reach - 0.5, reach + 0.5)
    axes.set_ylim(reach + 0.5, -reach - 0.5)
    ticks = [-reach, 0, reach]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.tick_params(length=0, labelsize=7.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
