"""How many samples of a split may be unreadable before a run is stopped."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from tasks.data.loaders import Loading, Split, TaskData
from tasks.engine.gathering import gather_lists
from tasks.errors import DatasetError


def check_readable(
    unreadable: Collection[str], total: int, what: str, loading: Loading, need_some: bool = True
) -> None:
    """Raise if too many samples cannot be read.

    One sample is always left out without an error, however small the set.

    Args:
        unreadable: paths of the samples that could not be read.
        total: number of all samples, readable or not.
        what: names the set, such as ``the val split of dataset=voc``.
        loading: holds the limit, `max_unreadable`.
        need_some: a set of which nothing can be read is an error whatever the limit.

    Raises:
        DatasetError: more than the limit, or nothing is left.
    """
    count, share = len(unreadable), loading.max_unreadable
    nothing_left = count >= total and (need_some or share < 1)
    if not count or (count <= max(1, share * total) and not nothing_left):
        return
    found = f"{count} of {total} samples of {what} cannot be read"
    if nothing_left:
        way_out = "" if need_some else ", or set dataset.max_unreadable=1 to go on without this set"
        raise DatasetError(
            f"{found}, the first is {min(unreadable)}: nothing is left. Check dataset.root and the "
            f"permissions of the files{way_out}."
        )
    raise DatasetError(
        f"{found} ({count / total:.1%}; at most dataset.max_unreadable={share:g} of them may be "
        f"left out), the first is {min(unreadable)}. Replace or remove these files, or raise "
        "dataset.max_unreadable."
    )


class UnreadableLimit(Callback):
    """Stops a run of which too many samples cannot be read.

    A single process stops as soon as the limit is passed; several ones count together, at the end
    of each epoch, so that all of them stop at the same place.

    Args:
        data: the splits.
    """

    def __init__(self, data: TaskData) -> None:
        self._data = data
        self._found: dict[Split, set[str]] = defaultdict(set)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        """Note what could not be read."""
        self._note("train", trainer, batch)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        """Note what could not be read."""
        self._note("val", trainer, batch)

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        """Note what could not be read."""
        self._note(self._data.test_split, trainer, batch)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count over all processes."""
        self._check("train", gather_lists([*self._found["train"]]))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count over all processes, before the split is scored."""
        self._check("val", gather_lists([*self._found["val"]]))

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count over all processes, before the split is scored."""
        split = self._data.test_split
        self._check(split, gather_lists([*self._found[split]]))

    def _note(self, split: Split, trainer: L.Trainer, batch: dict[str, Any]) -> None:
        if batch["unreadable"]:
            self._found[split].update(batch["unreadable"])
            if trainer.world_size == 1:
                self._check(split, self._found[split])

    def _check(self, split: Split, unreadable: Collection[str]) -> None:
        what = f"the {split} split of dataset={self._data.name}"
        check_readable(set(unreadable), self._data.count(split), what, self._data.loading)
