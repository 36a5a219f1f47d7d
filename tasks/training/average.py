"""The exponential moving average of a run's weights (setting `optim.ema_decay`)."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.utils.hooks import RemovableHandle


class ExponentialAverage(EMAWeightAveraging):
    """Exponential moving average of the weights, validated and saved in place of the raw ones.

    Lightning's callback swaps in its copy even before any update went into it; this one leaves the
    raw weights alone until the average has started. Integer buffers are copied, not averaged. In a
    checkpoint `state_dict` is the average and `current_model_state` the raw weights.

    Args:
        decay: share of the average that is kept in an update.
        as_released: as in the code that trained the released weights (timm's first `ModelEma`):
            the average begins with the initial weights instead of those after the first step; it
            is taken before positions are clamped; and of positions that the blocks of a stage
            share, it is taken once for each block. Otherwise once, after the clamp.
        **options: of Lightning's callback.
    """

    def __init__(self, decay: float, as_released: bool = False, **options: Any) -> None:
        super().__init__(decay=decay, **options)
        self._decay = decay
        self._as_released = as_released
        self._after_step: RemovableHandle | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make the average where the weights will be.

        Lightning copies them before it moves the model to its device: the average would stay
        behind, and all weights would travel to it after every step.
        """
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and self._average_model is not None:
            self._average_model.to(trainer.strategy.root_device)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """As released, update with each step of the optimizer, before the clamp that follows."""
        if not self._as_released:
            return

        def update(*_: Any) -> None:
            self._update_every_entry(pl_module)

        self._after_step = trainer.optimizers[0].register_step_post_hook(update)

    @property
    def started(self) -> bool:
        """Whether at least one update went into the average."""
        return self._average_model is not None and bool(self._average_model.n_averaged > 0)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Update the average, and keep counters such as those of batch norm exact."""
        if self._as_released:
            self._latest_update_step = trainer.global_step
        else:
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
        if self._after_step is not None:
            self._after_step.remove()
            self._after_step = None
        if self.started:
            super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average beside the raw weights."""
        if self.started:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)

    @torch.no_grad()
    def _update_every_entry(self, pl_module: L.LightningModule) -> None:
        """Update every entry of the state dict: a shared tensor once under each of its names."""
        assert self._average_model is not None
        current = pl_module.state_dict()
        for name, average in self._average_model.module.state_dict().items():
            if average.is_floating_point():
                average.copy_(average * self._decay + (1.0 - self._decay) * current[name])
        self._average_model.n_averaged += 1
