"""What watches a training run: learned positions, rates."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from dcls.layers import DclsNd

_FEWEST_POINTS = 50
LONGEST_INTERVAL = 20
"""Optimizer steps between two logged ones under `trainer.log_every_n_steps=auto`, at most."""


class PositionRecorder(Callback):
    """Keeps the positions of every DCLS layer as they were before training, for the report."""

    def __init__(self) -> None:
        self.initial: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Copy the positions before the first step."""
        self.initial = positions_of(pl_module)


class LogInterval(Callback):
    """Lets `trainer.log_every_n_steps=auto` follow the number of steps that are to be done."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set the interval, now that the batches of an epoch are known."""
        steps = trainer.estimated_stepping_batches - trainer.global_step
        trainer.log_every_n_steps = log_interval(steps)  # type: ignore[attr-defined]


def log_interval(steps: float) -> int:
    """Steps between two points of a curve: 50 points at least, as far as there are steps.

    Args:
        steps: of the run; infinite if they are not known.
    """
    return int(max(1, min(LONGEST_INTERVAL, steps // _FEWEST_POINTS)))


class RateLogger(Callback):
    """Logs the learning rate of the head and of the positions with every logged step."""

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        """Log the largest rate among the plain and among the special parameters."""
        for label, rate in group_rates(trainer.optimizers[0]).items():
            pl_module.log(label, rate, on_step=True, on_epoch=False)


def group_rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The largest rate among the plain and among the special parameters, as far as there are any.

    Args:
        optimizer: its groups are named as by `parameter_groups`; one without a name is plain.
    """
    found = {}
    for label, special in (("lr/weights", False), ("lr/positions", True)):
        rates = [
            group["lr"]
            for group in optimizer.param_groups
            if group.get("name", "").startswith("special") is special
        ]
        if rates:
            found[label] = max(rates)
    return found


def positions_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy on the CPU of each distinct position tensor, by the name of the first layer of it."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, DclsNd):
            found.setdefault(id(layer.P), (name, layer.P.detach().float().cpu().clone()))
    return dict(found.values())
