"""Snow and fog."""

import numpy as np
from numpy.random import Generator

from tasks.robustness.corruptions.motion import line_blur
from tasks.robustness.corruptions.pixels import FloatImage, Values, to_bytes
from tasks.robustness.corruptions.resampling import zoomed
from tasks.robustness.corruptions.severities import Strength

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in luminance."""


def snow(image: FloatImage, strength: Strength, draws: Generator) -> FloatImage:
    """Whiten the image and let blurred flakes fall, the same ones also upside down."""
    mean, spread, size, threshold, radius, sigma, kept = strength
    height, width = image.shape[:2]
    flakes = draws.standard_normal((height, width), np.float32)
    flakes *= np.float32(spread)
    flakes += np.float32(mean)
    flakes = zoomed(flakes, size)
    flakes[flakes < threshold] = 0
    np.minimum(flakes, 1, out=flakes)
    falling = line_blur(flakes, int(radius), sigma, draws.uniform(-135, -45))
    layer = np.round(falling[:height, :width] * 255)
    values = image.astype(np.float32)
    white = values @ _GREY * np.float32(1.5) + np.float32(127.5)
    whitened = np.maximum(values, white[..., None])
    whitened *= np.float32(1 - kept)
    values *= np.float32(kept)
    whitened += values
    whitened += (layer + layer[::-1, ::-1])[..., None]
    return to_bytes(whitened)


def fog(image: FloatImage, strength: Strength, draws: Generator) -> FloatImage:
    """Add clouds, and darken the sum to the brightest value of before."""
    thickness, decay = strength
    height, width = image.shape[:2]
    side = 1 << (max(image.shape) - 1).bit_length()
    clouds = plasma(side, decay, draws)[:height, :width]
    brightest = float(image.max()) / 255
    values = image + (clouds * np.float32(255 * thickness))[..., None]
    values *= np.float32(brightest / (brightest + thickness))
    return to_bytes(values)


def plasma(side: int, decay: float, draws: Generator) -> Values:
    """A random height map between 0 and 1 by the diamond-square method, edges joined.

    Every round halves the grid: each square gets a middle, each side of a square one too, all of
    them the mean of their four neighbours and a random part, which shrinks with the grid.

    Args:
        side: of the map, a power of two, at least 2.
        decay: how much the random part shrinks from a grid to the next; its square counts.
        draws: where the random parts come from.
    """
    grid = np.zeros((side, side), np.float32)
    step, strength = side, 100.0
    while step >= 2:
        half = step // 2
        corners, middles = grid[::step, ::step], grid[half::step, half::step]
        beside = np.roll(corners, -1, axis=1)
        below = np.roll(corners, -1, axis=0)
        middles[:] = _between(
            corners + beside + below + np.roll(below, -1, axis=1), strength, draws
        )
        above = np.roll(middles, 1, axis=0)
        grid[::step, half::step] = _between(middles + above + corners + beside, strength, draws)
        before = np.roll(middles, 1, axis=1)
        grid[half::step, ::step] = _between(middles + before + corners + below, strength, draws)
        step, strength = half, strength / decay
    grid -= grid.min()
    grid /= grid.max()
    return grid


def _between(total: Values, strength: float, draws: Generator) -> Values:
    """A quarter of the total of four neighbours, and a random part up to the strength squared."""
    part = draws.random(total.shape, np.float32)
    part *= np.float32(2 * strength**2)
    part += total * np.float32(0.25) - np.float32(strength**2)
    return part
