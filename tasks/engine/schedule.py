"""Learning-rate schedules as pure functions from the step to a factor of the base rate."""

import math
from collections.abc import Callable, Sequence

import lightning as L

from tasks.engine.optimization import Optimization
from tasks.errors import SettingError

Factor = Callable[[int], float]


def warmup_steps(epochs: float, steps: int, steps_per_epoch: float) -> int:
    """Length of the warm-up in optimizer steps; `steps`, if above zero, wins over `epochs`."""
    return steps if steps > 0 else round(epochs * steps_per_epoch)


def polynomial(total: int, warmup: int, power: float, floor: float, start: float) -> Factor:
    """(1 - step / total) ** power down to `floor`, during the warm-up times a linear ramp.

    The ramp goes from `start` at step 0 to 1 at step `warmup`, as in the authors' segmentation
    code: the decay begins with step 0 and not behind the warm-up.

    Args:
        total: optimizer steps of the run.
        warmup: of these, steps of the warm-up.
        power: 1 as published.
        floor: smallest factor, min_lr / lr.
        start: factor of the ramp at step 0.
    """

    def factor(step: int) -> float:
        left = max(0.0, 1.0 - step / max(1, total))
        decayed: float = floor + (1.0 - floor) * left**power
        return decayed * (start + (1.0 - start) * step / warmup) if step < warmup else decayed

    return factor


def stepwise(milestones: Sequence[int], gamma: float, warmup: int, start: float) -> Factor:
    """1, times `gamma` from each milestone on; during the warm-up times a linear ramp.

    Args:
        milestones: optimizer steps.
        gamma: factor per milestone.
        warmup: steps of the ramp.
        start: factor of the ramp at step 0.
    """

    def factor(step: int) -> float:
        dropped = gamma ** sum(step >= milestone for milestone in milestones)
        return dropped * (start + (1.0 - start) * step / warmup) if step < warmup else dropped

    return factor


def constant(warmup: int) -> Factor:
    """Linear from 0 to 1 over the warm-up, then 1."""
    return lambda step: _ramp(step, warmup) if step < warmup else 1.0


def cosine(total: int, warmup: int, floor: float) -> Factor:
    """Linear warm-up from 0, then half a cosine from 1 to `floor` (arXiv 1608.03983, one cycle).

    Args:
        total: optimizer steps of the run.
        warmup: of these, steps of the warm-up; the last of them has factor 1.
        floor: smallest factor, min_lr / lr, neared at the last step.
    """

    def factor(step: int) -> float:
        if step < warmup:
            return _ramp(step, warmup)
        progress = min(1.0, (step - warmup) / max(1, total - warmup))
        return floor + 0.5 * (1.0 - floor) * (1.0 + math.cos(math.pi * progress))

    return factor


def schedule(settings: Optimization, total: int, steps_per_epoch: float) -> Factor:
    """The schedule that the settings name.

    Args:
        settings: of the optimization.
        total: optimizer steps of the run.
        steps_per_epoch: optimizer steps.

    Raises:
        SettingError: for an unknown name, or a warm-up longer than the run.
    """
    warmup = warmup_steps(settings.warmup_epochs, settings.warmup_steps, steps_per_epoch)
    if warmup > total:
        raise SettingError(
            f"The warm-up takes {warmup} steps, but the whole run only {total}. Lower "
            "optim.warmup_epochs (or optim.warmup_steps), or raise trainer.max_epochs."
        )
    floor, start = settings.min_lr / settings.lr, settings.warmup_start
    milestones = [round(epoch * steps_per_epoch) for epoch in settings.milestones]
    named: dict[str, Callable[[], Factor]] = {
        "cosine": lambda: cosine(total, warmup, floor),
        "constant": lambda: constant(warmup),
        "polynomial": lambda: polynomial(total, warmup, settings.power, floor, start),
        "steps": lambda: stepwise(milestones, settings.gamma, warmup, start),
    }
    if settings.schedule not in named:
        raise SettingError(
            f"optim.schedule={settings.schedule} does not exist; choose one of {', '.join(named)}."
        )
    return named[settings.schedule]()


def _ramp(step: int, warmup: int) -> float:
    return step / max(1, warmup - 1) if warmup > 1 else 1.0


def check_schedule(trainer: L.Trainer, optimization: Optimization, batches: int) -> None:
    """Raise `SettingError` for a schedule that does not fit the length of the run.

    Args:
        trainer: before it runs.
        optimization: the settings.
        batches: of an epoch, for each process.
    """
    limit = trainer.limit_train_batches
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    steps = math.ceil(batches / trainer.accumulate_grad_batches)
    lengths = [] if trainer.max_steps == -1 else [trainer.max_steps]
    if trainer.max_epochs is not None and trainer.max_epochs != -1:
        lengths.append(trainer.max_epochs * steps)
    if lengths and min(lengths) > 0 and steps > 0:
        schedule(optimization, min(lengths), steps)
