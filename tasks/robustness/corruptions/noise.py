"""The four noises: every value is disturbed by itself."""

from functools import lru_cache

import numpy as np
from numpy.random import Generator

from tasks.robustness.corruptions.pixels import FloatImage, Values, to_bytes
from tasks.robustness.corruptions.severities import Strength


def gaussian_noise(image: FloatImage, strength: Strength, draws: Generator) -> FloatImage:
    """Add normal noise of the same strength everywhere."""
    (deviation,) = strength
    noise = draws.standard_normal(image.shape, np.float32)
    noise *= np.float32(255 * deviation)
    noise += image
    return to_bytes(noise)


def speckle_noise(image: FloatImage, strength: Strength, draws: Generator) -> FloatImage:
    """Add normal noise in proportion to the value."""
    (deviation,) = strength
    noise = draws.standard_normal(image.shape, np.float32)
    noise *= np.float32(deviation)
    noise += np.float32(1)
    noise *= image
    return to_bytes(noise)


def impulse_noise(image: FloatImage, strength: Strength, draws: Generator) -> FloatImage:
    """Set a share of the values to 0 or 255, each half of the times."""
    (share,) = strength
    chance = draws.random(image.shape, np.float32)
    noisy = image.copy()
    noisy[chance < share] = 255
    noisy[chance < share / 2] = 0
    return noisy


def shot_noise(image: FloatImage, strength: Strength, draws: Generator) -> FloatImage:
    """Replace every value by a count of photons: a Poisson draw with the value as its mean."""
    photons = int(strength[0])
    counts = draws.poisson(_means(photons)[image])
    return _levels(photons)[np.minimum(counts, photons)]


@lru_cache(maxsize=5)
def _means(photons: int) -> Values:
    return (np.arange(256) / 255 * photons).astype(np.float32)


@lru_cache(maxsize=5)
def _levels(photons: int) -> FloatImage:
    """The byte of each count 0 .. photons."""
    return to_bytes(np.arange(photons + 1) / photons * 255)
