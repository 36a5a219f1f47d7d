"""Train and validate, test the best checkpoint, and report."""

from math import isfinite, nan

from tasks.engine.checkpoints import best_checkpoint, newest_checkpoint
from tasks.engine.finite_outputs import not_finite_notes
from tasks.engine.positions import saved_movements
from tasks.modes.mode import Result
from tasks.modes.with_trainer import TrainerMode
from tasks.reporting.provenance import Provenance


class Fit(TrainerMode):
    """`mode=fit`: from the initial weights, or resumed from `ckpt`."""

    trains = True

    def run(self, provenance: Provenance) -> Result:  # noqa: ARG002
        """Train, then test."""
        result = self.train_and_test()
        result = self.finished(result)
        if self.is_main_process:
            result.movements = saved_movements(self.trainer, self.task)
        return result

    def train_and_test(self) -> Result:
        """Train and validate, then test the best checkpoint."""
        trainer, data = self.trainer, self.data
        trainer.fit(self.task, datamodule=data, ckpt_path=self.config.ckpt, weights_only=True)
        result = Result(metrics=self._best_metric())
        result.checkpoint, result.notes = self._to_test()
        if result.checkpoint:
            self.task.load_weights(result.checkpoint)
        result.metrics |= self.test_metrics()
        result.notes += not_finite_notes(trainer, result.metrics)
        result.facts = {
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "train_samples": data.count("train"),
            "val_samples": data.count("val"),
            **self.test_facts(),
        }
        result.notes += self.data_notes("val", data.test_split)
        return result

    def _best_metric(self) -> dict[str, float]:
        """The validation metric of the best checkpoint, by its name."""
        _, score = best_checkpoint(self.trainer)
        if score is None:
            return {}
        return {self.task.monitor: score if isfinite(score) else nan}  # never defined

    def _to_test(self) -> tuple[str | None, list[str]]:
        """The checkpoint to test after training, and what has to be said of the choice."""
        best, _ = best_checkpoint(self.trainer)
        if best:
            return best, []
        last = newest_checkpoint(self.trainer)
        if last:
            return last, [
                "nothing was validated (trainer.limit_val_batches=0): the final weights were tested"
            ]
        limits = f"trainer.max_epochs={self.trainer.max_epochs}"
        if self.trainer.max_steps != -1:
            limits += f", trainer.max_steps={self.trainer.max_steps}"
        return self.config.ckpt, [f"nothing was left to train within {limits}"]
