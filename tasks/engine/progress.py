"""What the loops of Lightning say in output that nobody watches, and as they begin."""

# ruff: noqa: ARG002 - signatures of hooks

import time
from typing import Any, cast

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from tasks.data.loaders import TaskData
from tasks.engine.accumulation import steps_per_epoch
from tasks.engine.callbacks import group_rates
from tasks.reporting.console import print_line
from tasks.reporting.metrics import Declared, metric_text
from tasks.reporting.progress import Clock, Progress, joined, left_text


class OpeningLine(Callback):
    """Says how long training will be, once the batches of an epoch are known."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the line, in the first process."""
        if trainer.is_global_zero:
            data = cast(TaskData, trainer.datamodule)  # type: ignore[attr-defined]
            print_line(opening_line(trainer, data.loading.batch_size))


def opening_line(trainer: L.Trainer, batch_size: int) -> str:
    """Epochs, steps and images per step of a training that begins."""
    per_epoch = steps_per_epoch(trainer)
    per_step = batch_size * trainer.accumulate_grad_batches * trainer.world_size
    images = _count(per_step, "image")
    epoch = f"{_count(per_epoch, 'step')} of {images}"
    if trainer.max_steps != -1:
        length = f"{_count(trainer.max_steps, 'step')}, an epoch has {epoch}"
    elif trainer.max_epochs not in (None, -1):
        length = f"{_count(trainer.max_epochs, 'epoch')} of {epoch}"
    else:
        length = f"until it is stopped, an epoch has {epoch}"
    every = trainer.log_every_n_steps  # type: ignore[attr-defined]
    resumed = f"from step {trainer.global_step}" if trainer.global_step else None
    return joined(f"training: {length}", resumed, f"logged every {_count(every, 'step')}")


class ProgressLines(Callback):
    """A line every half minute, and one per validation with its metrics; in the first process.

    Args:
        monitor: the metric that is named first.
        metrics: their units.
        clock: in seconds.
    """

    def __init__(self, monitor: str, metrics: Declared, clock: Clock = time.monotonic) -> None:
        self.monitor = monitor
        self.metrics = metrics
        self._clock = clock
        self._progress = Progress(self.status, clock=clock)
        self._stage = "preparing"
        self._where = ""
        self._rate: float | None = None
        self._loss: Tensor | None = None
        self._batches: tuple[int, float] = (0, 0)
        self._steps: tuple[float, float] = (0, 0)
        self._first_step = 0
        self._part: tuple[str, int, int] | None = None
        self._began = clock()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Begin; fit and test are each set up."""
        self._begin("preparing", "")
        if trainer.is_global_zero:
            self._progress.start()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """End."""
        self._progress.stop()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """End, as Lightning does not tear down then."""
        self._progress.stop()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count steps."""
        self._first_step = trainer.global_step
        self._steps = (trainer.global_step, trainer.estimated_stepping_batches)
        self._begin("training", self._epoch_and_step(trainer))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Note where training is; nothing here waits for the device."""
        self._steps = (trainer.global_step, self._steps[1])
        self._stage, self._where = "training", self._epoch_and_step(trainer)
        self._rate = next(iter(group_rates(trainer.optimizers[0]).values()))
        self._loss = outputs["loss"].detach() * trainer.accumulate_grad_batches

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count batches."""
        self._stage, self._batches = "validating", (0, _total(trainer.num_val_batches))

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Count a batch."""
        self._batches = (self._batches[0] + 1, self._batches[1])

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say what validation has found."""
        self._stage = "training"
        if trainer.is_global_zero:
            self._progress.say(validation_line(trainer, self.monitor, self.metrics))

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count batches."""
        self._begin("testing", "")
        self._batches = (0, _total(trainer.num_test_batches))

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Count a batch."""
        self._batches = (self._batches[0] + 1, self._batches[1])
        self._part = getattr(pl_module, "progress", None)

    def status(self) -> str:
        """Where the run is, as a line."""
        done, total = self._batches
        passed = self._clock() - self._began
        batch = f"batch {done}" if total == float("inf") else f"batch {done} of {total}"
        if self._stage == "validating":
            return joined(self._where, f"validating, {batch}")
        if self._stage == "testing":
            part, done, total = self._part or (None, done, total)
            return joined("testing", part, batch, left_text(done, total, passed))
        if self._stage == "training":
            step, steps = self._steps
            left = left_text(step - self._first_step, steps - self._first_step, passed)
            rate = None if self._rate is None else f"lr {self._rate:.3g}"
            loss = None if self._loss is None else f"loss {float(self._loss):.4g}"
            return joined(self._where, rate, loss, left)
        return self._stage

    def _epoch_and_step(self, trainer: L.Trainer) -> str:
        step, total = self._steps
        return f"{_epoch(trainer)}, step {step}{'' if total == float('inf') else f'/{total}'}"

    def _begin(self, stage: str, where: str) -> None:
        self._stage, self._where, self._began = stage, where, self._clock()


def validation_line(trainer: L.Trainer, monitor: str, metrics: Declared) -> str:
    """The figures of the last validation, the monitored one first; without those of classes."""
    figures = {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("val/") and name.count("/") < 2
    }
    names = sorted(figures, key=lambda name: name != monitor)  # stable
    text = ", ".join(f"{name} {metric_text(name, figures[name], metrics)}" for name in names)
    return f"validated after step {trainer.global_step}, {_epoch(trainer)}: {text}"


def _epoch(trainer: L.Trainer) -> str:
    of = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
    return f"epoch {trainer.current_epoch + 1}{of}"


def _total(batches: Any) -> float:
    """Over all data loaders; infinite where it is not known."""
    return sum(batches) if isinstance(batches, list) else batches


def _count(number: Any, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
