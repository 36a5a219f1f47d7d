"""The splits of a run: how many scenes of each, and what they look like."""

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.data.shapes.dataset import LevelName, ShapeScenes, Split
from tasks.errors import DatasetError


@dataclass(frozen=True)
class ShapeSplits:
    """Training, validation and test scenes of one kind, of which no two splits share any.

    Args:
        counts: number of scenes of each split.
        image_size: side of the images in pixels.
        level: `easy`, `medium` or `hard`.
        seed: of the scenes.
        objects: least and largest number of objects in a scene.

    Raises:
        DatasetError: a split is empty.
    """

    counts: Mapping[Split, int]
    image_size: int
    level: LevelName
    seed: int
    objects: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        for split, count in self.counts.items():
            if count < 1:
                raise DatasetError(
                    f"The {split} split is empty: dataset.counts.{split}={count}. Set it to 1 or "
                    "more."
                )

    def scenes(self, split: Split) -> ShapeScenes:
        """The scenes of one split."""
        return ShapeScenes(
            size=self.counts[split],
            image_size=self.image_size,
            level=self.level,
            seed=self.seed,
            split=split,
            objects=self.objects,
        )
