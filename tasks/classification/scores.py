"""How a classifier is scored: running metrics, and what the report shows of a test."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
)

from tasks.training.gathering import gather_lists

CALIBRATION_BINS = 15


def running_metrics(num_classes: int) -> MetricCollection:
    """Top-1, top-5 (with more than five classes) and calibration error.

    Args:
        num_classes: number of classes.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        "top1": MulticlassAccuracy(num_classes, average="micro"),
        "ece": MulticlassCalibrationError(num_classes, n_bins=CALIBRATION_BINS, norm="l1"),
    }
    if num_classes > 5:
        metrics["top5"] = MulticlassAccuracy(num_classes, average="micro", top_k=5)
    return MetricCollection(metrics, compute_groups=False)


class StageScores(nn.Module):
    """The metrics of one evaluation stage, reduced over all processes at its end."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.metrics = running_metrics(num_classes)
        self.loss = MeanMetric()

    def update(self, logits: Tensor, labels: Tensor, losses: Tensor) -> None:
        """Add a batch: logits (N, classes), labels (N,), losses (N,)."""
        self.metrics.update(logits.float().softmax(-1), labels)
        self.loss.update(losses)

    def finish(self) -> dict[str, Tensor]:
        """The values over everything seen, and a fresh start."""
        values = {**self.metrics.compute(), "loss": self.loss.compute()}
        self.metrics.reset()
        self.loss.reset()
        return values


class Reliability(Metric):
    """Counts, summed confidences and correct predictions per confidence bin, over all processes."""

    counts: Tensor
    confidences: Tensor
    correct: Tensor

    def __init__(self, bins: int = CALIBRATION_BINS) -> None:
        super().__init__()
        self.bins = bins
        for name in ("counts", "confidences", "correct"):
            self.add_state(name, torch.zeros(bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch of probabilities (N, classes) and labels (N,)."""
        confidence, predicted = probabilities.max(-1)
        place = (confidence * self.bins).long().clamp_(0, self.bins - 1)
        self.counts.index_add_(0, place, torch.ones_like(confidence, dtype=torch.float64))
        self.confidences.index_add_(0, place, confidence.double())
        self.correct.index_add_(0, place, (predicted == labels).double())

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """Per bin: count, mean confidence, accuracy (nan where the bin is empty)."""
        return self.counts, self.confidences / self.counts, self.correct / self.counts


class TestRecord(nn.Module):
    """What the report shows of a test: confusions, reliability and the worst predictions.

    Args:
        num_classes: number of classes.
        keep: how many of the predictions with the highest loss are kept, with their images.
    """

    __test__ = False  # pytest would take the name for a test class

    def __init__(self, num_classes: int, keep: int = 24) -> None:
        super().__init__()
        self.confusion = MulticlassConfusionMatrix(num_classes)
        self.reliability = Reliability()
        self.keep = keep
        self.worst: list[dict[str, Any]] = []

    def update(self, images: Tensor, logits: Tensor, labels: Tensor, losses: Tensor) -> None:
        """Add a batch: images (N, H, W, 3), uint8, logits (N, classes), labels and losses (N,)."""
        probabilities = logits.float().softmax(-1)
        self.confusion.update(probabilities, labels)
        self.reliability.update(probabilities, labels)
        confidence, predicted = probabilities.max(-1)
        for i in losses.topk(min(self.keep, len(losses))).indices.tolist():
            if predicted[i] != labels[i]:
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
