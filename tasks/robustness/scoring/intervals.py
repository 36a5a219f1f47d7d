"""Intervals of means by the bootstrap: what another draw of as many images might have given."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
_SEED = 20190328  # any fixed one: the same images give the same interval
_SHARES = (2.5, 97.5)


class Interval(NamedTuple):
    """95 % of the bootstrap's means lie between the two."""

    low: float
    high: float


UNKNOWN = Interval(float("nan"), float("nan"))


def resampled_means(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Means (`RESAMPLES`,) of `values` (n,) drawn with replacement, n of them each time.

    Every call draws the same places for the same n, so that the means of several values of the
    same images belong together: their differences are those of paired images.
    """
    draws, count = np.random.default_rng(_SEED), len(values)
    means = [values[draws.integers(0, count, count)].mean() for _ in range(RESAMPLES)]
    return np.array(means, np.float64)


def interval(means: NDArray[np.float64]) -> Interval:
    """The middle 95 % of resampled means; unknown if one of them is no number."""
    if not len(means) or not np.isfinite(means).all():
        return UNKNOWN
    low, high = np.percentile(means, _SHARES)
    return Interval(float(low), float(high))


def mean_interval(values: NDArray[np.floating]) -> Interval:
    """Interval of the mean of values (n,), one per image; unknown without an image."""
    return interval(resampled_means(values)) if len(values) else UNKNOWN


def share_interval(right: int, count: int) -> Interval:
    """Interval of a share: drawing images with replacement makes its count binomial."""
    if not count:
        return UNKNOWN
    hits = np.random.default_rng(_SEED).binomial(count, right / count, 100 * RESAMPLES)
    return interval(hits / count)


def apart(first: NDArray[np.floating], second: NDArray[np.floating]) -> Interval:
    """Interval of the difference of the means of two sets of other images."""
    if not len(first) or not len(second):
        return UNKNOWN
    # the two draw independently: the second goes on where the first one's places would repeat
    means = resampled_means(first)
    order = np.random.default_rng(_SEED + 1).permutation(RESAMPLES)
    return interval(means - resampled_means(second)[order])
