"""The base of tasks that name one class per image."""

from torch import Tensor

from tasks.data.pixels import Pixels
from tasks.engine.task import Batch, Task


class Classifier(Task):
    """A task that names one class per image, so that each prediction can be scored by itself.

    Attributes:
        pixels: how it normalises images, of bytes.
    """

    pixels: Pixels

    def classify(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (N, classes) and labels (N,) of a batch."""
        raise NotImplementedError
