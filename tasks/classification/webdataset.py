"""The dataset `webdataset`: images streamed from tar shards, local or far away."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from timm.data import ImageNetInfo
from torch.utils.data import DataLoader

from tasks.classification.data import ClassificationData
from tasks.classification.settings import WebShardsSettings
from tasks.classification.shards import LAYOUT, TarShard, find_shards
from tasks.classification.streams import ShardSamples, read_shard
from tasks.data.images import ImageDataset
from tasks.data.loaders import Loading, Split
from tasks.data.sequential import BlockBatches
from tasks.errors import DatasetError, SettingError

IMAGENET = "imagenet"
"""The setting `classes` of ImageNet's thousand."""


class WebShards(ClassificationData):
    """Tar shards as the webdataset project writes them: `<key>.jpg` beside `<key>.cls`.

    Args:
        name: name of the dataset.
        root: a folder of shards, or the beginning of their URLs.
        splits: patterns of the shards of `train`, `val` and perhaps `test` (see `find_shards`).
        classes: `imagenet`, or a file with the name of each class, one a line.
        shuffle: samples of training held by each worker, of which the next one is drawn.
        loading: batches, workers, unreadable samples.
        recipe: resizing, augmentation, normalisation.
    """

    settings_model = WebShardsSettings

    def __init__(
        self,
        name: str,
        root: str,
        splits: Mapping[Literal["train", "val", "test"], str | None],
        classes: str,
        shuffle: int,
        loading: Loading,
        recipe: dict[str, Any],
    ) -> None:
        super().__init__(name, loading, recipe)
        if shuffle < 1:
            raise SettingError(f"dataset.shuffle={shuffle} must be at least 1 (1: in order).")
        self.root = root
        self.splits = splits
        self.class_names = class_names(classes)
        self.shuffle = shuffle
        self.test_split = "test" if splits.get("test") else "val"

    def dataset(self, split: Split) -> ShardSamples:
        """The samples of a split, to be read by blocks."""
        training = split == "train"
        return ShardSamples(
            find_shards(self.root, self.splits.get(split)),
            len(self.class_names),
            self.transform(split),
            self.loading.on_corrupt,
            None if training else self.alteration,
            self.shuffle if training else 0,
            torch.initial_seed() % 2**31,  # the same in all processes of a run
        )

    def images(self, split: Split) -> ImageDataset:  # noqa: ARG002 - of no split
        """Shards are only read forwards.

        Raises:
            SettingError: always.
        """
        raise SettingError(
            f"dataset={self.name} is only read forwards, but this mode picks single images. "
            "Unpack the shards into class folders, and choose dataset=imagenet or "
            "dataset=imagefolder."
        )

    def check(self, training: bool) -> None:
        """Raise `DatasetError` if shards are missing or empty, or begin with a wrong sample."""
        super().check(training)
        for split in self.splits_of(training):
            shard = next(shard for shard in self._shards(split) if shard.samples)
            for record in islice(read_shard(shard, len(self.class_names)), 1):
                if record.fault:
                    raise DatasetError(
                        f"{record.name} cannot be used: {record.fault}. Expected:\n{LAYOUT}"
                    )

    def train_batches(self, world: int, rank: int) -> BlockBatches:
        """Batches of stretches of the shards, in another order every epoch."""
        return self._batches("train", world, rank)

    def _evaluation(self, split: Split) -> DataLoader[Any]:
        batches = self._batches(split, self._world(), self._rank())
        return self._loader(self.split(split), batch_sampler=batches)

    def _batches(self, split: Split, world: int, rank: int) -> BlockBatches:
        size, workers = self.loading.batch_size, self.loading.worker_count
        return BlockBatches(self.count(split), size, world, rank, workers, split == "train")

    def _shards(self, split: Split) -> list[TarShard]:
        samples = self.split(split)
        assert isinstance(samples, ShardSamples)
        return list(samples.shards)


def class_names(classes: str) -> tuple[str, ...]:
    """The classes in the order of their numbers (see `WebShards`).

    Raises:
        SettingError: the file cannot be read, or is empty.
    """
    if classes == IMAGENET:
        return tuple(ImageNetInfo().label_names())
    try:
        names = Path(classes).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(
            f"dataset.classes={classes} cannot be read ({error}). Set dataset.classes=imagenet, or "
            "a file with the name of each class, one a line."
        ) from error
    kept = tuple(name.strip() for name in names if name.strip())
    if not kept:
        raise SettingError(f"dataset.classes={classes} names no class; write one a line.")
    return kept
