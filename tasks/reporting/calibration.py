"""How far a classifier's confidence is from its accuracy (arXiv 1706.04599)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BINS = 15
"""Of confidence, in reliability diagrams and the calibration error."""
Floats = NDArray[np.float64]


def confidence_bins(confidence: Tensor, right: Tensor) -> Tensor:
    """Sums over predictions in bins of equal width, of confidences from 0 to 1.

    Args:
        confidence: (N,), of the predicted classes; 1 belongs to the last bin.
        right: (N,), bool, whether each prediction is right.

    Returns:
        (3, BINS), float64: number of predictions, their summed confidence, how many are right.
    """
    place = (confidence * BINS).long().clamp_(0, BINS - 1)
    values = torch.stack([torch.ones_like(confidence), confidence, right.to(confidence)]).double()
    return values.new_zeros(3, BINS).index_add_(1, place, values)


@dataclass(frozen=True)
class ConfidenceBins:
    """What sums of `confidence_bins` say; nan where there is no prediction.

    Args:
        sums: (3, BINS).
    """

    sums: Tensor

    @property
    def images(self) -> Floats:
        """(BINS,): number of predictions in each bin."""
        images: Floats = self._plain[0]
        return images

    @property
    def bin_confidence(self) -> Floats:
        """(BINS,): mean confidence in each bin."""
        return _ratio(self._plain[1], self.images)

    @property
    def bin_accuracy(self) -> Floats:
        """(BINS,): share of right predictions in each bin."""
        return _ratio(self._plain[2], self.images)

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return float(_ratio(self._plain[2].sum(), self.images.sum()))

    @property
    def confidence(self) -> float:
        """Mean confidence."""
        return float(_ratio(self._plain[1].sum(), self.images.sum()))

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of confidence from accuracy, over images."""
        gaps = np.abs(np.nan_to_num(self.bin_confidence - self.bin_accuracy))
        return float(_ratio((self.images * gaps).sum(), self.images.sum()))

    @property
    def _plain(self) -> Floats:
        plain: Floats = self.sums.cpu().numpy()
        return plain


def _ratio(part: Floats, whole: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        ratio: Floats = np.asarray(part / whole, np.float64)
    return ratio
