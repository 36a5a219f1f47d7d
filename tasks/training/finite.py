"""Stop a run whose numbers are no longer finite, and say why.

Training is watched by its loss, validation by its loss and the outputs of the model's heads, and a
checkpoint by the tensors in it, so that no file of a diverged run passes for a good one. In a test
nothing is stopped: what is not finite is counted and said beside the figures.
"""

# ruff: noqa: ARG002 - signatures of hooks

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tasks.errors import TrainingError
from tasks.training.divergence import (
    Step,
    advice,
    first_not_finite,
    float_tensors,
    last_good,
    over_processes,
)
from tasks.training.gathering import gather_lists

_NO_STEP = torch.iinfo(torch.long).max


class FiniteLoss(Callback):
    """Stop training when the loss is no longer a number, before that state is saved.

    On an accelerator the loss is looked at every `interval` steps only, since each look waits for
    the device; the step and the rate that are named are exact all the same.

    Args:
        interval: optimizer steps between two looks on an accelerator.

    Raises:
        TrainingError: naming the cause, the step, its rate and the last good checkpoint.
    """

    def __init__(self, interval: int = 20) -> None:
        self.interval = interval
        self._steps: deque[Step] = deque(maxlen=interval + 1)
        self._first_bad: Tensor | None = None
        self._bad_inputs: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the weights that training starts from."""
        name = first_not_finite(pl_module.state_dict())
        if name is not None:
            raise TrainingError(
                f"Before training, {name} is not finite: the weights that the run starts from are "
                "broken. Choose another ckpt or backbone.pretrained."
            )
        self._first_bad, self._bad_inputs = None, {}
        self._steps.clear()

    def on_train_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        *args: Any,
    ) -> None:
        """Note the step and its rate, which the schedule has changed once the step is over."""
        if not self._steps or self._steps[-1].number != trainer.global_step + 1:
            self._steps.append(Step.begun(trainer))

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note whether this batch's loss and inputs are finite; look at the notes now and then."""
        loss = outputs["loss"].detach()
        number = self._steps[-1].number
        if self._first_bad is None:
            self._first_bad = torch.full((), _NO_STEP, dtype=torch.long, device=loss.device)
        fresh = ~torch.isfinite(loss) & (self._first_bad == _NO_STEP)
        self._first_bad = torch.where(fresh, number, self._first_bad)
        for name, value in float_tensors(batch):
            bad = fresh & ~torch.isfinite(value).all().to(loss.device)
            self._bad_inputs[name] = bad | self._bad_inputs.get(name, torch.zeros_like(bad))
        if not self._waits(loss) or number % self.interval == 0:
            self._look(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look before validation, after which a checkpoint would be written."""
        self._look(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the end of an epoch that has no validation."""
        self._look(trainer)

    @staticmethod
    def _waits(loss: Tensor) -> bool:
        return loss.device.type != "cpu"

    def _look(self, trainer: L.Trainer) -> None:
        if self._first_bad is None:
            return
        number = over_processes(trainer, self._first_bad, "min")
        if number == _NO_STEP:
            return
        own = [name for name, bad in self._bad_inputs.items() if bool(bad)]
        inputs = dict.fromkeys(gather_lists(own))
        step = next((one for one in self._steps if one.number == number), self._steps[-1])
        if inputs:
            raise TrainingError(
                f"The loss is not a finite number at {step}, because its input was not: "
                f"{', '.join(inputs)} held nan or infinity. Check the files of the dataset, and "
                f"what changes them on their way. {last_good(trainer)}"
            )
        raise TrainingError(
            f"The loss is not a finite number at {step}. {advice(trainer, step.raised)} "
            f"{last_good(trainer)}"
        )


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


class FiniteWeights(Callback):
    """Refuse to write a checkpoint that holds a number which is not finite.

    Raises:
        TrainingError: naming the tensor and the last good checkpoint.
    """

    def on_save_checkpoint(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Look at the weights, the average of them, and the state of the optimizer."""
        for part in ("state_dict", "current_model_state", "optimizer_states"):
            name = first_not_finite(checkpoint.get(part, {}))
            if name is not None:
                raise TrainingError(
                    f"After step {trainer.global_step} (epoch {trainer.current_epoch + 1}) {name} "
                    f"of {part} is not finite, so that no checkpoint was written. "
                    f"{advice(trainer)} {last_good(trainer)}"
                )


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
