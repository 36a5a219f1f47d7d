"""The classification datasets that a run can choose from (group `dataset`)."""

from pathlib import Path
from typing import Any

import numpy as np

from tasks.classification.datasets import (
    ImageArray,
    ImageClasses,
    ShapeClasses,
    check_imagenet_order,
    open_class_folders,
    read_idx,
)
from tasks.classification.settings import FashionMnistSettings, FolderSettings, ShapesClassification
from tasks.classification.transforms import (
    ImageRecipe,
    eval_transform,
    train_transform,
)
from tasks.data.images import ImageDataset
from tasks.data.loaders import Loading, Split, TaskData
from tasks.data.shapes import CLASS_NAMES, LevelName, ShapeSplits
from tasks.data.transforms import Transform
from tasks.errors import DatasetError, SettingError

FASHION_CLASSES = (
    "t-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


class ClassificationData(TaskData):
    """Labelled images: what the datasets below have in common.

    Args:
        name: name of the dataset.
        loading: batches, workers, unreadable samples.
        recipe: resizing, augmentation, normalisation.
    """

    def __init__(self, name: str, loading: Loading, recipe: dict[str, Any]) -> None:
        super().__init__(name, loading)
        self.recipe = ImageRecipe(**recipe)

    def transform(self, split: Split) -> Transform:
        """Augmentation for training, the evaluation pipeline otherwise."""
        return train_transform(self.recipe) if split == "train" else eval_transform(self.recipe)


class Shapes(ClassificationData):
    """The embedded dataset: drawn on the fly, no files.

    Args:
        name: name of the dataset.
        level: `easy`, `medium` or `hard`.
        counts: number of scenes of each split.
        seed: of the scenes, independent of the training seed.
        loading: batches and workers.
        recipe: `image_size` is also the size drawn.
    """

    settings_model = ShapesClassification

    class_names = tuple(CLASS_NAMES)

    def __init__(
        self,
        name: str,
        level: LevelName,
        counts: dict[Split, int],
        seed: int,
        loading: Loading,
        recipe: dict[str, Any],
    ) -> None:
        super().__init__(name, loading, recipe)
        self.splits = ShapeSplits(counts, self.recipe.image_size, level, seed)

    def images(self, split: Split) -> ImageDataset:
        """Scenes of one split; the splits share none."""
        return ShapeClasses(self.splits.scenes(split), self.transform(split))


class Folders(ClassificationData):
    """Any folder of class folders, with `train/` and `val/` (and `test/`, if there is one).

    Args:
        name: name of the dataset.
        root: the folder that holds the splits.
        loading: batches, workers, unreadable samples.
        recipe: resizing, augmentation, normalisation.
    """

    settings_model = FolderSettings

    tree = (
        "<dataset.root>/\n  train/<class>/*.jpg\n  val/<class>/*.jpg\n"
        "  test/<class>/*.jpg   (if missing, val is tested)"
    )

    def __init__(self, name: str, root: str, loading: Loading, recipe: dict[str, Any]) -> None:
        super().__init__(name, loading, recipe)
        self.root = Path(root).expanduser()
        self._val = open_class_folders(self.root, ("val", "valid", "validation"), self.tree)
        self.class_names = tuple(self._val.classes)
        self.test_split = "test" if (self.root / "test").is_dir() else "val"

    def images(self, split: Split) -> ImageDataset:
        """The files of one split, whose classes must be those of `val`."""
        in_val = split == "val"
        files = self._val if in_val else open_class_folders(self.root, (split,), self.tree)
        if tuple(files.classes) != self.class_names:
            differing = sorted(set(files.classes) ^ set(self.class_names))
            raise DatasetError(
                f"{files.root} and {self._val.root} hold different classes: {differing[:6]}. Every "
                f"split needs the same class folders. Expected tree:\n{self.tree}"
            )
        return ImageClasses(files, self.transform(split))


class ImageNet(Folders):
    """ImageNet-1k in class folders named by synset, label order checked against timm's list."""

    tree = (
        "<dataset.root>/\n  train/n01440764/*.JPEG ... 1000 folders\n"
        "  val/n01440764/*.JPEG   ... 1000 folders"
    )

    def __init__(self, name: str, root: str, loading: Loading, recipe: dict[str, Any]) -> None:
        super().__init__(name, root, loading, recipe)
        check_imagenet_order(self._val, self.tree)


class FashionMnist(ClassificationData):
    """Fashion-MNIST (arXiv 1708.07747) from its idx files, gzipped or not.

    Args:
        name: name of the dataset.
        root: the folder that holds the four files.
        val_count: training images kept apart for validation, chosen by `split_seed`.
        split_seed: of that choice.
        loading: batches and workers.
        recipe: resizing, augmentation, normalisation.
    """

    settings_model = FashionMnistSettings

    class_names = FASHION_CLASSES

    def __init__(
        self,
        name: str,
        root: str,
        val_count: int,
        split_seed: int,
        loading: Loading,
        recipe: dict[str, Any],
    ) -> None:
        super().__init__(name, loading, recipe)
        self.root = Path(root).expanduser()
        self.val_count = val_count
        self.split_seed = split_seed
        self._arrays = {part: self._read(part) for part in ("train", "t10k")}
        if not 0 < val_count < len(self._arrays["train"][0]):
            raise SettingError(
                f"dataset.val_count={val_count} must lie between 1 and the "
                f"{len(self._arrays['train'][0])} training images."
            )

    def images(self, split: Split) -> ImageDataset:
        """The official test split; train and val share the official training split."""
        images, labels = self._arrays["t10k" if split == "test" else "train"]
        if split == "test":
            return ImageArray(images, labels, self.transform(split))
        order = np.random.default_rng(self.split_seed).permutation(len(images))
        chosen = order[: self.val_count] if split == "val" else order[self.val_count :]
        return ImageArray(images[chosen], labels[chosen], self.transform(split), chosen)

    def _read(self, part: str) -> tuple[Any, Any]:
        images = read_idx(self.root, f"{part}-images-idx3-ubyte")
        labels = read_idx(self.root, f"{part}-labels-idx1-ubyte")
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DatasetError(
                f"The {part} files in {self.root} do not belong together: images of shape "
                f"{images.shape}, labels of shape {labels.shape}. Fetch both again."
            )
        if labels.size and labels.max() >= len(self.class_names):
            raise DatasetError(
                f"The {part} labels in {self.root} reach {labels.max()}, but there are "
                f"{len(self.class_names)} classes: these are not Fashion-MNIST's files."
            )
        return images, labels.astype(np.int64)
