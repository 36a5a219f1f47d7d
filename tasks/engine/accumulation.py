"""Batches and optimizer steps: how many batches make a step, and what is counted in steps.

Lightning steps the optimizer after every `accumulate_grad_batches` batches and once more at the end
of an epoch, with the batches that remain.
"""

# ruff: noqa: ARG002 - signatures of hooks

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from tasks.errors import SettingError


def steps_per_epoch(trainer: L.Trainer) -> int:
    """Optimizer steps of an epoch, the one with the batches that remain included."""
    return -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)


def accumulate(trainer: L.Trainer, total: int | None, batch_size: int) -> None:
    """Make `total` samples an optimizer step.

    Args:
        trainer: its number of processes counts.
        total: samples per optimizer step over all processes; None: as many batches as the
            trainer was told to accumulate.
        batch_size: samples per batch and process.

    Raises:
        SettingError: if the total is no multiple of what one step of all processes holds, or
            another number of batches per step is set already.
    """
    if total is None:
        return
    processes = trainer.world_size
    if total % (batch_size * processes):
        raise SettingError(
            f"optim.total_batch_size={total} is no multiple of dataset.batch_size="
            f"{batch_size} x {processes} process(es). Choose a batch size that divides "
            f"{total // processes}, or optim.total_batch_size=null."
        )
    batches, given = total // (batch_size * processes), trainer.accumulate_grad_batches
    if given not in (1, batches):
        raise SettingError(
            f"optim.total_batch_size={total} makes {batches} batch(es) an optimizer step, but "
            f"trainer.accumulate_grad_batches={given} was set. Leave out one of the two "
            "(optim.total_batch_size=null)."
        )
    trainer.accumulate_grad_batches = batches


def drop_incomplete_step(trainer: L.Trainer, batches: int) -> str | None:
    """Leave out the batches at the end of an epoch that do not fill an optimizer step.

    So do the training codes of ConvNeXt and DCLS-ConvNeXt, whose published figures are of such
    runs; otherwise they make a step of their own. An epoch that fills no step at all is kept as
    one: there is nothing else to train.

    Args:
        trainer: knows how many batches make a step.
        batches: of an epoch, per process.

    Returns:
        What has to be said about it.
    """
    per_step, used = trainer.accumulate_grad_batches, _limited(trainer, batches)
    rest = used % per_step
    if rest == 0:
        return None
    if rest == used:
        return (
            f"an epoch of {used} batches does not fill an optimizer step of {per_step}, and makes "
            "one nevertheless"
        )
    trainer.limit_train_batches = used - rest
    return (
        f"the last {rest} of {used:,} batches of an epoch do not fill an optimizer step of "
        f"{per_step} and are left out (optim.positions=intended trains on them)"
    )


def check_validation_interval(trainer: L.Trainer, batches: int) -> None:
    """Raise `SettingError` if an epoch is too short for `val_check_interval` to come round.

    Args:
        trainer: its interval is a number of optimizer steps, or a share of an epoch.
        batches: of an epoch, per process.
    """
    interval = trainer.val_check_interval
    if not isinstance(interval, int) or trainer.check_val_every_n_epoch is None:
        return
    steps = -(-_limited(trainer, batches) // trainer.accumulate_grad_batches)
    if interval > steps:
        raise SettingError(
            f"trainer.val_check_interval={interval} optimizer steps is more than an epoch has "
            f"({steps}). Set trainer.check_val_every_n_epoch=null to count steps across epochs, or "
            f"trainer.val_check_interval={steps} or less."
        )


class ValidationInterval(Callback):
    """Validates after every so many optimizer steps, whatever number of batches they took.

    Lightning counts batches, of which the last step of an epoch may take fewer than the others.

    Args:
        steps: between two validations: of an epoch, or under `check_val_every_n_epoch=None` of
            the whole run.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say whether a resumed run stands at a validation."""
        self._announce(trainer)

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Say whether to validate now."""
        self._announce(trainer)

    def _announce(self, trainer: L.Trainer) -> None:
        """Lightning validates if the number of batches is a multiple of `val_check_batch`."""
        loop, per_step = trainer.fit_loop, trainer.accumulate_grad_batches
        across_epochs = trainer.check_val_every_n_epoch is None
        in_epoch = loop.batch_idx + 1
        done = loop.total_batch_idx + 1 if across_epochs else in_epoch
        stepped = in_epoch % per_step == 0 or in_epoch == trainer.num_training_batches
        steps = trainer.global_step if across_epochs else -(-in_epoch // per_step)
        due = done > 0 and stepped and steps % self.steps == 0
        trainer.val_check_batch = done if due else done + 1


def _limited(trainer: L.Trainer, batches: int) -> int:
    """Batches of an epoch within `limit_train_batches`."""
    limit = trainer.limit_train_batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)
