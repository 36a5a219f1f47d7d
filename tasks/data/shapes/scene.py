"""A scene: one labelled image, composed back to front."""

from dataclasses import dataclass
from math import pi, radians

import numpy as np
from numpy.typing import NDArray

from tasks.data.shapes.canvas import Canvas, Colour, Pose, rasterise
from tasks.data.shapes.draws import Draws
from tasks.data.shapes.forms import CLASS_FORMS, CLASS_NAMES, FRAGMENTS, OCCLUDERS
from tasks.data.shapes.level import Level
from tasks.data.shapes.texture import texture_bank

Mask = NDArray[np.bool_]

_PLACE_TRIES = 12
_OCCLUDER_TRIES = 6
_OVERLAP_CHANCE = 0.35


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One object of a scene, as far as it can be seen.

    Attributes:
        label: Class index, 0 .. 9.
        box: x0, y0, x1, y1 in pixels around the visible part; pixel i spans i to i + 1, so the
            width of the box is the number of columns it holds.
        mask: The visible part, bool, (image_size, image_size).
    """

    label: int
    box: tuple[float, float, float, float]
    mask: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An image and everything that is known about it.

    Attributes:
        image: RGB, uint8, (image_size, image_size, 3).
        label: Class of the main object, 0 .. 9.
        mask: Per pixel 0 for background, clutter and occluders, else class index + 1; uint8,
            (image_size, image_size).
        instances: The objects, the main one first.
    """

    image: NDArray[np.uint8]
    label: int
    mask: NDArray[np.uint8]
    instances: tuple[Instance, ...]


def compose(
    label: int, image_size: int, level: Level, objects: tuple[int, int], draws: Draws
) -> Scene:
    """Compose a scene whose main object has this class.

    Args:
        label: Class of the main object.
        image_size: Side of the image in pixels.
        level: Ranges to draw from.
        objects: Least and largest number of objects. A crowded image may end with fewer than
            drawn: an object that finds no place without hiding another is left out.
        draws: Source of all chance.
    """
    composer = _Composer(image_size, level, draws)
    composer.lay_background()
    for _ in range(draws.within(level.clutter)):
        composer.add_fragment()
    count = draws.within(objects)
    composer.add_object(label, count)
    for _ in range(count - 1):
        composer.add_object(draws.below(len(CLASS_NAMES)), count)
    for _ in range(draws.within(level.occluders)):
        composer.add_occluder()
    return composer.finish()


class _Composer:
    """The state of a scene while it is composed."""

    def __init__(self, size: int, level: Level, draws: Draws) -> None:
        self._size = size
        self._level = level
        self._draws = draws
        self._canvas = Canvas(size, texture_bank(size), draws)
        self._ground = draws.between(0.2, 0.8)
        self._labels: list[int] = []
        self._visible: list[Mask] = []
        self._areas: list[int] = []

    def lay_background(self) -> None:
        tones = (self._tone(), self._tone()) if self._level.background > 0.0 else ()
        self._canvas.fill(self._colour(self._ground), tones)

    def add_fragment(self) -> None:
        """Something of no class, behind the objects."""
        draws = self._draws
        pose = Pose(draws.unit(), draws.unit(), draws.between(0.06, 0.16), draws.between(-pi, pi))
        form = FRAGMENTS[draws.below(len(FRAGMENTS))]
        patch = rasterise(form, pose, self._size)
        self._canvas.paint(patch, self._colour(self._apart()), self._level.surface)

    def add_object(self, label: int, crowd: int) -> None:
        """An object of a class in front of what is there, where it hides no other too much."""
        form = CLASS_FORMS[CLASS_NAMES[label]]
        touching = self._draws.chance(_OVERLAP_CHANCE)
        # Objects in company are smaller, and shrink further while they find no place.
        scale = crowd**-0.4
        for _ in range(_PLACE_TRIES):
            patch = rasterise(form, self._pose(scale), self._size)
            mask = patch.mask(self._size)
            if self._leaves_visible(mask, touching):
                self._cover(mask)
                self._labels.append(label)
                self._visible.append(mask)
                self._areas.append(int(np.count_nonzero(mask)))
                self._canvas.paint(patch, self._colour(self._apart()), self._level.surface)
                return
            scale *= 0.93

    def add_occluder(self) -> None:
        """A bar or blob in front of the main object, which leaves enough of every object."""
        draws, main = self._draws, self._boxes()[0]
        for _ in range(_OCCLUDER_TRIES):
            x = draws.between(main[0], main[2]) / self._size
            y = draws.between(main[1], main[3]) / self._size
            pose = Pose(x, y, draws.between(0.10, 0.30), draws.between(-pi, pi))
            patch = rasterise(OCCLUDERS[draws.below(len(OCCLUDERS))], pose, self._size)
            mask = patch.mask(self._size)
            if self._leaves_visible(mask, touching=True):
                self._cover(mask)
                self._canvas.paint(patch, self._colour(self._apart()), self._level.surface)
                return

    def finish(self) -> Scene:
        light = self._level.light
        if light > 0.0:
            self._canvas.shade(
                self._draws.between(-light, light), self._draws.between(-light, light)
            )
        labelled = np.zeros((self._size, self._size), dtype=np.uint8)
        for label, mask in zip(self._labels, self._visible, strict=True):
            labelled[mask] = label + 1
        instances = tuple(map(Instance, self._labels, self._boxes(), self._visible))
        return Scene(self._canvas.develop(self._level.grain), self._labels[0], labelled, instances)

    def _pose(self, scale: float) -> Pose:
        draws, level = self._draws, self._level
        radius = scale * draws.between(*level.radius)
        edge = min(level.margin * radius, 0.5)
        turn = radians(level.rotation)
        return Pose(
            x=draws.between(edge, 1.0 - edge),
            y=draws.between(edge, 1.0 - edge),
            radius=radius,
            angle=draws.between(-turn, turn),
            stretch=1.0 + draws.between(-level.stretch, level.stretch) / 2.0,
        )

    def _leaves_visible(self, mask: Mask, touching: bool) -> bool:
        """Whether everything drawn so far stays visible enough under a new mask."""
        for visible, area in zip(self._visible, self._areas, strict=True):
            left = np.count_nonzero(visible & ~mask)
            if left < self._level.visible * area:
                return False
            if not touching and left < np.count_nonzero(visible):
                return False
        return bool(mask.any())

    def _cover(self, mask: Mask) -> None:
        self._visible = [visible & ~mask for visible in self._visible]

    def _boxes(self) -> list[tuple[float, float, float, float]]:
        return [_box(mask) for mask in self._visible]

    def _apart(self) -> float:
        """A luminance that differs from the background's by the level's contrast."""
        step = self._draws.between(*self._level.contrast)
        lighter, darker = self._ground + step, self._ground - step
        if lighter > 0.95:
            return darker
        if darker < 0.05:
            return lighter
        return lighter if self._draws.chance(0.5) else darker

    def _colour(self, luminance: float) -> Colour:
        """A colour of this luminance: the tints of the three channels cancel out."""
        tint = self._level.tint
        red, blue = self._draws.between(-tint, tint), self._draws.between(-tint, tint)
        return luminance + red, luminance - (red + blue) / 2.0, luminance + blue

    def _tone(self) -> Colour:
        """What a texture adds to the background where it is strongest."""
        amplitude = self._level.background
        red, green, blue = self._colour(1.0)
        return amplitude * red, amplitude * green, amplitude * blue


def _box(mask: Mask) -> tuple[float, float, float, float]:
    """The box around a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
