"""Stop a run whose numbers are no longer finite, and say why."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from tasks.errors import TrainingError


class FiniteLoss(Callback):
    """Stop training when the loss is no longer a number, before that state is saved.

    On an accelerator the loss is looked at every `interval` steps only, since each look waits for
    the device; the step named is exact all the same.

    Args:
        interval: optimizer steps between two looks on an accelerator.

    Raises:
        TrainingError: naming the step, the rate and the last good checkpoint.
    """

    def __init__(self, interval: int = 20) -> None:
        self.interval = interval
        self._first_bad: Tensor | None = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Note whether this step's loss is finite; look at the notes now and then."""
        loss = outputs["loss"].detach()
        if self._first_bad is None:
            self._first_bad = torch.full((), -1, dtype=torch.long, device=loss.device)
        fresh_bad = ~torch.isfinite(loss) & (self._first_bad < 0)
        self._first_bad = torch.where(fresh_bad, trainer.global_step, self._first_bad)
        if loss.device.type == "cpu" or trainer.global_step % self.interval == 0:
            self._look(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look before validation, after which a checkpoint would be written."""
        self._look(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the end of an epoch that has no validation."""
        self._look(trainer)

    def _look(self, trainer: L.Trainer) -> None:
        if self._first_bad is None:
            return
        step = int(trainer.strategy.reduce(self._first_bad.float(), reduce_op="max"))
        if step < 0:
            return
        last = getattr(trainer.checkpoint_callback, "best_model_path", "") or "none was written yet"
        rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        raise TrainingError(
            f"The loss is not a finite number at step {step} (epoch {trainer.current_epoch}, "
            f"learning rate {rate:.2g}). Lower optim.lr, lengthen optim.warmup_epochs, or set "
            f"trainer.gradient_clip_val=1. Last good checkpoint: {last}."
        )


class FiniteOutputs(Callback):
    pass


class FiniteWeights(Callback):
    pass
