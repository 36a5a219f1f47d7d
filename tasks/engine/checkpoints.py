"""What a run keeps of its weights: `best.ckpt` of what was validated, `last.ckpt` of its end."""

from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

BEST, LAST = "best", "last"


class _Keep(ModelCheckpoint):
    """One file in the folder of checkpoints, replaced by every later one that is kept.

    Args:
        filename: without its ending.
        folder: of the checkpoints.
        monitor: the figure that must have improved; None: always kept.
        mode: whether the most or the least of it is the best.
    """

    def __init__(
        self, filename: str, folder: Path, monitor: str | None, mode: Literal["max", "min"]
    ) -> None:
        super().__init__(
            dirpath=folder,
            filename=filename,
            monitor=monitor,
            mode=mode,
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        """That of the base class: checkpoints of older versions resume without a warning."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__)


class BestCheckpoint(_Keep):
    """`best.ckpt`: the weights that validated best, those at the end of the run included.

    Where the run ends behind its last validation (`check_val_every_n_epoch`, `val_check_interval`,
    `max_steps`, an early stop), the final weights are validated once more.
    """

    _validated_step = -1

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember which weights were validated."""
        self._validated_step = trainer.global_step
        super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate the final weights if they were not; checkpoints come after all other hooks."""
        if not trainer.enable_validation:
            return
        if ends_here(trainer) and self._validated_step != trainer.global_step:
            _validate(trainer)
        super().on_train_epoch_end(trainer, pl_module)


class LastCheckpoint(_Keep):
    """`last.ckpt`: the weights as last validated and, at the end, as the run ended with them."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the final state whatever the interval of validation says.

        Here and not when training has ended: a state saved there would begin with an empty epoch
        when it is resumed, and an average of weights has replaced the raw ones by then.
        """
        super().on_train_epoch_end(trainer, pl_module)
        if ends_here(trainer) and self._last_global_step_saved != trainer.global_step:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


def checkpoint_callbacks(monitor: str, mode: Literal["max", "min"], folder: Path) -> list[Callback]:
    """Keep `best.ckpt` and `last.ckpt` of a run, in that order.

    Args:
        monitor: the validation figure that picks the best.
        mode: whether the most or the least of it is the best.
        folder: of the run.
    """
    place = folder / "checkpoints"
    return [BestCheckpoint(BEST, place, monitor, mode), LastCheckpoint(LAST, place, None, mode)]


def newest_checkpoint(trainer: L.Trainer) -> str:
    """Path of the checkpoint that this run wrote last, empty if there is none."""
    paths = [Path(one.best_model_path) for one in _kept(trainer) if one._last_checkpoint_saved]
    there = [path for path in paths if path.is_file()]
    return str(max(there, key=lambda path: path.stat().st_mtime_ns)) if there else ""


def best_checkpoint(trainer: L.Trainer) -> tuple[str, float | None]:
    """Path and figure of the best checkpoint of this run; empty and None if none was written.

    A resumed run knows the path of the earlier run's best as well, but that is not its own.
    """
    for one in _kept(trainer):
        if one.monitor is not None and one.best_model_score is not None:
            return one.best_model_path, float(one.best_model_score)
    return "", None


def ends_here(trainer: L.Trainer) -> bool:
    """Whether the epoch that is ending is the run's last, for whatever reason."""
    steps = trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps
    epochs = trainer.max_epochs not in (None, -1) and (
        trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
    )
    return bool(steps or epochs or trainer.should_stop)


def _kept(trainer: L.Trainer) -> list[_Keep]:
    callbacks: list[Any] = list(getattr(trainer, "callbacks", []))
    return [one for one in callbacks if isinstance(one, _Keep)]


def _validate(trainer: L.Trainer) -> None:
    """Validate within training, as Lightning's own loop does between two steps."""
    loop = trainer.fit_loop.epoch_loop
    loop._batches_that_stepped -= 1  # as it logs what belongs to the step that is over
    trainer.validating = True
    loop.val_loop.run()
    trainer.training = True
    loop._batches_that_stepped += 1
