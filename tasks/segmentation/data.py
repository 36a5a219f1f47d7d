"""The segmentation datasets that a run can choose from (group `dataset`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch.utils.data import default_collate

from tasks.data.images import ImageDataset, Sample
from tasks.data.loaders import Loading, Split, TaskData, collate
from tasks.data.shapes import CLASS_NAMES, LevelName, ShapeSplits
from tasks.errors import DatasetError
from tasks.reporting.palette import Palette, generic_palette
from tasks.segmentation.datasets import PairScenes, SceneTransform, ShapeMasks
from tasks.segmentation.masks import Labels, Pair, check_pairs
from tasks.segmentation.openmmlab import ADE20K, VOC
from tasks.segmentation.pairs import class_names, folder_pairs, listed_pairs
from tasks.segmentation.settings import MaskFolderSettings, ShapesSegmentation
from tasks.segmentation.transforms import EvalTransform, SegRecipe, TrainTransform


class SegmentationData(TaskData):
    """Images with a label per pixel: what the datasets below have in common.

    Args:
        name: name of the dataset.
        loading: batches, workers, unreadable samples.
        recipe: resizing, augmentation, normalisation.

    Attributes:
        palette: (classes, 3), RGB, for images.
    """

    palette: Palette

    def __init__(self, name: str, loading: Loading, recipe: dict[str, Any]) -> None:
        super().__init__(name, loading)
        self.recipe = SegRecipe(**recipe)

    def transform(self, split: Split) -> SceneTransform:
        """Augmentation for training, the evaluation pipeline otherwise."""
        return TrainTransform(self.recipe) if split == "train" else EvalTransform(self.recipe)

    @staticmethod
    def collate(samples: Sequence[Sample]) -> dict[str, Any]:
        """Batch training samples; evaluation's, of many sizes, stay a list under `scenes`."""
        return collate(samples, _as_scenes if _has_views(samples) else _as_crops)


class Shapes(SegmentationData):
    """The embedded dataset: drawn on the fly, no files.

    Args:
        name: name of the dataset.
        level: `easy`, `medium` or `hard`.
        counts: number of scenes of each split.
        objects: least and largest number of objects in a scene.
        seed: of the scenes, independent of the training seed.
        loading: batches and workers.
        recipe: `image_size` is also the size drawn.
    """

    settings_model = ShapesSegmentation

    class_names = ("background", *CLASS_NAMES)

    def __init__(
        self,
        name: str,
        level: LevelName,
        counts: dict[Split, int],
        objects: tuple[int, int],
        seed: int,
        loading: Loading,
        recipe: dict[str, Any],
    ) -> None:
        super().__init__(name, loading, recipe)
        self.palette = generic_palette(len(self.class_names))
        self.splits = ShapeSplits(
            counts, self.recipe.image_size, level, seed, (objects[0], objects[1])
        )

    def images(self, split: Split) -> ImageDataset:
        """Scenes of one split; the splits share none."""
        return ShapeMasks(self.splits.scenes(split), self.transform(split))


class Folders(SegmentationData):
    """Any pair of folders of images and index masks, with a file that names the classes.

    Args:
        name: name of the dataset.
        root: the folder that holds all.
        classes: file with a class name per line, relative to `root`.
        ignore_zero: index 0 is no class, and index i is class i - 1.
        loading: batches, workers, unreadable samples.
        recipe: resizing, augmentation, normalisation.
    """

    settings_model = MaskFolderSettings

    tree: ClassVar[str] = (
        "<dataset.root>/\n  images/train/*.jpg  images/val/*.jpg\n"
        "  masks/train/*.png   masks/val/*.png    (same names, one class index per pixel)\n"
        "  images/test, masks/test   (if missing, val is tested)\n"
        "  classes.txt               (one name per line)"
    )

    def __init__(
        self,
        name: str,
        root: str,
        classes: str | None,
        ignore_zero: bool,
        loading: Loading,
        recipe: dict[str, Any],
    ) -> None:
        super().__init__(name, loading, recipe)
        self.root = Path(root).expanduser()
        self.class_names, self.palette = self._classes(classes)
        self.labels = Labels(len(self.class_names), ignore_zero)
        self.test_split = self._test_split()

    def pairs(self, split: Split) -> list[Pair]:
        """The files of one split."""
        return folder_pairs(self.root / "images" / split, self.root / "masks" / split, self.tree)

    def images(self, split: Split) -> ImageDataset:
        """The pairs of one split."""
        return PairScenes(self.pairs(split), self.labels, self.transform(split))

    def check(self, training: bool) -> None:
        """Also look into the files of every split that the run needs."""
        super().check(training)
        for split in self.splits_of(training):
            check_pairs(self.pairs(split), self.labels)

    def _classes(self, classes: str | None) -> tuple[tuple[str, ...], Palette]:
        if not self.root.is_dir():
            raise DatasetError(
                f"dataset.root={self.root} does not exist. Expected tree:\n{self.tree}\nSet "
                "dataset.root to that folder, or run dataset=shapes, which needs no files."
            )
        names = class_names(self.root / (classes or "classes.txt"))
        return names, generic_palette(len(names))

    def _test_split(self) -> Split:
        return "test" if (self.root / "images" / "test").is_dir() else "val"


class Ade20k(Folders):
    """ADE20K's scene-parsing benchmark, ADEChallengeData2016 (arXiv 1608.05442)."""

    tree = (
        "<dataset.root>/   (ADEChallengeData2016)\n"
        "  images/training/*.jpg       images/validation/*.jpg\n"
        "  annotations/training/*.png  annotations/validation/*.png"
    )

    def pairs(self, split: Split) -> list[Pair]:
        """The official training split, and the validation split for `val` and `test`."""
        folder = "training" if split == "train" else "validation"
        return folder_pairs(
            self.root / "images" / folder, self.root / "annotations" / folder, self.tree
        )

    def _classes(self, classes: str | None) -> tuple[tuple[str, ...], Palette]:
        return _listed_in(ADE20K) if classes is None else super()._classes(classes)

    def _test_split(self) -> Split:
        return "val"


class Voc(Folders):
    """Pascal VOC 2012, 20 classes and the background."""

    tree = (
        "<dataset.root>/   (VOCdevkit/VOC2012)\n  JPEGImages/*.jpg  SegmentationClass/*.png\n"
        "  ImageSets/Segmentation/train.txt  val.txt"
    )

    def pairs(self, split: Split) -> list[Pair]:
        """The images that the official lists name; `val` is tested too."""
        listing = "train" if split == "train" else "val"
        return listed_pairs(
            self.root / "ImageSets" / "Segmentation" / f"{listing}.txt",
            self.root / "JPEGImages",
            self.root / "SegmentationClass",
            self.tree,
        )

    def _classes(self, classes: str | None) -> tuple[tuple[str, ...], Palette]:
        return _listed_in(VOC) if classes is None else super()._classes(classes)

    def _test_split(self) -> Split:
        return "val"


def _listed_in(metainfo: Any) -> tuple[tuple[str, ...], Palette]:
    names = tuple(name.strip() for name in metainfo["classes"])
    return names, np.array(metainfo["palette"], np.uint8)


def _has_views(samples: Sequence[Sample]) -> bool:
    return any("views" in sample for sample in samples)


def _as_crops(samples: list[Sample]) -> dict[str, Any]:
    """Stacked, with the sizes of the images in the padded squares as plain numbers."""
    batch: dict[str, Any] = default_collate([{**s, "size": 0} for s in samples])
    return {**batch, "size": [sample["size"] for sample in samples]}


def _as_scenes(samples: list[Sample]) -> dict[str, Any]:
    return {"scenes": samples}
