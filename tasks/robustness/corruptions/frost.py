"""Frost on the pane, drawn: the photographs behind the published frost may not be shipped.

This is *not* the frost of ImageNet-C. The weights of picture and frost are the published ones, and
six drawn sheets have about the brightness, tint and contrast of the six photographs, but crystals
of straight needles are simpler shapes than real ones: a figure measured with them stands beside
others made here, never beside published ones. The sheets are the same in every process.
"""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tasks.robustness.corruptions.pixels import Picture, Values, gaussian_filter, to_bytes
from tasks.robustness.corruptions.weather import plasma

_MIXTURES = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
_SIDE = 512
_MARGIN = 1.1
_PRECISION = 4
"""Bits of a fraction of a pixel with which OpenCV draws lines."""


class _Sheet(NamedTuple):
    """Look of a sheet: mean colour, contrast, needle length in pixels, and how fine it is."""

    red: float
    green: float
    blue: float
    contrast: float
    length: float
    crystals: int
    grain: float


# Colours and contrasts as measured in the photographs; two of those six are one and the same.
_SHEETS = (
    _Sheet(78, 149, 166, 17, 40, 300, 0.3),
    _Sheet(201, 205, 214, 20, 60, 700, 0.3),
    _Sheet(201, 205, 214, 20, 45, 900, 0.3),
    _Sheet(138, 153, 165, 27, 12, 3000, 0.5),
    _Sheet(112, 123, 135, 36, 20, 2500, 0.3),
    _Sheet(71, 95, 105, 38, 60, 500, 0.3),
)


def frost(image: Picture, severity: int, draws: Generator) -> Picture:
    """Mix the picture with a random part of one of the six sheets."""
    kept, added = _MIXTURES[severity - 1]
    height, width = image.shape[:2]
    sheet = _sheet(int(draws.integers(len(_SHEETS))))
    growth = _MARGIN * max(height, width) / _SIDE
    if growth > 1:
        side = int(np.ceil(_SIDE * growth))
        sheet = np.asarray(cv2.resize(sheet, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    top = int(draws.integers(sheet.shape[0] - height))
    left = int(draws.integers(sheet.shape[1] - width))
    part = sheet[top : top + height, left : left + width]
    return to_bytes(image * np.float32(kept) + part * np.float32(added))


@lru_cache(maxsize=len(_SHEETS))
def _sheet(index: int) -> Picture:
    """One of the sheets (512, 512, 3)."""
    look = _SHEETS[index]
    draws = Generator(np.random.PCG64(np.random.SeedSequence(index)))
    clouds = plasma(_SIDE, 1.6, draws)
    pattern = 1.5 * _unit(_crystals(look, clouds, draws)) + _unit(clouds)
    pattern += look.grain * draws.standard_normal(pattern.shape, np.float32)
    pattern = _unit(gaussian_filter(pattern, 0.5))
    tint = np.array([look.red, look.green, look.blue], np.float32)
    return to_bytes(tint + pattern[..., None] * np.float32(look.contrast))


def _crystals(look: _Sheet, clouds: Values, draws: Generator) -> Values:
    """Stems with side needles at 60 degrees (512, 512), brighter where the clouds are dense."""
    canvas = np.zeros((_SIDE, _SIDE), np.uint8)
    for row, column in draws.integers(0, _SIDE, (look.crystals, 2)).tolist():
        angle = draws.uniform(0, 2 * np.pi)
        length = look.length * draws.uniform(0.4, 1.4)
        light = int(60 + 195 * draws.random() * clouds[row, column])
        needles = _needles((column, row), angle, length)
        cv2.polylines(canvas, list(needles), False, light, 1, cv2.LINE_AA, _PRECISION)
    return canvas.astype(np.float32)


def _needles(start: tuple[int, int], angle: float, length: float) -> NDArray[np.int32]:
    """Ends (n, 2, 2) of a stem and of its side needles, which shorten towards the tip."""
    share = np.linspace(0, 0.9, max(3, int(length / 4)))
    bases = np.array(start) + length * share[:, None] * _direction(angle)
    sides = [
        bases + 0.4 * length * (1 - share)[:, None] * _direction(angle + turn)
        for turn in (-np.pi / 3, np.pi / 3)
    ]
    ends = np.concatenate([np.array(start) + length * _direction(angle)[None], *sides])
    starts = np.concatenate([np.array(start)[None], bases, bases])
    lines: NDArray[np.int32] = (np.stack([starts, ends], 1) * 2**_PRECISION).astype(np.int32)
    return lines


def _direction(angle: float) -> NDArray[np.float64]:
    return np.array([np.cos(angle), np.sin(angle)])


def _unit(values: Values) -> Values:
    """Shifted and scaled to mean 0 and standard deviation 1."""
    return np.asarray((values - values.mean()) / values.std(), np.float32)
