"""Random numbers that are the same on every platform and under every numpy version."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_BLOCK: Final = 128
_TO_UNIT: Final = 2.0**-53


class Draws:
    """A stream of uniform numbers fixed by integers.

    Built on the raw words of PCG64, whose stream numpy guarantees for ever; the distributions of
    `numpy.random.Generator` carry no such promise, and are slower to call one number at a time.

    Args:
        seed: Seed of the family of streams, a non-negative integer.
        stream: Which stream of the family, for instance (split, index); streams are independent.
    """

    def __init__(self, seed: int, *stream: int) -> None:
        self._words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=stream))
        self._block: list[float] = []

    def unit(self) -> float:
        """One number in [0, 1)."""
        if not self._block:
            self._block = self.units(_BLOCK).tolist()
        return self._block.pop()

    def units(self, count: int) -> NDArray[np.floating[Any]]:
        """The next `count` numbers in [0, 1), float64."""
        words = self._words.random_raw(count)
        return (words >> np.uint64(11)) * _TO_UNIT

    def between(self, low: float, high: float) -> float:
        """One number in [low, high)."""
        return low + (high - low) * self.unit()

    def below(self, count: int) -> int:
        """One integer in 0 .. count - 1."""
        return int(self.unit() * count)

    def within(self, bounds: tuple[int, int]) -> int:
        """One integer between the two bounds, both included."""
        return bounds[0] + self.below(bounds[1] - bounds[0] + 1)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.unit() < probability

    def sign(self) -> float:
        """Plus or minus one."""
        return 1.0 if self.unit() < 0.5 else -1.0
