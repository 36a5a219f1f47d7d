"""How a model is scored on a cell: by what it says of every image, or by its task's own figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from tasks.engine.classifier import Classifier
from tasks.engine.gathering import gather_lists
from tasks.engine.task import Batch, Task
from tasks.robustness.cells import CLEAN, Cell
from tasks.robustness.published.subsets import ClassSubset
from tasks.robustness.scoring.outcomes import Outcomes, joined, outcomes_of

ALL = "all"
"""The label space of all classes of the evaluation."""


class CellScore(NamedTuple):
    """What a model did on one cell.

    Args:
        figures: by name.
        outcomes: of a classifier, by label space.
        images: number of images scored, over all processes.
        unknown: number of images left out because the model has not their class.
    """

    figures: dict[str, float]
    outcomes: dict[str, Outcomes]
    images: int
    unknown: int = 0


@dataclass(frozen=True)
class LabelSpaces:
    """How the classes of a model and those of the images belong together.

    Args:
        outputs: for every output of the model its number among the classes of the images; None:
            they are the same.
        count: number of classes of the images; without `outputs` it is not needed.
        subsets: sets of which only some classes are used, by the collection that needs them.
    """

    outputs: tuple[int, ...] | None = None
    count: int = 0
    subsets: Mapping[str, ClassSubset] = field(default_factory=dict)

    def expanded(self, logits: Tensor) -> Tensor:
        """Logits (N, classes of the images); minus infinity for one that the model has not."""
        if self.outputs is None:
            return logits
        wide = logits.new_full((len(logits), self.count), float("-inf"))
        wide[:, torch.tensor(self.outputs, device=logits.device)] = logits
        return wide

    def known(self, labels: Tensor) -> Tensor:
        """(N,), bool: whether the model can name the class."""
        if self.outputs is None:
            return torch.ones_like(labels, dtype=torch.bool)
        return torch.isin(labels, torch.tensor(self.outputs, device=labels.device))

    def subsets_of(self, cell: Cell) -> list[ClassSubset]:
        """The subsets in which a cell is scored, beside all classes."""
        if cell.collection == CLEAN:
            return list(self.subsets.values())
        return [s for name, s in self.subsets.items() if name == cell.collection]


class ClassifierScore:
    """Scores a classifier by its predictions.

    Args:
        task: offers `classify`.
        spaces: of labels.
    """

    def __init__(self, task: Classifier, spaces: LabelSpaces) -> None:
        self.task = task
        self.spaces = spaces
        self._parts: list[dict[str, Outcomes]] = []
        self._unknown = 0

    def add(self, batch: Batch, cell: Cell) -> None:
        """Score a batch of a cell."""
        if "image" not in batch:  # nothing readable in it
            return
        logits, labels = self.task.classify(batch)
        known, indices = self.spaces.known(labels), batch["index"]
        self._unknown += int((~known).sum())
        logits, labels, indices = self.spaces.expanded(logits)[known], labels[known], indices[known]
        part = {ALL: outcomes_of(logits, labels, indices)}
        for subset in self.spaces.subsets_of(cell):
            own = subset.own_labels(labels)
            inside = own >= 0
            part[subset.name] = outcomes_of(
                subset.masked(logits[inside]), own[inside], indices[inside]
            )
        self._parts.append(part)

    def finish(self) -> CellScore:
        """The figures of the cell, over all processes; every process must call it."""
        parts, self._parts = gather_lists(self._parts), []
        unknown, self._unknown = sum(gather_lists([self._unknown])), 0
        spaces = dict.fromkeys(space for part in parts for space in part)
        outcomes = {space: joined([part[space] for part in parts]) for space in spaces}
        images = len(outcomes[ALL]) if outcomes else 0
        figures = classifier_figures(outcomes[ALL]) if images else {}
        for space, own in outcomes.items():
            if space != ALL and len(own):
                figures[f"top1_among_{space}"] = classifier_figures(own)["top1"]
        return CellScore(figures, outcomes, images, unknown)


class TaskScore:
    """Scores a model of any task by the figures of that task's own test."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._images = 0

    def add(self, batch: Batch, cell: Cell) -> None:  # noqa: ARG002 - all cells are alike
        """Score a batch."""
        self._images += self.task.sample_count(batch)
        self.task.shared_step({**batch, "unreadable": []}, "test")

    def finish(self) -> CellScore:
        """The figures of the cell, over all processes; every process must call it."""
        images, self._images = sum(gather_lists([self._images])), 0
        return CellScore(self.task.compute_metrics("test") if images else {}, {}, images)


def classifier_figures(outcomes: Outcomes) -> dict[str, float]:
    """Top-1, calibration error and mean confidence of at least one image."""
    bins = outcomes.calibration
    return {"top1": bins.accuracy, "ece": bins.error, "confidence": bins.confidence}
