"""What a classifier said of every image of a set, in a few bytes each."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BINS = 15
"""Of confidence, in reliability diagrams and the calibration error."""
NO_PREDICTION = -1
"""Predicted class where a logit is no number."""


@dataclass(frozen=True)
class Outcomes:
    """One entry per image, in the order of the set.

    Args:
        index: (n,), int32, place in the set.
        label: (n,), int16, true class.
        predicted: (n,), int16; `NO_PREDICTION` where a logit is no number, which is wrong.
        confidence: (n,), float32, probability of the predicted class; 0 without a prediction.
    """

    index: NDArray[np.int32]
    label: NDArray[np.int16]
    predicted: NDArray[np.int16]
    confidence: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def right(self) -> NDArray[np.float64]:
        """(n,): 1 where the prediction is right, else 0."""
        right: NDArray[np.float64] = np.equal(self.label, self.predicted).astype(np.float64)
        return right

    @property
    def broken(self) -> int:
        """Number of images without a prediction."""
        return int((self.predicted == NO_PREDICTION).sum())

    def of(self, chosen: NDArray[np.bool_]) -> "Outcomes":
        """Some of the images."""
        return Outcomes(*(getattr(self, entry.name)[chosen] for entry in fields(self)))

    def reliability(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Per bin of confidence: images, mean confidence and accuracy (nan where it is empty)."""
        place = np.minimum((self.confidence * BINS).astype(int), BINS - 1)
        counts = np.bincount(place, minlength=BINS).astype(np.float64)
        with np.errstate(invalid="ignore"):
            confidence = np.bincount(place, self.confidence, BINS) / counts
            accuracy = np.bincount(place, self.right, BINS) / counts
        return counts, confidence, accuracy


def outcomes_of(logits: Tensor, labels: Tensor, indices: Sequence[int]) -> Outcomes:
    """Outcomes of a batch.

    Args:
        logits: (N, classes), float32; minus infinity for a class that the model cannot name.
        labels: (N,).
        indices: (N,), place of each image in its set.
    """
    broken = torch.isnan(logits).any(1) | torch.isposinf(logits).any(1)
    broken |= torch.isneginf(logits).all(1)
    confidence, predicted = logits.softmax(1).max(1)
    return Outcomes(
        np.asarray(indices, np.int32),
        labels.cpu().numpy().astype(np.int16),
        predicted.masked_fill(broken, NO_PREDICTION).cpu().numpy().astype(np.int16),
        confidence.masked_fill(broken, 0).cpu().numpy().astype(np.float32),
    )


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """Batches as one, in the order of the set."""
    columns = {
        entry.name: np.concatenate([getattr(part, entry.name) for part in parts])
        for entry in fields(Outcomes)
    }
    order = np.argsort(columns["index"], kind="stable")
    return Outcomes(**{name: column[order] for name, column in columns.items()})
