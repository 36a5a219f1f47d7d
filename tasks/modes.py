"""What a run can do (setting `mode`): each mode is a function from a built job to its outcome."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tasks.engine.finite_outputs import not_finite_notes

if TYPE_CHECKING:
    from tasks.build import Job
    from tasks.data.loaders import Split, TaskData
    from tasks.robustness.data import CellData
    from tasks.robustness.task import RobustnessTask


@dataclass
class Outcome:
    """What a mode leaves behind.

    Args:
        metrics: figures by name, such as `test/top1`.
        checkpoint: the file that was tested.
        facts: how many samples were used, and the like.
        notes: remarks for the reader.
        records: see `tasks.reporting.results.Results`.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    checkpoint: str | None = None
    facts: dict[str, int | float | str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)


def fit(job: "Job") -> Outcome:
    """Train and validate, then test the best checkpoint."""
    trainer, task, data = job.trainer, job.task, job.data
    trainer.fit(task, datamodule=data, ckpt_path=job.checkpoint, weights_only=True)
    outcome = Outcome(metrics=job.best_scores())
    outcome.checkpoint, outcome.notes = job.to_test()
    if outcome.checkpoint:
        job.load_weights(outcome.checkpoint)
    outcome.metrics |= _test(job)
    outcome.notes += not_finite_notes(trainer, outcome.metrics)
    outcome.facts = {
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "train_samples": data.count("train"),
        "val_samples": data.count("val"),
        **_test_facts(job),
    }
    outcome.notes += _notes(data, "val", data.test_split)
    return outcome


def test(job: "Job") -> Outcome:
    """Test the given checkpoint, which is loaded already."""
    metrics = _test(job)
    notes = [*_notes(job.data, job.data.test_split), *not_finite_notes(job.trainer, metrics)]
    return Outcome(metrics, job.checkpoint, _test_facts(job), notes)


def robustness(job: "Job") -> Outcome:
    """Evaluate models on the cells that are not done yet, and sum up all of them."""
    task, data = cast("RobustnessTask", job.task), cast("CellData", job.data)
    folder = Path(job.trainer.default_root_dir)
    task.start(folder, job.trainer.is_global_zero)
    if data.todo:
        job.trainer.test(task, datamodule=data, verbose=False)
    if not job.trainer.is_global_zero:
        return Outcome()
    facts: dict[str, int | float | str] = {
        "models": len(task.names),
        "cells": len(task.cells),
        "unreadable_samples": task.unreadable_images,
    }
    notes = [*task.remarks(), *not_finite_notes(job.trainer, {})]  # undefined figures are remarked
    return Outcome(task.metrics(), ", ".join(task.checkpoints), facts, notes)


def _test(job: "Job") -> dict[str, float]:
    """The figures of the test, those of `main_figures` first."""
    (metrics,) = job.trainer.test(job.task, datamodule=job.data, verbose=False)
    first = [f"test/{name}" for name in job.task.main_figures]
    names = [*(name for name in first if name in metrics), *metrics]
    return {name: float(metrics[name]) for name in names}


def _notes(data: "TaskData", *splits: "Split") -> list[str]:
    """What must be said of the figures of these splits, the last of which was tested."""
    notes = [note for split in splits for note in data.notes(split)]
    if splits[-1] == "val":
        notes.append(
            "figures under test/ are of the validation split: "
            f"dataset={data.name} has no test split"
        )
    return list(dict.fromkeys(notes))


def _test_facts(job: "Job") -> dict[str, int | float | str]:
    data = job.data
    altered = {} if data.alteration is None else {"corruption": str(data.alteration)}
    return {
        "test_samples": data.count(data.test_split),
        "test_split": data.test_split,
        **altered,
    }


ROBUSTNESS = "robustness"
MODES: dict[str, Callable[["Job"], Outcome]] = {
    "fit": fit,
    "test": test,
    ROBUSTNESS: robustness,
}
CORRUPT = "corrupt"
"""The mode without a model: it only writes images."""
BENCHMARK = "benchmark"
"""The mode without data: it only times models."""
ALL_MODES = (*MODES, CORRUPT, BENCHMARK)
