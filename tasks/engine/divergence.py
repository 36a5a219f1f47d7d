"""What is said of a run that diverges: the step, its rate, what helps, and what is left."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor

from tasks.engine.callbacks import group_rates
from tasks.engine.checkpoints import newest_checkpoint

_RAISED = 1.001
"""Times the rate of the settings: beyond rounding."""


@dataclass(frozen=True)
class Step:
    """What is known of an optimizer step when it begins.

    Args:
        number: counted from 1.
        epoch: counted from 1.
        rate: of the ordinary weights.
        raised: whether the schedule has raised the rate above `optim.lr`.
    """

    number: int
    epoch: int
    rate: float
    raised: bool

    @classmethod
    def begun(cls, trainer: L.Trainer) -> "Step":
        """The step that begins now; once it is over the schedule has changed the rate."""
        optimizer = trainer.optimizers[0]
        return cls(
            number=trainer.global_step + 1,
            epoch=trainer.current_epoch + 1,
            rate=next(iter(group_rates(optimizer).values())),
            raised=any(
                group["lr"] > _RAISED * group.get("initial_lr", group["lr"])
                for group in optimizer.param_groups
            ),
        )

    def __str__(self) -> str:
        return f"step {self.number} (epoch {self.epoch}, learning rate {self.rate:.3g})"


def advice(trainer: L.Trainer, raised: bool = False) -> str:
    """What helps against a divergence, given the settings in use.

    Args:
        trainer: of the run.
        raised: whether the schedule had raised the rate above `optim.lr`.
    """
    steps = ["lower optim.gamma (the schedule raised the rate)"] if raised else []
    steps += ["lower optim.lr", "lengthen optim.warmup_epochs"]
    clip = trainer.gradient_clip_val
    if not clip:
        steps.append("set trainer.gradient_clip_val=1")
    elif clip > 1:
        steps.append(f"lower trainer.gradient_clip_val (now {clip:g})")
    if str(trainer.precision).startswith("16"):
        steps.append("set trainer.precision=bf16-mixed or 32-true, which have a wider range")
    text = f"{', '.join(steps[:-1])}, or {steps[-1]}."
    return text[0].upper() + text[1:]


def last_good(trainer: L.Trainer) -> str:
    """Names the checkpoint to go on from, which may be the one that this run went on from."""
    path = newest_checkpoint(trainer) or trainer.ckpt_path
    return f"Last good checkpoint: {path or 'none was written yet'}."


def over_processes(trainer: L.Trainer, value: Tensor, operation: str) -> int:
    """A whole number reduced over all processes, which all must ask for it."""
    return int(trainer.strategy.reduce(value, reduce_op=operation))


def first_not_finite(value: Any) -> str | None:
    """Name of the first tensor in nested plain data that holds nan or infinity, if there is one."""
    found = list(float_tensors(value))
    finite = [torch.isfinite(tensor).all() for _, tensor in found]
    names = (name for (name, _), fine in zip(found, finite, strict=True) if not bool(fine))
    return next(names, None)


def float_tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of floats in nested plain data by dotted name; those of a list share its name."""
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.numel():
            yield name or "the batch", value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from float_tensors(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for inner in value:
            yield from float_tensors(inner, name)
