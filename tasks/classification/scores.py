"""How a classifier is scored: running metrics, and what the report shows of a test."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from tasks.engine.gathering import gather_lists
from tasks.engine.predictions import NO_PREDICTION, predictions
from tasks.reporting.calibration import BINS, ConfidenceBins, confidence_bins

_FIRST = 5


class StageScores(nn.Module):
    """The figures of one evaluation stage, reduced over all processes at its end.

    Args:
        num_classes: number of classes; with more than five there is top-5, too.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.bins = SummedBins()
        self.first = MeanMetric() if num_classes > _FIRST else None
        self.loss = MeanMetric(nan_strategy="disable")  # others would leave such losses out
        self.calibration = ConfidenceBins(torch.zeros(3, BINS, dtype=torch.float64))

    def update(self, logits: Tensor, labels: Tensor, losses: Tensor) -> None:
        """Add a batch: logits (N, classes), labels (N,), losses (N,)."""
        predicted, confidence = predictions(logits)
        self.bins.update(confidence, predicted == labels)
        if self.first is not None:
            among = (logits.topk(_FIRST).indices == labels[:, None]).any(1)
            self.first.update((among & (predicted != NO_PREDICTION)).float())
        self.loss.update(losses)

    def finish(self) -> dict[str, float]:
        """The values over everything seen, those that say most first, and a fresh start.

        `calibration` then holds the bins of confidence of what was seen.
        """
        self.calibration = ConfidenceBins(self.bins.compute())
        first = {} if self.first is None else {"top5": float(self.first.compute())}
        values = {
            "top1": self.calibration.accuracy,
            **first,
            "ece": self.calibration.error,
            "loss": float(self.loss.compute()),
        }
        for metric in (self.bins, self.first, self.loss):
            if metric is not None:
                metric.reset()
        return values


class SummedBins(Metric):
    """Predictions in bins of confidence, summed over batches and processes."""

    full_state_update = False
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        zeros = torch.zeros(3, BINS, dtype=torch.float64)
        self.add_state("sums", zeros, dist_reduce_fx="sum")

    def update(self, confidence: Tensor, right: Tensor) -> None:
        """Add a batch (see `confidence_bins`)."""
        self.sums += confidence_bins(confidence, right)

    def compute(self) -> Tensor:
        """The sums over everything seen."""
        return self.sums.clone()


class TestRecord(nn.Module):
    """What the report shows of a test: confusions and the worst predictions.

    Args:
        num_classes: number of classes.
        keep: how many of the predictions with the highest loss are kept, with their images.
    """

    __test__ = False  # pytest would take the name for a test class

    def __init__(self, num_classes: int, keep: int = 24) -> None:
        super().__init__()
        self.confusion = MulticlassConfusionMatrix(num_classes)
        self.keep = keep
        self.worst: list[dict[str, Any]] = []

    def update(self, images: Tensor, logits: Tensor, labels: Tensor, losses: Tensor) -> None:
        """Add a batch: images (N, H, W, 3), uint8, logits (N, classes), labels and losses (N,)."""
        predicted, confidence = predictions(logits)
        named = predicted != NO_PREDICTION
        self.confusion.update(predicted[named], labels[named])
        for i in losses.topk(min(self.keep, len(losses))).indices.tolist():
            if named[i] and predicted[i] != labels[i]:
                self.worst.append(
                    {
                        "loss": float(losses[i]),
                        "image": images[i].cpu(),
                        "label": int(labels[i]),
                        "predicted": int(predicted[i]),
                        "confidence": float(confidence[i]),
                    }
                )
        self._trim()

    def gather(self) -> None:
        """Bring the worst predictions of all processes together; each process must call it."""
        self.worst = gather_lists(self.worst)
        self._trim()

    def _trim(self) -> None:
        self.worst.sort(key=lambda item: -item["loss"])
        del self.worst[self.keep :]
