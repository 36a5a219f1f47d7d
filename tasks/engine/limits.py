"""Shares of the batches of a split (`trainer.limit_*_batches`) that leave none."""

from collections.abc import Mapping
from typing import Any

from tasks.data.loaders import Split, TaskData
from tasks.errors import SettingError

_SETTINGS: dict[Split, str] = {
    "train": "limit_train_batches",
    "val": "limit_val_batches",
    "test": "limit_test_batches",
}


def check_limits(
    settings: Mapping[str, Any], data: TaskData, processes: int, training: bool
) -> None:
    """Raise `SettingError` for a share of a split's batches that is less than one batch.

    Args:
        settings: group `trainer`.
        data: the splits.
        processes: among which the batches are divided.
        training: whether the run trains; else it only tests.
    """
    counts: dict[Split, int] = {"test": data.evaluation_batch_count(data.test_split, processes)}
    if training:
        counts["train"] = data.train_batch_count(processes)
        counts["val"] = data.evaluation_batch_count("val", processes)
    for split, count in counts.items():
        name = _SETTINGS[split]
        limit = settings[name]
        if isinstance(limit, float) and limit > 0 and int(limit * count) < 1:
            raise SettingError(
                f"trainer.{name}={limit} of {count} batch{'es' if count != 1 else ''} leaves none. "
                f"Set trainer.{name}=1 for one batch, or =1.0 for all."
            )
