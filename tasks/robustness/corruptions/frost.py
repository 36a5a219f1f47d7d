"""Frost on the pane, drawn: the photographs behind the published frost may not be shipped.

This is *not* the frost of ImageNet-C. The weights of image and frost are the published ones, and
six drawn sheets have about the brightness, tint and contrast of the six photographs, but crystals
of straight needles are simpler shapes than real ones: a figure measured with them stands beside
others made here, never beside published ones. The sheets are the same in every process.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tasks.robustness.corruptions.gaussian import gaussian_filter
from tasks.robustness.corruptions.pixels import FloatImage, Values, to_bytes
from tasks.robustness.corruptions.severities import Strength
from tasks.robustness.corruptions.weather import plasma

_SIDE = 512
_MARGIN = 1.1
_FINER = 3
"""Lines are drawn on a canvas that is so many times finer, and averaged, as Pillow's have steps."""


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


def frost(image: FloatImage, strength: Strength, draws: Generator) -> FloatImage:
    """Mix the image with a random part of one of the six sheets, resized by the given scale.

    A sheet is never smaller than a tenth more than the image.
    """
    kept, added, scale = strength
    height, width = image.shape[:2]
    side = max(int(_SIDE * scale), int(np.ceil(_MARGIN * max(height, width))))
    index = int(draws.integers(len(_SHEETS)))
    top, left = int(draws.integers(side - height)), int(draws.integers(side - width))
    part = _part(_sheet(index), side, top, left, height, width)
    return to_bytes(image * np.float32(kept) + part * np.float32(added))


def _part(sheet: FloatImage, side: int, top: int, left: int, height: int, width: int) -> FloatImage:
    """A part of the sheet resized to (side, side, 3)."""
    if side == _SIDE:
        return sheet[top : top + height, left : left + width]
    scale = _SIDE / side
    if scale < 1:
        box = (left * scale, top * scale, (left + width) * scale, (top + height) * scale)
        whole = Image.fromarray(sheet)
        return np.asarray(whole.resize((width, height), Image.Resampling.BICUBIC, box))
    # A smaller one keeps single pixels, and so the contrast, as the published code does.
    rows, columns = (
        ((np.arange(start, start + length) + 0.5) * scale).astype(np.intp)
        for start, length in ((top, height), (left, width))
    )
    return sheet[rows[:, None], columns]


@lru_cache(maxsize=len(_SHEETS))
def _sheet(index: int) -> FloatImage:
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
    canvas = Image.new("L", (_SIDE * _FINER, _SIDE * _FINER))
    pen = ImageDraw.Draw(canvas)
    for row, column in draws.integers(0, _SIDE, (look.crystals, 2)).tolist():
        angle = draws.uniform(0, 2 * np.pi)
        length = look.length * draws.uniform(0.4, 1.4)
        light = int(60 + 195 * draws.random() * clouds[row, column])
        for needle in (_needles((column, row), angle, length) * _FINER).reshape(-1, 4).tolist():
            pen.line(needle, light, _FINER + 1)
    return np.asarray(canvas.reduce(_FINER), np.float32)


def _needles(start: tuple[int, int], angle: float, length: float) -> NDArray[np.float64]:
    """Ends (n, 2, 2) of a stem and of its side needles, which shorten towards the tip."""
    share = np.linspace(0, 0.9, max(3, int(length / 4)))
    bases = np.array(start) + length * share[:, None] * _direction(angle)
    sides = [
        bases + 0.4 * length * (1 - share)[:, None] * _direction(angle + turn)
        for turn in (-np.pi / 3, np.pi / 3)
    ]
    ends = np.concatenate([np.array(start) + length * _direction(angle)[None], *sides])
    starts = np.concatenate([np.array(start)[None], bases, bases])
    return np.stack([starts, ends], 1)


def _direction(angle: float) -> NDArray[np.float64]:
    return np.array([np.cos(angle), np.sin(angle)])


def _unit(values: Values) -> Values:
    """Shifted and scaled to mean 0 and standard deviation 1."""
    return np.asarray((values - values.mean()) / values.std(), np.float32)
