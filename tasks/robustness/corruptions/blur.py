"""The blurs: out of focus, through glass, by motion, by zooming, and Gaussian."""

from functools import lru_cache

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from tasks.robustness.corruptions.gaussian import gaussian_filter
from tasks.robustness.corruptions.motion import line_blur
from tasks.robustness.corruptions.pixels import (
    FloatImage,
    Values,
    channels_first,
    channels_last,
    folded,
    to_bytes,
)
from tasks.robustness.corruptions.resampling import zoom_sum
from tasks.robustness.corruptions.severities import Strength

Indices = NDArray[np.int32]
_SIDE_FACTOR = 16
"""Sides of Fourier transforms are multiples of it: those with large prime factors are slow."""


def gaussian_blur(image: FloatImage, strength: Strength) -> FloatImage:
    """Smooth by a Gaussian."""
    return to_bytes(gaussian_filter(image, strength[0]))


def defocus_blur(image: FloatImage, strength: Strength) -> FloatImage:
    """Spread every pixel over a disk, as a lens out of focus does."""
    radius, smoothing = strength
    height, width = image.shape[:2]
    reach = _disk(radius, smoothing).shape[0] // 2
    padded = image.astype(np.float32)
    padded = padded.take(folded(-reach, height + reach, height, "reflect"), axis=0)
    padded = padded.take(folded(-reach, width + reach, width, "reflect"), axis=1)
    rows, columns = (-(-side // _SIDE_FACTOR) * _SIDE_FACTOR for side in padded.shape[:2])
    spectrum = torch.fft.rfft2(channels_first(padded), s=(rows, columns))
    spectrum *= _disk_spectrum(radius, smoothing, rows, columns)
    spread = torch.fft.irfft2(spectrum, s=(rows, columns))
    inner = spread[:, 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]
    return to_bytes(channels_last(inner, 3))


@lru_cache(maxsize=10)
def _disk_spectrum(radius: float, smoothing: float, rows: int, columns: int) -> Tensor:
    spectrum: Tensor = torch.fft.rfft2(
        torch.from_numpy(_disk(radius, smoothing)), s=(rows, columns)
    )
    return spectrum


@lru_cache(maxsize=10)
def _disk(radius: float, smoothing: float) -> Values:
    """Weights of a disk whose rim is smoothed a little, by a Gaussian of 3 or 5 taps."""
    reach, taps = (8, 3) if radius <= 8 else (int(radius), 5)
    axis = np.arange(-reach, reach + 1)
    disk = (axis[:, None] ** 2 + axis**2 <= radius**2).astype(np.float64)
    around = np.arange(taps) - taps // 2
    weights = np.exp(-0.5 * (around / smoothing) ** 2)
    weights /= weights.sum()
    padded = np.pad(disk / disk.sum(), taps // 2, "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (taps, taps))
    return np.asarray(windows @ weights @ weights, np.float32)


def motion_blur(image: FloatImage, strength: Strength, draws: Generator) -> FloatImage:
    """Blur along a line within 45 degrees of the x axis."""
    radius, sigma = strength
    return to_bytes(line_blur(image, int(radius), sigma, draws.uniform(-45, 45)))


def zoom_blur(image: FloatImage, strength: Strength) -> FloatImage:
    """Mean of the image and of itself enlarged by growing factors."""
    end, step = strength
    factors = np.arange(1, end, step).tolist()
    values = image.astype(np.float32)
    total = zoom_sum(values, factors)
    total += values
    total *= np.float32(1 / (len(factors) + 1))
    return to_bytes(total)


def glass_blur(image: FloatImage, strength: Strength, draws: Generator) -> FloatImage:
    """Smooth, let pixels take the place of neighbours, smooth again."""
    sigma, reach, passes = strength[0], int(strength[1]), int(strength[2])
    height, width = image.shape[:2]
    sources = np.arange(height * width, dtype=np.int32)
    for _ in range(passes):
        inner = max(height - 2 * reach, 0), max(width - 2 * reach, 0)
        offsets = draws.integers(-reach, reach, (*inner, 2), np.int8)
        sources = sources[_displaced(height, width, reach, offsets)]
    smooth = to_bytes(gaussian_filter(image, sigma)).reshape(-1, 3)
    return to_bytes(gaussian_filter(smooth.take(sources, axis=0).reshape(image.shape), sigma))


def _displaced(height: int, width: int, reach: int, offsets: NDArray[np.int8]) -> Indices:
    """For each pixel, the pixel whose value it has after one pass of the published loop.

    The loop runs backwards from the bottom right and is written as a swap, but on rows of an array
    the second half of that swap reads what the first has just written, so it is a copy: a pixel
    takes the value a neighbour has *by then*. A neighbour further on has been served before, so
    what it holds came from its own source, and so on: chains, each of which ends in a pixel that
    took its value from behind, or in the border that is never written. Their ends are found by
    doubling the length of the jumps, which gives exactly what the loop gives.

    Args:
        height: of the image.
        width: likewise.
        reach: pixels this close to the border keep their values, but for one row and column.
        offsets: (h, w, 2), x and y, of the pixels in the order of the loop.

    Returns:
        Flat indices (height * width,).
    """
    places = np.arange(height * width, dtype=np.int32).reshape(height, width)
    sources = places.copy()
    inner = slice(reach + 1, height - reach + 1), slice(reach + 1, width - reach + 1)
    shift = offsets[::-1, ::-1].astype(np.int32)
    sources[inner] += shift[..., 1] * width + shift[..., 0]
    flat = sources.ravel()
    jumps = np.maximum(flat, places.ravel())
    while True:
        further = jumps[jumps]
        if np.array_equal(further, jumps):
            return flat[jumps]
        jumps = further
