"""The Lightning trainer of a job."""

import logging
import sys
import warnings
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import Logger

from tasks.engine.accumulation import ValidationInterval
from tasks.engine.average import ExponentialAverage
from tasks.engine.callbacks import (
    LONGEST_INTERVAL,
    LogInterval,
    PositionRecorder,
    RateLogger,
)
from tasks.engine.checkpoints import checkpoint_callbacks
from tasks.engine.finite import FiniteLoss, FiniteWeights
from tasks.engine.finite_outputs import FiniteOutputs
from tasks.engine.precision import device_type, precision_arguments, resolved_precision
from tasks.engine.progress import OpeningLine, ProgressLines
from tasks.engine.task import Task
from tasks.errors import SettingError
from tasks.reporting.metrics import declared, metric_of


def build_trainer(
    settings: dict[str, Any],
    task: Task,
    folder: Path,
    loggers: list[Logger],
    callbacks: list[Callback],
) -> L.Trainer:
    """A trainer that keeps its checkpoints in `folder` and stops at a loss that is no number.

    Args:
        settings: arguments of `lightning.Trainer` (group `trainer`); `precision` and
            `log_every_n_steps` may be `auto`.
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
    built_in = _built_in(task, folder)
    if isinstance(settings["val_check_interval"], int):
        built_in.append(ValidationInterval(settings["val_check_interval"]))
    if settings["log_every_n_steps"] == "auto":
        built_in.append(LogInterval())
        arguments |= {"log_every_n_steps": LONGEST_INTERVAL}  # until the steps are known
    built_in.append(OpeningLine())
    lines = ProgressLines(task.monitor, declared(task.metrics))
    built_in.append(RichProgressBar(leave=False) if watched() else lines)
    try:
        return L.Trainer(
            default_root_dir=folder,
            logger=loggers,
            callbacks=[*built_in, *callbacks],
            enable_progress_bar=watched(),
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


def _built_in(task: Task, folder: Path) -> list[Callback]:
    """What every run has, in the order in which it acts."""
    optimization = task.optimization
    lower = metric_of(task.monitor, declared(task.metrics)).better == "lower"
    mode: Literal["max", "min"] = "min" if lower else "max"
    callbacks = [*checkpoint_callbacks(task.monitor, mode, folder)]
    callbacks += [RateLogger(), PositionRecorder()]
    if optimization.ema_decay is not None:
        callbacks.append(ExponentialAverage(optimization.ema_decay, optimization.as_released))
    return [*callbacks, FiniteLoss(), FiniteOutputs(), FiniteWeights()]  # these see the average too


def watched() -> bool:
    """Whether somebody sees the output as it comes: then there is a bar, otherwise lines."""
    return sys.stdout.isatty()


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
        ".*It is recommended to use `self.log.*sync_dist=True.*",
        ".*isinstance.treespec, LeafSpec.*",
        # Until its scale fits, the gradient scaler of 16-mixed leaves out optimizer steps.
        ".*lr_scheduler.step.* before .*optimizer.step.*",
    ):
        warnings.filterwarnings("ignore", message=text)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False  # it prints by itself; the root logger would print again
