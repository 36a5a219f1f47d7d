"""Textures: a bank of patterns made once per image size, out of which windows are cut."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tasks.data.shapes.draws import Draws
from tasks.data.shapes.forms import Plane

_BANK_SEED: Final = 20_230_401
_PATTERNS: Final = 16


def _smooth_noise(side: int, cells: float, draws: Draws) -> Plane:
    """Value noise in [-1, 1] with about `cells` bumps along a side, shape (side, side)."""
    knots = int(cells) + 2
    grid = (2.0 * draws.units(knots * knots) - 1.0).reshape(knots, knots).astype(np.float32)
    place = np.arange(side, dtype=np.float32) * np.float32(cells / side)
    first = place.astype(np.int64)
    t = place - np.floor(place)
    t = t * t * (3.0 - 2.0 * t)  # smooth at the knots
    rows = grid[first] + t[:, None] * (grid[first + 1] - grid[first])
    noise: Plane = rows[:, first] + t * (rows[:, first + 1] - rows[:, first])
    return noise


def _wave(phase: Plane) -> Plane:
    """A triangle wave of period 1 and range [-1, 1]: unlike a sine, the same on all platforms."""
    distance: Plane = np.abs(phase - np.floor(phase + 0.5))
    return 4.0 * distance - 1.0


def _clouds(side: int, draws: Draws) -> Plane:
    cells = draws.between(4.0, 9.0)
    coarse = _smooth_noise(side, cells, draws)
    return 0.75 * coarse + 0.5 * _smooth_noise(side, 2.3 * cells, draws)


def _stripes(side: int, draws: Draws) -> Plane:
    axis = np.arange(side, dtype=np.float32) / np.float32(side)
    slope, cycles = draws.between(0.0, 1.0), draws.between(5.0, 16.0)
    phase = cycles * (axis[None, :] + slope * axis[:, None])
    return _wave(phase + 0.6 * _smooth_noise(side, 4.0, draws))


def _checks(side: int, draws: Draws) -> Plane:
    axis = np.arange(side, dtype=np.float32) / np.float32(side)
    slope, cycles = draws.between(0.0, 1.0), draws.between(4.0, 10.0)
    across = _wave(cycles * (axis[None, :] + slope * axis[:, None]))
    down = _wave(cycles * (axis[:, None] - slope * axis[None, :]))
    return np.minimum(np.maximum(6.0 * across * down, -1.0), 1.0)


def _grains(side: int, draws: Draws) -> Plane:
    return 1.4 * _smooth_noise(side, draws.between(18.0, 36.0), draws)


_KINDS: Final[tuple[Callable[[int, Draws], Plane], ...]] = (_clouds, _stripes, _checks, _grains)


class TextureBank:
    """Patterns in [-1, 1] and a sheet of grain for images of one size.

    Patterns scale with the image, so that a scene looks alike at any size; the grain is one pixel
    wide at any size, as a sensor's is.

    Args:
        image_size: Side of the images in pixels.
    """

    def __init__(self, image_size: int) -> None:
        side = image_size + max(image_size // 2, 16)
        self._side = side
        draws = Draws(_BANK_SEED)
        patterns = [_KINDS[i % len(_KINDS)](side, draws) for i in range(_PATTERNS)]
        self._patterns = np.stack([_as_bytes(pattern) for pattern in patterns])
        # The sum of four uniform numbers is nearly normal; its variance is 1/3.
        grain = draws.units(4 * side * side).reshape(4, side, side)
        total = grain[0] + grain[1] + grain[2] + grain[3] - 2.0
        self._grain = _as_bytes((total / 2.0).astype(np.float32))

    def pattern(self, height: int, width: int, draws: Draws) -> Plane:
        """A random window of a random pattern, turned over at random, (height, width)."""
        return self._window(self._patterns[draws.below(_PATTERNS)], height, width, draws)

    def grain(self, height: int, width: int, draws: Draws) -> Plane:
        """A random window of the grain, standard deviation 0.29, (height, width)."""
        return self._window(self._grain, height, width, draws)

    def _window(self, sheet: NDArray[np.int8], height: int, width: int, draws: Draws) -> Plane:
        if draws.chance(0.5):
            sheet = sheet.T
        top, left = draws.below(self._side - height + 1), draws.below(self._side - width + 1)
        window = sheet[top : top + height, left : left + width]
        window = window[:: -1 if draws.chance(0.5) else 1, :: -1 if draws.chance(0.5) else 1]
        return np.multiply(window, draws.sign() / 127.0, dtype=np.float32)


def _as_bytes(pattern: Plane) -> NDArray[np.int8]:
    """Hundredths instead of floats: the banks of large images are large."""
    whole: NDArray[np.int8] = np.rint(np.clip(pattern, -1.0, 1.0) * 127.0).astype(np.int8)
    return whole


@lru_cache(maxsize=4)
def texture_bank(image_size: int) -> TextureBank:
    """The bank of an image size, made once per process."""
    return TextureBank(image_size)
