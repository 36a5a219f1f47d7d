"""Painting: a form in a pose becomes a patch of coverage, and a patch is filled with paint."""

from dataclasses import dataclass
from math import cos, sin
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.data.shapes.draws import Draws
from tasks.data.shapes.forms import Form, Plane
from tasks.data.shapes.texture import TextureBank

Colour = tuple[float, float, float]
_REACH = 1.15  # no form reaches further than this from its centre


class Pose(NamedTuple):
    """Where a form lies. Lengths are fractions of the image side; the angle is in radians."""

    x: float
    y: float
    radius: float
    angle: float
    stretch: float = 1.0


@dataclass(frozen=True, slots=True)
class Patch:
    """The part of the image that a form touches: where it is, and how much of each pixel it covers.

    Attributes:
        rows: Rows of the image.
        columns: Columns of the image.
        cover: Coverage in [0, 1], float32, (rows, columns); the edge is one pixel soft.
    """

    rows: slice
    columns: slice
    cover: Plane

    def mask(self, image_size: int) -> NDArray[np.bool_]:
        """The pixels covered by half and more, (image_size, image_size)."""
        mask = np.zeros((image_size, image_size), dtype=np.bool_)
        mask[self.rows, self.columns] = self.cover > 0.5
        return mask


def _span(centre: float, reach: float, size: int) -> slice:
    first = min(max(int((centre - reach) * size) - 1, 0), size)
    last = min(max(int((centre + reach) * size) + 2, first), size)
    return slice(first, last)


def rasterise(form: Form, pose: Pose, image_size: int) -> Patch:
    """Draw a form: the signed distance to its outline, in pixels, becomes coverage."""
    reach = _REACH * pose.radius * max(pose.stretch, 1.0 / pose.stretch)
    rows = _span(pose.y, reach, image_size)
    columns = _span(pose.x, reach, image_size)
    step = 1.0 / (image_size * pose.radius)
    x = np.arange(columns.start, columns.stop, dtype=np.float32) * step
    x += (0.5 - pose.x * image_size) * step
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] * step
    y += (0.5 - pose.y * image_size) * step
    along, aside = cos(pose.angle), sin(pose.angle)
    u = (along / pose.stretch) * x + (aside / pose.stretch) * y
    v = (-aside * pose.stretch) * x + (along * pose.stretch) * y
    cover = form(u, v)
    cover *= -1.0 / step
    cover += 0.5
    np.maximum(cover, 0.0, out=cover)
    np.minimum(cover, 1.0, out=cover)
    return Patch(rows, columns, cover)


class Canvas:
    """A square image in the making: float32 planes (3, size, size), about 0 to 1."""

    def __init__(self, size: int, bank: TextureBank, draws: Draws) -> None:
        self.size = size
        self._bank = bank
        self._draws = draws
        self._planes = np.empty((3, size, size), dtype=np.float32)

    def fill(self, colour: Colour, tones: tuple[Colour, ...]) -> None:
        """Cover everything with a colour, varied by one random texture per tone."""
        self._planes[:] = _column(colour)
        for tone in tones:
            self._planes += _column(tone) * self._bank.pattern(self.size, self.size, self._draws)

    def paint(self, patch: Patch, colour: Colour, surface: float) -> None:
        """Lay a colour over what is there, varied by a random texture of amplitude `surface`."""
        below = self._planes[:, patch.rows, patch.columns]
        change = _column(colour) - below
        if surface > 0.0:
            height, width = patch.cover.shape
            change += surface * self._bank.pattern(height, width, self._draws)
        change *= patch.cover
        below += change

    def shade(self, across: float, down: float) -> None:
        """Light from one side: brightness rises by these fractions from edge to opposite edge."""
        ramp = np.arange(self.size, dtype=np.float32) * (1.0 / self.size) - 0.5
        self._planes *= (1.0 + across * ramp) + (down * ramp)[:, None]

    def develop(self, grain: float) -> NDArray[np.uint8]:
        """The finished image with noise of this standard deviation, uint8, (size, size, 3)."""
        noise = self._bank.grain(self.size, self.size, self._draws)
        planes = self._planes * 255.0
        planes += noise * (255.0 * grain / 0.29) + 0.5
        np.maximum(planes, 0.0, out=planes)
        np.minimum(planes, 255.0, out=planes)
        return np.ascontiguousarray(planes.astype(np.uint8).transpose(1, 2, 0))


def _column(colour: Colour) -> NDArray[np.float32]:
    return np.array(colour, dtype=np.float32)[:, None, None]
