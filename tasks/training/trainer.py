"""The Lightning trainer of a job."""

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger

from tasks.errors import SettingError
from tasks.training.callbacks import ExponentialAverage, FiniteLoss, PositionRecorder, RateLogger
from tasks.training.precision import device_type, precision_arguments, resolved_precision
from tasks.training.task import Task

BEST, LAST = "best", "last"


def build_trainer(
    settings: dict[str, Any],
    task: Task,
    folder: Path,
    loggers: list[Logger],
    callbacks: list[Callback],
) -> L.Trainer:
    """A trainer that keeps its checkpoints in `folder` and stops at a loss that is no number.

    Args:
        settings: arguments of `lightning.Trainer` (group `trainer`); `precision` may be `auto`.
        task: names the metric that picks the best checkpoint.
        folder: the run folder.
        loggers: see group `logger`.
        callbacks: the user's own, after the built-in ones.
    """
    _quiet()
    precision = resolved_precision(settings["precision"], settings["accelerator"])
    sync = settings["sync_batchnorm"] and device_type(settings["accelerator"]) == "cuda"
    arguments = settings | {"sync_batchnorm": sync}
    arguments |= precision_arguments(precision, settings["accelerator"])
    built_in = [*_checkpoints(task, folder), FiniteLoss(), RateLogger(), PositionRecorder()]
    if task.optimization.ema_decay is not None:
        built_in.append(ExponentialAverage(decay=task.optimization.ema_decay))
    if sys.stderr.isatty() or sys.stdout.isatty():
        built_in.append(RichProgressBar(leave=False))
    try:
        return L.Trainer(
            default_root_dir=folder,
            logger=loggers,
            callbacks=[*built_in, *callbacks],
            enable_progress_bar=any(isinstance(c, RichProgressBar) for c in built_in),
            enable_model_summary=False,
            use_distributed_sampler=False,  # the data gives each process its shard
            num_sanity_val_steps=0,
            **arguments,
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise SettingError(
            f"The trainer's settings do not work here: {error} See group trainer: "
            f"{', '.join(f'trainer.{key}={value}' for key, value in settings.items())}."
        ) from error


def accumulate(trainer: L.Trainer, total: int, batch_size: int) -> None:
    """Make `total` samples an optimizer step, and keep validation's interval one of such steps.

    Args:
        trainer: its number of processes counts.
        total: samples per optimizer step over all processes.
        batch_size: samples per batch and process.

    Raises:
        SettingError: if the total is no multiple of what one step of all processes holds.
    """
    processes = trainer.world_size
    if total % (batch_size * processes):
        raise SettingError(
            f"optim.total_batch_size={total} is no multiple of dataset.batch_size="
            f"{batch_size} x {processes} process(es). Choose a batch size that divides "
            f"{total // processes}, or optim.total_batch_size=null."
        )
    batches = total // (batch_size * processes)
    trainer.accumulate_grad_batches = batches
    interval = trainer.val_check_interval
    if isinstance(interval, int):  # Lightning counts batches
        trainer.val_check_interval = interval * batches


def _checkpoints(task: Task, folder: Path) -> list[Callback]:
    def keep(filename: str, monitor: str | None) -> Callback:
        return ModelCheckpoint(
            dirpath=folder / "checkpoints",
            filename=filename,
            monitor=monitor,
            mode=task.monitor_mode,
            enable_version_counter=False,
        )

    return [keep(BEST, task.monitor), keep(LAST, None)]


def _quiet() -> None:
    """Silence notes of Lightning that say nothing about this program or its settings."""
    for text in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*The number of training batches .* is smaller than the logging interval.*",
        ".*Trying to infer the `batch_size`.*",
        ".*You are using `torch.load` with `weights_only=False`.*",
        ".*does not have a `.*_dataloader`.*",
        ".*dirpath has changed.*",
        ".*It is recommended to use `self.log.*sync_dist=True`.*",
        ".*isinstance.treespec, LeafSpec.*",
        # Until its scale fits, the gradient scaler of 16-mixed leaves out optimizer steps.
        ".*lr_scheduler.step.* before .*optimizer.step.*",
    ):
        warnings.filterwarnings("ignore", message=text)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False  # it prints by itself; the root logger would print again
