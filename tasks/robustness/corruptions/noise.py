"""The four noises: every value is disturbed by itself."""

from functools import lru_cache

import numpy as np
from numpy.random import Generator

from tasks.robustness.corruptions.pixels import Picture, Values, to_bytes


def gaussian_noise(image: Picture, severity: int, draws: Generator) -> Picture:
    """Add normal noise of the same strength everywhere."""
    strength = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    noise = draws.standard_normal(image.shape, np.float32)
    noise *= np.float32(255 * strength)
    noise += image
    return to_bytes(noise)


def speckle_noise(image: Picture, severity: int, draws: Generator) -> Picture:
    """Add normal noise in proportion to the value."""
    strength = (0.15, 0.2, 0.35, 0.45, 0.6)[severity - 1]
    noise = draws.standard_normal(image.shape, np.float32)
    noise *= np.float32(strength)
    noise += np.float32(1)
    noise *= image
    return to_bytes(noise)


def impulse_noise(image: Picture, severity: int, draws: Generator) -> Picture:
    """Set a share of the values to 0 or 255, each half of the times."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    chance = draws.random(image.shape, np.float32)
    noisy = image.copy()
    noisy[chance < share] = 255
    noisy[chance < share / 2] = 0
    return noisy


def shot_noise(image: Picture, severity: int, draws: Generator) -> Picture:
    """Replace every value by a count of photons: a Poisson draw with the value as its mean."""
    photons = (60, 25, 12, 5, 3)[severity - 1]
    counts = draws.poisson(_means(photons)[image])
    return _levels(photons)[np.minimum(counts, photons)]


@lru_cache(maxsize=5)
def _means(photons: int) -> Values:
    return (np.arange(256) / 255 * photons).astype(np.float32)


@lru_cache(maxsize=5)
def _levels(photons: int) -> Picture:
    """The byte of each count 0 .. photons."""
    return to_bytes(np.arange(photons + 1) / photons * 255)
