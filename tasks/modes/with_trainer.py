"""What the modes `fit` and `test` share: a task and its data, run by a Lightning trainer."""

from pathlib import Path
from subprocess import Popen
from typing import Any, ClassVar

import lightning as L
from omegaconf import DictConfig
from torch import nn

from tasks.build import build_task, build_trainer_for
from tasks.build_corruption import build_altered_data
from tasks.data.loaders import Split, TaskData
from tasks.engine.gathering import gather_lists
from tasks.engine.task import Task
from tasks.modes.mode import Mode, Result
from tasks.reporting.metrics import declared
from tasks.reporting.progress import joined


class TrainerMode(Mode):
    """A mode in which a trainer runs a task on its data.

    Args:
        config: the settings.

    Attributes:
        data: the splits.
        task: the model, and how it is trained and scored.
        trainer: runs the loops; there from `start` on.
        notes: what was set otherwise than by default, in words.
    """

    trains: ClassVar[bool] = False
    trainer: L.Trainer

    def __init__(self, config: DictConfig) -> None:
        super().__init__(config)
        self.data: TaskData
        self.task: Task
        self.data, self.task = self.build()
        self.notes: list[str] = []

    def build(self) -> tuple[TaskData, Task]:
        """The data and the task; raises for settings and files that do not fit."""
        data = build_altered_data(self.config, self.trains)
        return data, build_task(self.config, data)

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes results."""
        return bool(self.trainer.is_global_zero)

    @property
    def children(self) -> list[Popen[bytes]]:
        """The other processes of a distributed run."""
        return list(getattr(self.trainer.strategy.launcher, "procs", []))

    def start(self, folder: Path) -> None:
        """Build the trainer."""
        self.trainer, self.notes = build_trainer_for(
            self.config, self.data, self.task, folder, self.trains
        )

    def opening(self) -> list[str]:
        """The model, the data and the machine."""
        model = f"{self.config.backbone.name} ({parameter_count(self.task)})"
        what = f"{self.config.mode.name}, task={self.config.task.name}"
        return [f"{what}: {model}, {self._data_line()}", self._machine_line(), *self.notes]

    def finished(self, result: Result) -> Result:
        """A result with what all runs with a trainer have: notes, counts and the task's report."""
        result.notes += self.notes
        result.declared = result.declared or declared(self.task.metrics)
        result.facts.setdefault("unreadable_samples", self.unreadable_count())
        result.sections, result.headline = self.task.sections(), self.task.headline()
        return result

    def unreadable_count(self) -> int:
        """Samples that could not be read, over all processes; every process must call it."""
        return len(set(gather_lists([*self.task.unreadable])))

    def test_metrics(self) -> dict[str, float]:
        """Test, and return the metrics, those that say most first."""
        (metrics,) = self.trainer.test(self.task, datamodule=self.data, verbose=False)
        first = [f"test/{name}" for name in self.task.headline_metrics]
        names = [*(name for name in first if name in metrics), *metrics]
        return {name: float(metrics[name]) for name in names}

    def test_facts(self) -> dict[str, int | float | str]:
        """What was tested, and how much of it."""
        data = self.data
        altered = {} if data.alteration is None else {"corruption": str(data.alteration)}
        return {
            "test_samples": data.count(data.test_split),
            "test_split": data.test_split,
            **altered,
        }

    def data_notes(self, *splits: Split) -> list[str]:
        """What must be said of the metrics of these splits, the last of which was tested."""
        notes = [note for split in splits for note in self.data.notes(split)]
        if splits[-1] == "val":
            notes.append(
                "metrics under test/ are of the validation split: "
                f"dataset={self.data.name} has no test split"
            )
        return list(dict.fromkeys(notes))

    def _data_line(self) -> str:
        data = self.data
        counts = [f"{data.count(split):,} {split}" for split in data.splits_of(self.trains)]
        listed = " and ".join(filter(None, (", ".join(counts[:-1]), counts[-1])))
        altered = "" if data.alteration is None else f" under {data.alteration}"
        return f"{data.name} of {len(data.class_names):,} classes with {listed} images{altered}"

    def _machine_line(self) -> str:
        trainer: Any = self.trainer
        world = trainer.world_size
        return joined(
            f"device {trainer.strategy.root_device}",
            f"{world} processes" if world > 1 else None,
            f"precision {trainer.precision}",
            f"seed {self.config.seed}",
            f"batches of {self.data.loading.batch_size}",
        )


def parameter_count(model: nn.Module) -> str:
    """Number of parameters in words, shared ones once."""
    return f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.3g} M parameters"
