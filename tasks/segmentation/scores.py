"""How a segmentation is scored: one confusion matrix over all pixels."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

from tasks.segmentation.model import IGNORED


class PixelConfusion(Metric):
    """Counts of pixels by true and predicted class, summed over images and processes.

    Args:
        num_classes: C.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        zeros = torch.zeros(num_classes, num_classes, dtype=torch.long)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, predicted: Tensor, labels: Tensor) -> None:
        """Add images: labels of every pixel, any equal shapes; `IGNORED` pixels do not count."""
        self.counts += pixel_counts(predicted, labels, self.num_classes)

    def compute(self) -> Tensor:
        """(C, C), int64; rows are the truth."""
        return self.counts


@dataclass(frozen=True)
class Figures:
    """What a confusion matrix says; shares from 0 to 1, nan where a class did not occur.

    Args:
        iou: per class: intersection over union of truth and prediction.
        accuracy: per class: share of its pixels that were found.
        miou: mean of `iou` over the classes that occur in truth or prediction.
        macc: mean of `accuracy` over the classes that occur in the truth.
        aacc: share of all pixels that were labelled right.
    """

    iou: Tensor
    accuracy: Tensor
    miou: float
    macc: float
    aacc: float

    def means(self) -> dict[str, float]:
        """The figures over all classes, by name."""
        return {"miou": self.miou, "macc": self.macc, "aacc": self.aacc}


def pixel_counts(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Confusion matrix (C, C) of some pixels; rows are the truth."""
    counted = labels != IGNORED
    cells = labels[counted].long() * num_classes + predicted[counted].long()
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)


def figures(counts: Tensor) -> Figures:
    """The figures of a confusion matrix, as mmsegmentation's `IoUMetric` defines them."""
    counts = counts.double()
    hits, truth, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    iou, accuracy = hits / (truth + predicted - hits), hits / truth
    return Figures(
        iou=iou,
        accuracy=accuracy,
        miou=float(iou.nanmean()),
        macc=float(accuracy.nanmean()),
        aacc=float(hits.sum() / truth.sum()),
    )
