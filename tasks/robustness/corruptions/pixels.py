"""What the corruptions work on, and the way back to bytes."""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatImage = NDArray[np.uint8]
"""(H, W, 3), RGB, as Pillow reads it."""
Values = NDArray[np.float32]
"""(H, W, 3) or (H, W): the same on a scale of 0 to 255, before it is cut to bytes."""
Border = Literal["edge", "symmetric", "reflect"]
"""What lies beyond the border, as `numpy.pad` names it: the outermost value, or a mirror image with
the outermost value twice in a row (``dcba|abcd``) or once (``dcb|abcd``)."""
_SHORTFALL = np.float32(1e-3)


def to_bytes(values: NDArray[np.floating[Any]]) -> FloatImage:
    """Cut to 0 .. 255 and drop the fraction, as the published code does (it never rounds).

    Float32 sums may end a hair below a whole level, which would cost that level: hence the excess.
    """
    image: FloatImage = np.clip(values + _SHORTFALL, 0, 255).astype(np.uint8)
    return image


def folded(start: int, stop: int, length: int, border: Border) -> NDArray[np.intp]:
    """The places from `start` up to `stop` of a side, those beyond its border brought back."""
    places = np.arange(start, stop)
    if border == "edge":
        return np.clip(places, 0, length - 1)
    if border == "symmetric":
        places %= 2 * length
        return np.minimum(places, 2 * length - 1 - places)
    places %= max(2 * length - 2, 1)
    return np.minimum(places, 2 * length - 2 - places)


def channels_first(values: FloatImage | Values) -> Tensor:
    """Values (H, W) or (H, W, C) as PyTorch's image operations take them, (1 or C, H, W), float32.

    The memory is shared where the values are float32 and may be written to.
    """
    if not values.flags.writeable:  # which tensors cannot express
        values = values.copy()
    tensor = torch.from_numpy(values).to(torch.float32)
    return tensor[None] if values.ndim == 2 else tensor.permute(2, 0, 1)


def channels_last(tensor: Tensor, ndim: int) -> Values:
    """The way back from `channels_first`, to `ndim` dimensions, C-contiguous."""
    tensor = tensor[0] if ndim == 2 else tensor.permute(1, 2, 0)
    values: Values = tensor.contiguous().numpy()
    return values
