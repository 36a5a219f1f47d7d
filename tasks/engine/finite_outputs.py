"""Watch whether what a model gives in validation and test is finite.

Validation within training ends the run, before a checkpoint of such weights is written. In a test
nothing is stopped: what is not finite is counted and said beside the figures.
"""

# ruff: noqa: ARG002 - signatures of hooks

import math
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tasks.engine.divergence import Step, advice, last_good, over_processes
from tasks.errors import TrainingError


class FiniteOutputs(Callback):
    """Watch what the heads of the model give in validation and test.

    Figures alone do not tell: the largest of scores that are no numbers is some class, and
    detections that are none are left out.

    Raises:
        TrainingError: in validation within training, naming the step, its rate and the last good
            checkpoint.
    """

    def __init__(self) -> None:
        self.bad_batches = 0
        self._count: Tensor | None = None
        self._bad: Tensor | None = None
        self._hooks: list[RemovableHandle] = []
        self._last: Step | None = None

    def on_train_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        *args: Any,
    ) -> None:
        """Note the rate of the step before the schedule changes it."""
        self._last = Step.begun(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to watch."""
        self._watch(pl_module)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to watch."""
        self._watch(pl_module)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Count a batch with outputs that are not finite."""
        self._close_batch()

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Count a batch with outputs that are not finite."""
        self._close_batch()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End training if the loss or the outputs of its validation were not finite."""
        self._finish(trainer)
        figures = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        losses = [f"{k} is {v}" for k, v in figures.items() if "loss" in k and not math.isfinite(v)]
        if self.bad_batches:
            losses.append(f"outputs are not finite in {self.bad_batches} batches")
        if not losses or self._last is None:
            return
        raise TrainingError(
            f"Validation after {self._last} failed: {', '.join(losses)}. "
            f"{advice(trainer, self._last.raised)} {last_good(trainer)}"
        )

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Sum up over all processes."""
        self._finish(trainer)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Leave the model as it was."""
        self._unwatch()

    def _watch(self, model: nn.Module) -> None:
        self._unwatch()
        self._count = self._bad = None
        self._hooks = [layer.register_forward_hook(self._see) for layer in _head_layers(model)]

    def _unwatch(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _see(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.is_floating_point():
            # a sum needs no copy, and carries nan and infinity
            bad = ~torch.isfinite(output.detach().sum(dtype=torch.float32))
            self._bad = bad if self._bad is None else self._bad | bad

    def _close_batch(self) -> None:
        if self._bad is not None:
            count = self._bad.long()
            self._count = count if self._count is None else self._count + count
        self._bad = None

    def _finish(self, trainer: L.Trainer) -> None:
        self._unwatch()
        count = self._count
        if count is None:
            count = torch.zeros((), dtype=torch.long, device=trainer.strategy.root_device)
        self.bad_batches = over_processes(trainer, count, "sum")


def not_finite_notes(trainer: L.Trainer, metrics: Mapping[str, float]) -> list[str]:
    """What has to be said beside figures: which are not finite, and outputs that were not.

    Args:
        trainer: that has tested.
        metrics: figures by name.
    """
    bad = [name for name, value in metrics.items() if not math.isfinite(value)]
    notes = [f"not finite, null in results.json: {', '.join(bad)}"] if bad else []
    callbacks: list[Any] = list(getattr(trainer, "callbacks", []))
    count = sum(one.bad_batches for one in callbacks if isinstance(one, FiniteOutputs))
    if count:
        notes.append(
            f"outputs of the model are not finite in {count} batches of the test, so that its "
            "figures say nothing: the weights are broken, or trainer.precision is too narrow"
        )
    return notes


def _head_layers(model: nn.Module) -> list[nn.Module]:
    """Convolutions and linear layers outside of a backbone."""
    return [
        layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
        and "backbone" not in name.split(".")
    ]
