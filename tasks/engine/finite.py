"""Stop a run whose numbers are no longer finite, and say why.

Training is watched by its loss, and a checkpoint by the tensors in it, so that no file of a
diverged run passes for a good one. `tasks.engine.finite_outputs` watches validation.
"""

# ruff: noqa: ARG002 - signatures of hooks

from collections import deque
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from tasks.engine.divergence import (
    Step,
    advice,
    first_not_finite,
    float_tensors,
    last_good,
    over_processes,
)
from tasks.engine.gathering import gather_lists
from tasks.errors import TrainingError

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
