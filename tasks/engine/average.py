"""The exponential moving average of the weights."""

# ruff: noqa: ARG002 - signatures of hooks

from collections import Counter
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Pair = tuple[Tensor, Tensor]
"""A tensor of the average, and the one of the model that it follows."""


class ExponentialAverage(WeightAveraging):
    """Exponential moving average of the weights, validated and saved in place of the raw ones.

    Each optimizer step updates it: average = decay * average + (1 - decay) * weights. Weights and
    float buffers that are saved (statistics of batch norm) are averaged, integers are copied. In a
    checkpoint `state_dict` is the average and `current_model_state` the raw weights.

    Args:
        decay: how much of itself the average keeps in an update.
        as_released: False: the average begins as the weights after the first step, and is updated
            after positions were clamped, every tensor once. True: as in the authors' training
            code, which calls `timm.utils.ModelEma` before it clamps: the average begins as the
            initial weights, and is updated once per name in the `state_dict`, so that positions
            shared by n blocks are averaged n times a step.
    """

    def __init__(self, decay: float, as_released: bool = False) -> None:
        # On the CPU, so that no step waits for the device to read the number of updates.
        super().__init__(device="cpu")
        self.decay = decay
        self.as_released = as_released
        self._hook: RemovableHandle | None = None
        self._rounds: list[list[Pair]] = []

    @property
    def started(self) -> bool:
        """Whether at least one update went into the average."""
        return self._average_model is not None and bool(self._average_model.n_averaged > 0)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Copy the model to the device that it will be trained on."""
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            self._average_model.module.to(trainer.strategy.root_device)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin with the weights that training starts from, the same in all processes.

        From here on the tensors of the model stay the same, so that they are listed only once.
        """
        assert self._average_model is not None
        self._rounds = _paired(self._average_model.module, pl_module)
        if not self.started:
            for average, current in self._rounds[0]:
                average.copy_(current)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Have the optimizer call for an update as soon as it has stepped, before any clamp."""

        def update(*_: Any) -> None:
            self._update(trainer.global_step + 1)  # counted once the step is over

        if self.as_released:
            self._hook = trainer.optimizers[0].register_step_post_hook(update)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """Update after a step; also after one that the gradient scaler of 16-mixed left out."""
        if trainer.global_step > self._latest_update_step:
            self._update(trainer.global_step)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate the average, once there is one."""
        if self.started:
            self._swap()

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on training the raw weights."""
        if self.started:
            self._swap()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the average in the model."""
        if self._hook is not None:
            self._hook.remove()
        if self.started:
            for average, current in self._rounds[0]:
                current.copy_(average)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average beside the raw weights."""
        if self.started:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)

    @torch.no_grad()
    def _update(self, step: int) -> None:
        assert self._average_model is not None
        begins = not self.started and not self.as_released
        for pairs in self._rounds if self.as_released else self._rounds[:1]:
            averaged = []
            for average, current in pairs:
                if begins or not average.is_floating_point():
                    average.copy_(current)
                else:
                    averaged.append((average, current))
            if averaged:
                averages, currents = (list(tensors) for tensors in zip(*averaged, strict=True))
                torch._foreach_mul_(averages, self.decay)
                torch._foreach_add_(averages, torch._foreach_mul(currents, 1 - self.decay))
        self._average_model.n_averaged += 1
        self._latest_update_step = step

    def _swap(self) -> None:
        for average, current in self._rounds[0]:
            kept = average.clone()
            average.copy_(current)
            current.copy_(kept)


def _paired(average: nn.Module, model: nn.Module) -> list[list[Pair]]:
    """What a checkpoint holds: every tensor once, then those with a second name once more, ..."""
    currents = model.state_dict(keep_vars=True)
    names: Counter[int] = Counter()
    rounds: list[list[Pair]] = [[]]
    for name, tensor in average.state_dict(keep_vars=True).items():
        number = names[id(tensor)]
        names[id(tensor)] += 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append((tensor.detach(), currents[name].detach()))
    return rounds
