"""One step of a pass: what is timed."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from dcls.positions import clamp_positions
from tasks.benchmark.models import Model
from tasks.engine.task import Batch

Autocast = Callable[[], AbstractContextManager[Any]]


class InferenceStep:
    """A forward pass of the network in evaluation mode, without gradients.

    Args:
        model: what is called.
        images: what its network takes.
        autocast: makes the context of the run's precision.
    """

    def __init__(self, model: Model, images: Any, autocast: Autocast) -> None:
        self.model = model
        self.images = images
        self.autocast = autocast

    def __call__(self) -> None:
        """Do the step; on an accelerator it may return before its end."""
        self.model.train(False)
        with torch.inference_mode(), self.autocast():
            self.model.network(self.images)


class TrainingStep:
    """The task's loss, its gradients, the optimizer's update, positions clamped, gradients freed.

    Without what Lightning adds, such as clipping gradients and logging.

    Args:
        model: what is trained.
        batch: as of the task's loader.
        autocast: makes the context of the run's precision.
    """

    def __init__(self, model: Model, batch: Batch, autocast: Autocast) -> None:
        self.model = model
        self.batch = batch
        self.autocast = autocast

    def __call__(self) -> None:
        """Do the step; on an accelerator it may return before its end."""
        task, optimizer = self.model.task, self.model.optimizer
        self.model.train(True)
        try:
            with self.autocast():
                loss = task.training_step(self.batch, 0)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            clamp_positions(task)
        finally:
            optimizer.zero_grad()
