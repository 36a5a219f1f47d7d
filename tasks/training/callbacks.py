"""What watches a training run: the average of weights, bad losses, learned positions, rates."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch import Tensor, nn

from dcls.layers import DclsNd
from tasks.errors import TrainingError


class ExponentialAverage(EMAWeightAveraging):
    """Exponential moving average of the weights, validated and saved in place of the raw ones.

    Lightning's callback swaps in its copy even before any update went into it; this one leaves the
    raw weights alone until the average has started. Integer buffers are copied, not averaged. In a
    checkpoint `state_dict` is the average and `current_model_state` the raw weights.
    """

    @property
    def started(self) -> bool:
        """Whether at least one update went into the average."""
        return self._average_model is not None and bool(self._average_model.n_averaged > 0)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Update the average, and keep counters such as those of batch norm exact."""
        super().on_train_batch_end(trainer, pl_module, *args)
        if self._average_model is not None and self.started:
            pairs = zip(self._average_model.module.buffers(), pl_module.buffers(), strict=True)
            for average, current in pairs:
                if not average.is_floating_point():
                    average.copy_(current)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate the average, once there is one."""
        if self.started:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on training the raw weights."""
        if self.started:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the average in the model."""
        if self.started:
            super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average beside the raw weights."""
        if self.started:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)


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


class PositionRecorder(Callback):
    """Keeps the positions of every DCLS layer as they were before training, for the report."""

    def __init__(self) -> None:
        self.initial: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Copy the positions before the first step."""
        self.initial = positions_of(pl_module)


class RateLogger(Callback):
    """Logs the learning rate of the head and of the positions with every logged step."""

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Log the largest rate among the plain and among the special parameters."""
        groups = trainer.optimizers[0].param_groups
        for label, special in (("lr/weights", False), ("lr/positions", True)):
            rates = [g["lr"] for g in groups if g["name"].startswith("special") is special]
            if rates:
                pl_module.log(label, max(rates), on_step=True, on_epoch=False)


def positions_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy on the CPU of each distinct position tensor, by the name of the first layer of it."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, DclsNd):
            found.setdefault(id(layer.P), (name, layer.P.detach().float().cpu().clone()))
    return dict(found.values())
