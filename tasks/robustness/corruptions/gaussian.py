"""The Gaussian filter, as products of matrices.

PyTorch's convolutions are made for many channels and take ten times as long with one; numpy and
scipy take two to five times as long.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from tasks.robustness.corruptions.pixels import (
    Border,
    FloatImage,
    Values,
    channels_first,
    channels_last,
    folded,
)

_BLOCK = 64
"""Rows of the result per product of matrices; the kernel's reach is computed in addition."""


def gaussian_taps(sigma: float, truncate: float) -> Values:
    """Weights (2r + 1,) of a Gaussian that ends `truncate` standard deviations from its middle."""
    radius = int(truncate * sigma + 0.5)
    if radius == 0:
        return np.ones(1, np.float32)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps: Values = (weights / weights.sum()).astype(np.float32)
    return taps


def gaussian_filter(
    values: FloatImage | Values, sigma: float, truncate: float = 4.0, border: Border = "edge"
) -> Values:
    """Values smoothed by a Gaussian, every channel alone; shapes are kept, float32."""
    planes = channels_first(values).contiguous()
    if len(gaussian_taps(sigma, truncate)) > 1:
        planes = _along_rows(planes, sigma, truncate, border)
        planes = _along_columns(planes, sigma, truncate, border)
    return channels_last(planes, values.ndim)


def _along_rows(planes: Tensor, sigma: float, truncate: float, border: Border) -> Tensor:
    channels, height, width = planes.shape
    rows, smooth = planes.view(-1, width), torch.empty(channels * height, width)
    for start in range(0, width, _BLOCK):
        stop = min(start + _BLOCK, width)
        first, weights = _weights(start, stop, width, sigma, truncate, border)
        part = rows[:, first : first + weights.shape[1]]
        torch.mm(part, weights.T, out=smooth[:, start:stop])
    return smooth.view_as(planes)


def _along_columns(planes: Tensor, sigma: float, truncate: float, border: Border) -> Tensor:
    height = planes.shape[1]
    smooth = torch.empty_like(planes)
    for start in range(0, height, _BLOCK):
        stop = min(start + _BLOCK, height)
        first, weights = _weights(start, stop, height, sigma, truncate, border)
        for plane, result in zip(planes, smooth, strict=True):
            part = plane[first : first + weights.shape[1]]
            torch.mm(weights, part, out=result[start:stop])
    return smooth


def _weights(
    start: int, stop: int, length: int, sigma: float, truncate: float, border: Border
) -> tuple[int, Tensor]:
    """The first place that counts for places `start` to `stop`, and the weights from there on."""
    radius = len(gaussian_taps(sigma, truncate)) // 2
    first, last = max(start - radius, 0), min(stop + radius, length)
    if start >= radius and stop + radius <= length:  # the same wherever no border is near
        start, stop, length = radius, radius + stop - start, 2 * radius + stop - start
    return first, _matrix(start, stop, length, sigma, truncate, border)[:, : last - first]


@lru_cache(maxsize=64)
def _matrix(
    start: int, stop: int, length: int, sigma: float, truncate: float, border: Border
) -> Tensor:
    """Weights of a Gaussian for places `start` to `stop`, those beyond the border folded in.

    A Gaussian wider than the image would otherwise be thousands of taps.
    """
    taps = gaussian_taps(sigma, truncate)
    radius = len(taps) // 2
    first, last = max(start - radius, 0), min(stop + radius, length)
    along = folded(start - radius, stop + radius, length, border)
    places = np.lib.stride_tricks.sliding_window_view(along, len(taps))
    matrix = np.zeros((stop - start, last - first), np.float32)
    np.add.at(matrix, (np.arange(stop - start)[:, None], places - first), taps)
    return torch.from_numpy(matrix)
