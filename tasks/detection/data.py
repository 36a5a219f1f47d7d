"""The detection datasets that a run can choose from (group `dataset`)."""

import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler

from tasks.data.images import ImageDataset, Sample
from tasks.data.loaders import Loading, Split, TaskData, collate
from tasks.data.shapes import CLASS_NAMES, LevelName, ShapeSplits
from tasks.detection.annotations.reading import (
    Annotations,
    ImageRecord,
    image_truth,
    read_annotations,
)
from tasks.detection.batches import ShapeBatches, as_batch, as_scenes
from tasks.detection.datasets import AnnotatedImages, ShapeObjects, scene_truth
from tasks.detection.network.settings import Kind, published
from tasks.detection.records import ImageTruth
from tasks.detection.settings import CocoSettings, ShapesDetection
from tasks.detection.transforms import DetRecipe, EvalTransform, TrainTransform
from tasks.errors import DatasetError
from tasks.reporting.palette import Palette, generic_palette

logger = logging.getLogger(__name__)
_NAMED = 4


class DetectionData(TaskData):
    """Images with objects: what the datasets below have in common.

    Args:
        name: name of the dataset.
        loading: batches, workers, unreadable samples.
        recipe: resizing, augmentation, normalisation.
        detector: says whether masks are needed.

    Attributes:
        category_ids: number of each class in COCO's files.
        masks: whether objects have masks.
    """

    category_ids: tuple[int, ...]

    def __init__(self, name: str, loading: Loading, recipe: dict[str, Any], detector: Kind) -> None:
        super().__init__(name, loading)
        self.recipe = DetRecipe(**recipe)
        self.masks = published(detector).masks

    @property
    def palette(self) -> Palette:
        """(classes, 3), RGB, for images."""
        return generic_palette(len(self.class_names) + 1)[1:]

    def truths(self, split: Split) -> list[ImageTruth]:
        """The objects of every image of a split, in its order."""
        raise NotImplementedError

    def transform(self, split: Split) -> TrainTransform | EvalTransform:
        """Augmentation for training, the evaluation pipeline otherwise."""
        return TrainTransform(self.recipe) if split == "train" else EvalTransform(self.recipe)

    @staticmethod
    def collate(samples: Sequence[Sample]) -> dict[str, Any]:
        """Batch training samples, padded to one size; evaluation's stay a list under `scenes`."""
        viewed = any("view" in sample for sample in samples)
        return collate(samples, as_scenes if viewed else as_batch)


class Shapes(DetectionData):
    """The embedded dataset: drawn on the fly, no files.

    Args:
        name: name of the dataset.
        level: `easy`, `medium` or `hard`.
        counts: number of scenes of each split.
        side: of the images in pixels.
        objects: least and largest number of objects in a scene.
        seed: of the scenes, independent of the training seed.
        loading: batches and workers.
        recipe: resizing and augmentation.
        detector: says whether masks are needed.
    """

    settings_model = ShapesDetection

    class_names = CLASS_NAMES
    category_ids = tuple(range(1, len(CLASS_NAMES) + 1))

    def __init__(
        self,
        name: str,
        level: LevelName,
        counts: dict[Split, int],
        side: int,
        objects: tuple[int, int],
        seed: int,
        loading: Loading,
        recipe: dict[str, Any],
        detector: Kind,
    ) -> None:
        super().__init__(name, loading, recipe, detector)
        self.splits = ShapeSplits(counts, side, level, seed, (objects[0], objects[1]))

    def images(self, split: Split) -> ImageDataset:
        """Scenes of one split; the splits share none."""
        return ShapeObjects(self.splits.scenes(split), self.transform(split), self.masks)

    def truths(self, split: Split) -> list[ImageTruth]:
        """The objects of every scene of a split; the number of an image is its index."""
        scenes = self.splits.scenes(split)
        return [scene_truth(scene, i, self.masks) for i, scene in enumerate(scenes)]


class Coco(DetectionData):
    """Images in folders with COCO's annotation files (arXiv 1405.0312), of any classes.

    Args:
        name: name of the dataset.
        root: the folder that holds all.
        splits: per split the folder of `images` and the file of `annotations` relative to `root`;
            where the test split has no file, the validation split is tested.
        keep_empty: train on images without objects too.
        loading: batches, workers, unreadable samples.
        recipe: resizing, augmentation, normalisation.
        detector: says whether masks are needed.
    """

    settings_model = CocoSettings

    def __init__(
        self,
        name: str,
        root: str,
        splits: Mapping[Split, Mapping[str, str]],
        keep_empty: bool,
        loading: Loading,
        recipe: dict[str, Any],
        detector: Kind,
    ) -> None:
        super().__init__(name, loading, recipe, detector)
        self.root = Path(root).expanduser()
        self.places = splits
        self.keep_empty = keep_empty
        self._read: dict[Split, Annotations] = {}
        has_test = "test" in splits and (self.root / splits["test"]["annotations"]).is_file()
        self.test_split = "test" if has_test else "val"

    @cached_property
    def class_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """As the annotations of the tested split name them."""
        return self.annotations(self.test_split).class_names

    @cached_property
    def category_ids(self) -> tuple[int, ...]:  # type: ignore[override]
        """As in the annotations of the tested split."""
        return self.annotations(self.test_split).category_ids

    def annotations(self, split: Split) -> Annotations:
        """The annotations of a split, read and checked once."""
        if split not in self._read:
            path = self._place(split, "annotations")
            names = None if split == self.test_split else self.class_names
            self._read[split] = read_annotations(path, names, self.masks)
            for fault in self._read[split].faults:
                note = fault.in_training if split == "train" else fault.in_evaluation
                logger.warning("%s: %s", path, note)
        return self._read[split]

    def notes(self, split: Split) -> list[str]:
        """Also which of the annotated objects no detection can fit."""
        name = Path(self.places[split]["annotations"]).name
        faults = self.annotations(split).faults
        return [f"{name}: {fault.in_evaluation}" for fault in faults]

    def records(self, split: Split) -> list[ImageRecord]:
        """The images of a split that are used."""
        records = self.annotations(split).images
        if split != "train" or self.keep_empty:
            return list(records)
        return [r for r in records if any(instance.trained for instance in r.instances)]

    def images(self, split: Split) -> ImageDataset:
        """The images of a split."""
        folder = self._place(split, "images")
        return AnnotatedImages(self.records(split), folder, self.transform(split), self.masks)

    def truths(self, split: Split) -> list[ImageTruth]:
        """The objects of every image of a split."""
        return [image_truth(record, self.masks) for record in self.records(split)]

    def train_batches(self, world: int, rank: int) -> Sampler[list[int]]:
        """Batches of wide or of tall images."""
        wide = [record.width >= record.height for record in self.records("train")]
        seed = torch.initial_seed() % 2**31  # the same in all processes of a run
        return ShapeBatches(wide, self.loading.batch_size, world, rank, seed)

    def check(self, training: bool) -> None:
        """Also look for every image that the run needs, and for an object to score."""
        super().check(training)
        for split in self.splits_of(training):
            instances = [one for record in self.records(split) for one in record.instances]
            if not any(i.trained if split == "train" else not i.crowd for i in instances):
                raise DatasetError(
                    f"{self._place(split, 'annotations')} holds no object, or crowds alone: no "
                    f"figure can be computed. Annotate the {split} split, or name another file "
                    f"with dataset.splits.{split}.annotations=..."
                )
            _check_files(self._place(split, "images"), self.records(split))

    def _place(self, split: Split, kind: str) -> Path:
        path = self.root / self.places[split][kind]
        if not path.exists():
            tree = "\n".join(
                f"  {place['images']}/   {place['annotations']}   ({name})"
                for name, place in self.places.items()
            )
            raise DatasetError(
                f"Looked for {path}, which does not exist. Expected tree:\n<dataset.root>/\n{tree}"
                "\n(without a test split, val is tested). Set dataset.root to that folder, or the "
                f"places with dataset.splits.{split}.{kind}=..., or run dataset=shapes, which "
                "needs no files."
            )
        return path


def _check_files(folder: Path, records: Sequence[ImageRecord]) -> None:
    """Raise `DatasetError` if an image is not there; one listing per folder, no look at files."""
    wanted: dict[Path, list[str]] = defaultdict(list)
    for record in records:
        path = folder / record.file_name
        wanted[path.parent].append(path.name)
    lost = []
    for parent, names in wanted.items():
        there = {entry.name for entry in os.scandir(parent)} if parent.is_dir() else set()
        lost += [str(parent / name) for name in names if name not in there]
    if lost:
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        raise DatasetError(
            f"{len(lost)} of {len(records)} annotated images are not there: "
            f"{', '.join(lost[:_NAMED])}{more}. Add them, take them out of the annotations, or "
            "name their folder with dataset.splits.<split>.images=..."
        )
