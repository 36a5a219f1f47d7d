"""Data loading shared by the tasks: splits, batches, unreadable samples, distributed shards."""

import os
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Literal, cast

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler, default_collate

from tasks.data.images import Alteration, AlteredImages, ImageDataset, Readable, Sample
from tasks.errors import DatasetError, SettingError

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Loading:
    """How samples become batches.

    Args:
        batch_size: samples per process and step.
        workers: loading processes, or `auto`: two less than the cores of this process, at most 8.
        on_corrupt: `skip` a sample that cannot be read (counted, its path logged once), or raise
            an `error`.
        max_unreadable: share of a split that may be skipped; one sample always may.
    """

    batch_size: int
    workers: int | Literal["auto"] = "auto"
    on_corrupt: Literal["skip", "error"] = "skip"
    max_unreadable: float = 0.01

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise SettingError(f"dataset.batch_size={self.batch_size} must be at least 1.")
        if self.on_corrupt not in ("skip", "error"):
            raise SettingError(f"dataset.on_corrupt={self.on_corrupt} must be skip or error.")
        if not 0 <= self.max_unreadable <= 1:
            raise SettingError(
                f"dataset.max_unreadable={self.max_unreadable} must lie within 0 and 1: it is a "
                "share of the samples of a split."
            )

    @property
    def worker_count(self) -> int:
        """Number of loading processes."""
        if self.workers != "auto":
            return self.workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        local = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", "1")))
        # A worker beside two computing threads on two cores costs more than it brings.
        return max(0, min(8, (cores or 1) // max(1, local) - 2))


class Shard(Dataset[Sample]):
    """One process's part of an evaluation split, in which no sample is scored twice.

    All shards have the same length, so that the processes stay in step; where the split does not
    divide evenly, the missing last sample is ``{"padding": True}``, which the batch leaves out.
    """

    def __init__(self, samples: Dataset[Sample], rank: int, world: int) -> None:
        self.samples = samples
        self.rank = rank
        self.world = world
        self.total = len(cast(Sized, samples))

    def __len__(self) -> int:
        return -(-self.total // self.world)

    def __getitem__(self, index: int) -> Sample:
        """The sample of this process, or padding."""
        position = self.rank + index * self.world
        return self.samples[position] if position < self.total else {"padding": True}


def collate(
    samples: Sequence[Sample],
    together: Callable[[list[Sample]], dict[str, Any]] = default_collate,
) -> dict[str, Any]:
    """Batch the readable samples; `unreadable` lists the paths of the others.

    A batch of which nothing is left (all padding, or all unreadable) has no other entry.

    Args:
        samples: of a dataset.
        together: from the readable ones to a batch.
    """
    unreadable = [sample["unreadable"] for sample in samples if "unreadable" in sample]
    kept = [s for s in samples if "unreadable" not in s and "padding" not in s]
    batch = together(kept) if kept else {}
    batch["unreadable"] = unreadable
    return batch


class TaskData(L.LightningDataModule):
    """The splits of a dataset, whatever the task.

    A subclass defines `images(split)` and the facts below.

    Args:
        name: name of the dataset, for reports.
        loading: how samples become batches.

    Attributes:
        alteration: what is done to the images of evaluation before they are prepared, if set.
    """

    class_names: tuple[str, ...]
    test_split: Split = "test"
    alteration: Alteration | None = None

    def __init__(self, name: str, loading: Loading) -> None:
        super().__init__()
        self.name = name
        self.loading = loading
        self._cache: dict[Split, Dataset[Sample]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "TaskData":
        # A copy of a task, such as the average of its weights, works on the same data. Copied, the
        # data would take the trainer and everything that hangs on it along.
        return self

    def images(self, split: Split) -> ImageDataset:
        """The images of a split, transformed for training or evaluation."""
        raise NotImplementedError

    def dataset(self, split: Split) -> Dataset[Sample]:
        """The samples of a split; those that cannot be read are noted, or an error."""
        images = self.images(split)
        if self.alteration is not None and split != "train":
            images = AlteredImages(images, self.alteration)
        return Readable(images, self.loading.on_corrupt)

    def split(self, split: Split) -> Dataset[Sample]:
        """`dataset(split)`, made once."""
        if split not in self._cache:
            self._cache[split] = self.dataset(split)
        return self._cache[split]

    def count(self, split: Split) -> int:
        """Number of samples of a split."""
        return len(cast(Sized, self.split(split)))

    @staticmethod
    def collate(samples: Sequence[Sample]) -> dict[str, Any]:
        """Samples to a batch."""
        return collate(samples)

    def notes(self, split: Split) -> list[str]:  # noqa: ARG002 - for those who override it
        """What must be said beside the figures of a split."""
        return []

    def splits_of(self, training: bool) -> list[Split]:
        """The splits that a run reads, each once.

        Args:
            training: whether it trains; else it only tests.
        """
        needed: tuple[Split, ...] = ("train", "val") if training else ()
        return list(dict.fromkeys((*needed, self.test_split)))

    def check(self, training: bool) -> None:
        """Raise `DatasetError` if a split that a run needs (see `splits_of`) is empty."""
        for split in self.splits_of(training):
            if self.count(split) == 0:
                raise DatasetError(
                    f"The {split} split of dataset={self.name} is empty. Check dataset.root, or "
                    "run dataset=shapes."
                )

    def fit_batches(self, processes: int, given: bool) -> str | None:
        """Let no training batch be larger than what a process has to train on.

        Args:
            processes: that train together.
            given: whether the batch size was asked for; then it is not lowered, but refused.

        Returns:
            What was lowered, in words; None: nothing.

        Raises:
            SettingError: a batch size that was asked for and leaves no full batch, or a process
                without a sample.
        """
        size, count = self.loading.batch_size, self.count("train")
        most = count // processes
        if size <= most:
            return None
        shared = f" for {processes} processes" if processes > 1 else ""
        if most == 0:
            raise SettingError(
                f"dataset={self.name} has {count} training samples{shared}: set trainer.devices="
                f"{count} or less."
            )
        if given:
            raise SettingError(
                f"dataset.batch_size={size} leaves no training batch: dataset={self.name} has "
                f"{count} training samples{shared}. Set dataset.batch_size={most} or less."
            )
        self.loading = replace(self.loading, batch_size=most)
        return (
            f"dataset.batch_size is {most} instead of {size}, its default: dataset={self.name} has "
            f"{count} training samples{shared}"
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled batches of equal size; an incomplete last one is dropped."""
        samples = self.split("train")
        world = self._world()
        batches = self.train_batches(world, self._rank())
        if batches is not None:
            return self._loader(samples, batch_sampler=batches)
        sampler: DistributedSampler[Sample] | None = (
            DistributedSampler(samples, world, self._rank(), shuffle=True, drop_last=True)
            if world > 1
            else None
        )
        size = self.loading.batch_size
        alone = sampler is None
        return self._loader(
            samples, sampler=sampler, shuffle=alone, drop_last=True, batch_size=size
        )

    def train_batches(
        self,
        world: int,  # noqa: ARG002 - for those who override it
        rank: int,  # noqa: ARG002
    ) -> Sampler[list[Any]] | None:
        """Batches of training samples for one of `world` processes; None: drawn at random."""
        return None

    def evaluation_batch_count(self, split: Split, world: int) -> int:
        """Batches of a split in evaluation for each of `world` processes."""
        return ceil(ceil(self.count(split) / world) / self.loading.batch_size)

    def train_batch_count(self, world: int) -> int:
        """Batches of an epoch of training for each of `world` processes."""
        batches = self.train_batches(world, 0)
        if batches is None:
            return self.count("train") // world // self.loading.batch_size
        return len(cast(Sized, batches))

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation split in order, each sample once over all processes."""
        return self._evaluation("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """The test split in order, each sample once over all processes."""
        return self._evaluation(self.test_split)

    def _evaluation(self, split: Split) -> DataLoader[Any]:
        shard = Shard(self.split(split), self._rank(), self._world())
        return self._loader(shard, batch_size=self.loading.batch_size)

    def _loader(self, samples: Dataset[Sample], **options: Any) -> DataLoader[Any]:
        workers = self.loading.worker_count
        return DataLoader(  # each worker keeps two batches ready, torch's default
            samples,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            **{"collate_fn": self.collate, **options},
        )

    def _world(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1

    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0
