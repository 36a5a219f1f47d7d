"""Reading values between pixels, linearly."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tasks.robustness.corruptions.pixels import Values, channels_first, channels_last


def zoomed(values: Values, factor: float) -> Values:
    """The middle of `values`, (H, W) or (H, W, 3), enlarged by `factor`, which is at least 1.

    Corners are kept, as `scipy.ndimage.zoom` does. The result may be a little larger than `values`,
    as part of a pixel counts as a whole one.
    """
    return channels_last(_enlarged(channels_first(values), factor), values.ndim)


def zoom_sum(values: Values, factors: Sequence[float]) -> Values:
    """Sum of `zoomed` over factors, each cut at the bottom and the right to (H, W, 3)."""
    height, width = values.shape[:2]
    planes = channels_first(values)
    total = torch.zeros_like(planes)
    for factor in factors:
        total += _enlarged(planes, factor)[:, :height, :width]
    return channels_last(total, values.ndim)


def _enlarged(planes: Tensor, factor: float) -> Tensor:
    height, width = (math.ceil(side / factor) for side in planes.shape[1:])
    top, left = (planes.shape[1] - height) // 2, (planes.shape[2] - width) // 2
    middle = planes[None, :, top : top + height, left : left + width]
    size = round(height * factor), round(width * factor)
    return functional.interpolate(
        middle.contiguous(memory_format=torch.channels_last),  # twice as fast
        size,
        mode="bilinear",
        align_corners=True,
    )[0]


def sampled(
    values: Values, across: NDArray[np.floating], down: NDArray[np.floating], twice: bool
) -> Values:
    """Values read at the places (`across`, `down`), in pixels, of shape (H, W) together.

    Args:
        values: (H, W, 3), mirrored beyond the border.
        across: x of each place, in a shape that broadcasts to (H, W).
        down: y of each place, likewise.
        twice: the mirror lies at the edge of the outermost pixels, which so come twice in a row
            (``dcba|abcd``); otherwise in their middle (``dcb|abcd``).
    """
    height, width = values.shape[:2]
    if twice:
        x, y = (across + 0.5) * (2 / width) - 1, (down + 0.5) * (2 / height) - 1
    else:
        x, y = across * (2 / max(width - 1, 1)) - 1, down * (2 / max(height - 1, 1)) - 1
    grid = np.empty((1, height, width, 2), np.float32)
    grid[0, ..., 0], grid[0, ..., 1] = x, y
    read = functional.grid_sample(
        channels_first(values)[None],
        torch.from_numpy(grid),
        mode="bilinear",
        padding_mode="reflection",
        align_corners=not twice,
    )
    return channels_last(read[0], 3)
