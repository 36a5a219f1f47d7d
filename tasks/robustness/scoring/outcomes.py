"""What a classifier said of every image of a set, in a few bytes each."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.engine.predictions import NO_PREDICTION, predictions
from tasks.reporting.calibration import ConfidenceBins, confidence_bins


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

    @property
    def calibration(self) -> ConfidenceBins:
        """The predictions in bins of confidence."""
        right = torch.from_numpy(np.equal(self.label, self.predicted))
        return ConfidenceBins(confidence_bins(torch.from_numpy(self.confidence.copy()), right))


def outcomes_of(logits: Tensor, labels: Tensor, indices: Sequence[int]) -> Outcomes:
    """Outcomes of a batch.

    Args:
        logits: (N, classes); minus infinity for a class that the model cannot name.
        labels: (N,).
        indices: (N,), place of each image in its set.
    """
    predicted, confidence = predictions(logits)
    return Outcomes(
        np.asarray(indices, np.int32),
        labels.cpu().numpy().astype(np.int16),
        predicted.cpu().numpy().astype(np.int16),
        confidence.cpu().numpy(),
    )


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """Batches as one, in the order of the set."""
    columns = {
        entry.name: np.concatenate([getattr(part, entry.name) for part in parts])
        for entry in fields(Outcomes)
    }
    order = np.argsort(columns["index"], kind="stable")
    return Outcomes(**{name: column[order] for name, column in columns.items()})
