"""Pictures of learned positions: where the points of each layer were, and where they went."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from tasks.reporting.drawing import COLOURS, as_png, new_figure
from tasks.reporting.page import Picture

_CHANNELS_DRAWN = 10
_BINS_PER_CELL = 2


@dataclass(frozen=True)
class Movement:
    """Positions of one layer, or of the layers that share them.

    Args:
        initial: before training, (rows, channels, points), cells from the kernel's centre.
        learned: the same after it.
        reach: largest position, half the kernel's size.
    """

    initial: NDArray[np.float32]
    learned: NDArray[np.float32]
    reach: float

    @property
    def mean_distance(self) -> float:
        """How far a point moved on average, cells."""
        return float(np.linalg.norm(self.learned - self.initial, axis=0).mean())


def position_pictures(movements: Mapping[str, Movement]) -> list[Picture]:
    """Density before and after, and the way of single points; one column per layer of two rows."""
    drawn = {name: m for name, m in movements.items() if m.initial.shape[0] == 2}
    if not drawn:
        return []
    figure, axes = new_figure(3, len(drawn), 2.55 * len(drawn), 7.6)
    for column, (name, movement) in enumerate(drawn.items()):
        _density(axes[0, column], movement.initial, movement.reach)
        _density(axes[1, column], movement.learned, movement.reach)
        _ways(axes[2, column], movement)
        axes[0, column].set_title(f"{name}\nbefore", loc="left")
        axes[1, column].set_title("after", loc="left")
        axes[2, column].set_title(f"moved {movement.mean_distance:.2f} cells", loc="left")
    caption = (
        "Each panel is the kernel, in cells from its centre. Top and middle: density of all points "
        f"before and after training (square-root scale). Bottom: the way of the points of "
        f"{_CHANNELS_DRAWN} channels, one colour per channel, each ending in a dot."
    )
    return [Picture("positions", as_png(figure), "Positions before and after training", caption)]


def _density(axes: Axes, positions: NDArray[np.float32], reach: float) -> None:
    edges = np.linspace(-reach - 0.5, reach + 0.5, int(_BINS_PER_CELL * (2 * reach + 1)) + 1)
    rows, columns = positions.reshape(2, -1)
    counts, _, _ = np.histogram2d(rows, columns, bins=(edges, edges))
    extent = (edges[0], edges[-1], edges[-1], edges[0])
    axes.imshow(np.sqrt(counts), cmap="magma", extent=extent, interpolation="nearest")
    _as_kernel(axes, reach)


def _ways(axes: Axes, movement: Movement) -> None:
    channels = movement.initial.shape[1]
    chosen = np.linspace(0, channels - 1, min(channels, _CHANNELS_DRAWN)).astype(int)
    for i, channel in enumerate(chosen):
        colour = COLOURS[i % (len(COLOURS) - 2)]
        start, end = movement.initial[:, channel], movement.learned[:, channel]
        axes.plot([start[1], end[1]], [start[0], end[0]], color=colour, linewidth=0.7, alpha=0.7)
        axes.scatter(end[1], end[0], s=5, color=colour, zorder=3)
    axes.invert_yaxis()
    _as_kernel(axes, movement.reach)


def _as_kernel(axes: Axes, reach: float) -> None:
    axes.grid(False)
    axes.set_aspect("equal")
    axes.set_xlim(-reach - 0.5, reach + 0.5)
    axes.set_ylim(reach + 0.5, -reach - 0.5)
    ticks = [-reach, 0, reach]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
