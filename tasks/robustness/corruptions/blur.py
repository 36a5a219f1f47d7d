"""The blurs: out of focus, through glass, by motion, by zooming, and Gaussian."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tasks.robustness.corruptions.motion import line_blur
from tasks.robustness.corruptions.pixels import Picture, Values, gaussian_filter, to_bytes
from tasks.robustness.corruptions.resampling import zoom_sum

Indices = NDArray[np.int32]


def gaussian_blur(image: Picture, severity: int) -> Picture:
    """Smooth by a Gaussian."""
    return to_bytes(gaussian_filter(image, (1, 2, 3, 4, 6)[severity - 1]))


def defocus_blur(image: Picture, severity: int) -> Picture:
    """Spread every pixel over a disk, as a lens out of focus does."""
    return to_bytes(np.asarray(cv2.filter2D(image, cv2.CV_32F, _disk(severity))))


@lru_cache(maxsize=5)
def _disk(severity: int) -> Values:
    """Weights of a disk whose rim is smoothed a little."""
    radius, smoothing = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1]
    reach, side = (8, 3) if radius <= 8 else (radius, 5)
    axis = np.arange(-reach, reach + 1)
    disk = (axis[:, None] ** 2 + axis**2 <= radius**2).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(disk / disk.sum(), (side, side), smoothing), np.float32)


def motion_blur(image: Picture, severity: int, draws: Generator) -> Picture:
    """Blur along a line within 45 degrees of the x axis."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    return to_bytes(line_blur(image, radius, sigma, draws.uniform(-45, 45)))


def zoom_blur(image: Picture, severity: int) -> Picture:
    """Mean of the picture and of itself enlarged by growing factors."""
    end, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[severity - 1]
    factors = np.arange(1, end, step).tolist()
    values = image.astype(np.float32)
    total = zoom_sum(values, factors)
    total += values
    total *= np.float32(1 / (len(factors) + 1))
    return to_bytes(total)


def glass_blur(image: Picture, severity: int, draws: Generator) -> Picture:
    """Smooth, let pixels take the place of neighbours, smooth again."""
    sigma, reach, passes = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[
        severity - 1
    ]
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
        height: of the picture.
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
