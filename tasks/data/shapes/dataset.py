"""The dataset: a sequence of scenes, each made when it is asked for."""

from collections.abc import Iterator
from operator import index as as_index
from typing import Final, Literal, get_args

from tasks.data.shapes.draws import Draws
from tasks.data.shapes.forms import CLASS_NAMES
from tasks.data.shapes.level import level_of
from tasks.data.shapes.scene import Scene, compose
from tasks.errors import SettingError

LevelName = Literal["easy", "medium", "hard"]
Split = Literal["train", "val", "test"]
SPLITS: Final[tuple[str, ...]] = get_args(Split)
SMALLEST_IMAGE: Final = 16


class ShapeScenes:
    """Scenes of ten classes of shapes, drawn on the fly.

    A scene depends on (seed, split, index) and on the settings of the image alone: not on order,
    worker, process or platform. The main object's class is `index % 10`, so every run of ten
    scenes holds each class once. The same index shows the same object in the same place at every
    image size.

    Args:
        size: Number of scenes.
        image_size: Side of the square images in pixels, at least 16.
        level: How hard the scenes are.
        seed: Non-negative; another seed gives other scenes.
        split: Splits of one seed are independent streams and share no scene.
        objects: Least and largest number of objects in a scene.

    Raises:
        SettingError: A setting outside these ranges.
    """

    class_names: tuple[str, ...] = CLASS_NAMES

    def __init__(
        self,
        size: int,
        image_size: int = 48,
        level: LevelName = "medium",
        seed: int = 0,
        split: Split = "train",
        objects: tuple[int, int] = (1, 1),
    ) -> None:
        _check(size, image_size, seed, split, objects)
        self._level = level_of(level)
        self.size = size
        self.image_size = image_size
        self.level = level
        self.seed = seed
        self.split = split
        self.objects = (objects[0], objects[1])

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Scene:
        at = as_index(index)
        at = at + self.size if at < 0 else at
        if not 0 <= at < self.size:
            raise IndexError(f"scene {index} of {self.size}")
        draws = Draws(self.seed, SPLITS.index(self.split), at)
        return compose(self.label(at), self.image_size, self._level, self.objects, draws)

    def label(self, index: int) -> int:
        """Class of the main object of a scene, without drawing it."""
        return index % len(CLASS_NAMES)

    def __iter__(self) -> Iterator[Scene]:
        return (self[index] for index in range(self.size))


def _check(size: int, image_size: int, seed: int, split: str, objects: tuple[int, int]) -> None:
    for name, value in (("size", size), ("image_size", image_size), ("seed", seed)):
        if not isinstance(value, int):
            raise SettingError(f"{name}={value!r} of the dataset shapes: expected a whole number")
    if size < 1:
        raise SettingError(f"a dataset of {size} scenes: set its size to 1 or more")
    if image_size < SMALLEST_IMAGE:
        raise SettingError(
            f"images of {image_size} pixels are too small for shapes: "
            f"set dataset.image_size to {SMALLEST_IMAGE} or more"
        )
    if seed < 0:
        raise SettingError(f"the seed {seed} is negative: set it to 0 or more")
    if split not in SPLITS:
        raise SettingError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    if len(objects) != 2 or not 1 <= objects[0] <= objects[1]:
        raise SettingError(
            f"objects={tuple(objects)} is no range: expected (least, largest) with least >= 1"
        )
