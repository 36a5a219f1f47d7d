"""Evaluate models on corrupted images, or on the published variants of ImageNet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig

from tasks.build_evaluation import build_evaluation
from tasks.config.explicit import explicit_settings
from tasks.data.loaders import TaskData
from tasks.engine.finite_outputs import not_finite_notes
from tasks.engine.task import Task
from tasks.errors import SettingError
from tasks.modes.mode import Result
from tasks.modes.robustness_settings import evaluated
from tasks.modes.with_trainer import TrainerMode
from tasks.reporting.metrics import SHARE, Metric
from tasks.reporting.progress import joined
from tasks.reporting.provenance import Provenance
from tasks.robustness.data import CellData
from tasks.robustness.task import RobustnessTask


class Robustness(TrainerMode):
    """`mode=robustness`: the checkpoint, or several, or the newest run's."""

    takes_checkpoint = "several"

    @classmethod
    def with_checkpoint(cls, config: DictConfig) -> DictConfig:
        """The model, and where nothing else was asked for its run's data."""
        return evaluated(config)

    @classmethod
    def check(cls, config: DictConfig) -> None:
        """Refuse what would leave conditions in part: one counts as done with all its images."""
        if config.corruption is not None:
            raise SettingError(
                f"corruption={config.corruption} is for mode=test and mode=fit; with "
                f"mode=robustness choose corruptions=[{config.corruption.partition('/')[0]}]."
            )
        if config.trainer.limit_test_batches != 1.0:
            raise SettingError(
                f"trainer.limit_test_batches={config.trainer.limit_test_batches} would leave "
                "conditions in part and count them as done. Set limit=<images per set> instead."
            )

    @property
    def folder_group(self) -> str:
        """A folder of its own."""
        return "robustness"

    @property
    def protocol(self) -> Mapping[str, Any]:
        """What is evaluated, and how."""
        return self.evaluation.protocol

    @property
    def child_overrides(self) -> list[str]:
        """The checkpoint that was found, so that no other process looks for the newest run."""
        return [] if explicit_settings().has("ckpt") else [f"ckpt='{self.config.ckpt}'"]

    @property
    def evaluation(self) -> RobustnessTask:
        """The models under all conditions."""
        return cast(RobustnessTask, self.task)

    def build(self) -> tuple[TaskData, Task]:
        """The conditions and the models."""
        return build_evaluation(self.config)

    def opening(self) -> list[str]:
        """Models, conditions and the machine."""
        task, limit = self.evaluation, self.config.limit
        conditions = f"{len(task.cells)} condition{'s' if len(task.cells) != 1 else ''}"
        names = " and ".join(task.names)
        what = joined(
            f"{self.config.mode.name}: {names} on {task.data.name} under {conditions}",
            f"at most {limit:,} images each" if limit else None,
        )
        return [what, self._machine_line(), *self.notes]

    def run(self, provenance: Provenance) -> Result:  # noqa: ARG002
        """Evaluate under the conditions that are not done yet, and sum up all of them."""
        task, data = self.evaluation, cast(CellData, self.data)
        task.start(Path(self.trainer.default_root_dir), self.trainer.is_global_zero)
        if data.todo:
            self.trainer.test(task, datamodule=data, verbose=False)
        if not self.is_main_process:
            return self.finished(Result())
        facts: dict[str, int | float | str] = {
            "models": len(task.names),
            "cells": len(task.cells),
            "unreadable_samples": task.unreadable_images,
        }
        notes = [*task.remarks(), *not_finite_notes(self.trainer, {})]  # undefined ones are said
        result = Result(task.result_metrics(), ", ".join(task.checkpoints), facts, notes)
        measures = dict.fromkeys(name.split("/")[1] for name in result.metrics)
        result.declared = {name: Metric(name, SHARE) for name in measures}
        return self.finished(result)
