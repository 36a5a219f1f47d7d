"""A model under evaluation, and what scores it."""

from dataclasses import dataclass

from tasks.data.loaders import TaskData
from tasks.engine.classifier import Classifier
from tasks.engine.task import Task
from tasks.robustness.published.imagenet import ImageNetSets
from tasks.robustness.published.subsets import class_subset
from tasks.robustness.scoring.evaluations import SUBSETS
from tasks.robustness.scoring.scores import (
    ClassifierScore,
    LabelSpaces,
    TaskScore,
)


@dataclass(frozen=True)
class Subject:
    """A model under evaluation.

    Args:
        name: for reports and folders, unlike that of any other.
        task: holds the model with its weights, and scores it.
    """

    name: str
    task: Task


def score_of(subject: Subject, data: TaskData) -> ClassifierScore | TaskScore:
    """What scores a model on the images of some data."""
    if not isinstance(subject.task, Classifier):
        return TaskScore(subject.task)
    if not isinstance(data, ImageNetSets):
        return ClassifierScore(subject.task, LabelSpaces())
    subsets = {name: class_subset(space) for name, (_, space) in SUBSETS.items()}
    spaces = LabelSpaces(data.outputs, len(data.all_names), subsets)
    return ClassifierScore(subject.task, spaces)
