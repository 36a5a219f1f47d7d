"""Image classification as a task."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torch.nn import functional as F

from dcls.backbone import Backbone
from dcls.dtypes import widened
from tasks.classification.data import ClassificationData
from tasks.classification.report import TestSummary, report_sections
from tasks.classification.scores import StageScores, TestRecord
from tasks.classification.settings import ClassificationSettings
from tasks.data.pixels import Pixels
from tasks.engine.benchmarking import BenchmarkSizes, random_bytes
from tasks.engine.classifier import Classifier
from tasks.engine.optimization import Optimization
from tasks.engine.task import Batch, Stage
from tasks.errors import SettingError
from tasks.reporting.metrics import Metric
from tasks.reporting.page import Section


@dataclass(frozen=True)
class Mixing:
    """How training targets are softened (arXiv 1710.09412, 1905.04899, 1512.00567).

    Args:
        mixup: alpha of mixup's beta distribution; 0: off.
        cutmix: alpha of cutmix's; 0: off. With both on, each batch draws one of them.
        smoothing: label smoothing.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if min(self.mixup, self.cutmix) < 0 or not 0 <= self.smoothing < 1:
            raise SettingError(
                f"task.mixing: mixup={self.mixup} and cutmix={self.cutmix} must not be negative, "
                f"smoothing={self.smoothing} must lie within [0, 1)."
            )

    @property
    def on(self) -> bool:
        """Whether batches are mixed at all."""
        return self.mixup > 0 or self.cutmix > 0


class ClassificationTask(Classifier):
    """Trains a backbone with soft or hard targets; scores top-1, top-5, loss and calibration.

    Args:
        backbone: gives logits (N, classes).
        data: names the classes, and says how images are normalised and erased.
        optimization: how parameters are updated.
        monitor: the figure that picks the best checkpoint.
        mixing: arguments of `Mixing`: mixup, cutmix and label smoothing of training.
        channels_last: memory layout of images; faster for depthwise convolutions.
    """

    settings_model = ClassificationSettings

    derived_settings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "dataset.image_size": ("dataset.recipe.image_size",)
    }
    benchmark_sizes = BenchmarkSizes(224, (1, 8), 1000)
    single_label = True
    metrics = (
        Metric("top1", "%", "higher", headline=True),
        Metric("top5", "%", "higher"),
        Metric("ece", "%", "lower"),
        Metric("loss", better="lower"),
    )
    clamps_as_released = True

    def __init__(
        self,
        backbone: Backbone,
        data: ClassificationData,
        optimization: Optimization,
        monitor: str,
        mixing: dict[str, float],
        channels_last: bool = True,
    ) -> None:
        super().__init__(optimization, monitor)
        classes = len(data.class_names)
        self.backbone = backbone
        self.class_names = data.class_names
        self.mixing = Mixing(**mixing)
        self.pixels = Pixels(data.recipe.mean, data.recipe.std, channels_last)
        self._eraser = (
            RandomErasing(data.recipe.erase, mode="pixel", max_count=1)
            if data.recipe.erase
            else None
        )
        self.val_scores = StageScores(classes)
        self.test_scores = StageScores(classes)
        self.record = TestRecord(classes)
        self._mixer = (
            Mixup(
                self.mixing.mixup,
                self.mixing.cutmix,
                label_smoothing=self.mixing.smoothing,
                num_classes=classes,
            )
            if self.mixing.on
            else None
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of normalised images (N, 3, H, W)."""
        logits: Tensor = self.backbone(images.contiguous(memory_format=self.pixels.memory_format))
        return logits

    def on_fit_start(self) -> None:
        """Let this process erase other places than the others, which share its seed."""
        if self.global_rank:
            random.seed(f"{random.getrandbits(64)}/{self.global_rank}")

    def shared_step(self, batch: Batch, stage: Stage) -> Tensor:
        """Loss of a batch; evaluation stages also score it."""
        self.note_unreadable(batch)
        if "image" not in batch:  # nothing readable in it
            return self.no_loss()
        if stage == "train":
            loss = self._train_loss(batch)
            self.log("train/loss", loss, on_step=True, on_epoch=False, prog_bar=True)
            return loss
        logits, labels = self.classify(batch)
        losses = F.cross_entropy(logits, labels, reduction="none")
        self._scores(stage).update(logits, labels, losses)
        if stage == "test":
            self.record.update(batch["image"], logits, labels, losses)
        return losses.mean()

    def classify(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (N, classes), float32 at least, and labels (N,) of a batch of evaluation."""
        return widened(self(self._normalised(batch["image"]))), batch["label"]

    def random_batch(self, count: int, size: int, draw: torch.Generator) -> Batch:
        """Images with a label each."""
        labels = torch.randint(len(self.class_names), (count,), generator=draw)
        return {"image": random_bytes(count, size, draw), "label": labels}

    def compute_metrics(self, stage: Stage) -> dict[str, float]:
        """Top-1, top-5, calibration error and loss."""
        return self._scores(stage).finish()

    def on_test_epoch_end(self) -> None:
        """Log the test's figures and gather what the report shows."""
        self.log_dict(
            {f"test/{name}": value for name, value in self.compute_metrics("test").items()}
        )
        self.record.gather()

    def sections(self) -> list[Section]:
        """Confusions, classes, calibration and the worst predictions of the last test."""
        return report_sections(
            TestSummary(
                class_names=self.class_names,
                confusion=self.record.confusion.compute().cpu().numpy(),
                calibration=self.test_scores.calibration,
                worst=self.record.worst,
            )
        )

    def _normalised(self, images: Tensor) -> Tensor:
        normalised: Tensor = self.pixels(images)
        return normalised

    def _erased(self, images: Tensor) -> Tensor:
        if self._eraser is None:
            return images
        self._eraser.device = images.device
        erased: Tensor = self._eraser(images)
        return erased

    def _train_loss(self, batch: Batch) -> Tensor:
        images, labels = self._erased(self._normalised(batch["image"])), batch["label"]
        even = len(images) - len(images) % 2  # mixing pairs the images of a batch
        if self._mixer is None or even == 0:
            return F.cross_entropy(
                widened(self(images)), labels, label_smoothing=self.mixing.smoothing
            )
        images, targets = self._mixer(images[:even], labels[:even])
        return F.cross_entropy(widened(self(images)), targets)

    def _scores(self, stage: Stage) -> StageScores:
        return self.test_scores if stage == "test" else self.val_scores
