"""Semantic segmentation as a task."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from dcls.backbone import Backbone
from tasks.data.images import RgbImage
from tasks.data.pixels import Pixels
from tasks.engine.benchmarking import BenchmarkSizes, random_bytes
from tasks.engine.network import NetworkTask
from tasks.engine.optimization import Optimization
from tasks.engine.task import Batch, Stage
from tasks.reporting.metrics import Metric
from tasks.reporting.page import Section
from tasks.segmentation.data import SegmentationData
from tasks.segmentation.examples import Examples
from tasks.segmentation.figures import overlaid
from tasks.segmentation.heads import Settings
from tasks.segmentation.inference import Inference, view_scales
from tasks.segmentation.model import Segmenter, load_weights
from tasks.segmentation.report import TestSummary, report_sections
from tasks.segmentation.scores import PixelConfusion, figures
from tasks.segmentation.settings import SegmentationSettings

Scene = Mapping[str, Any]


class SegmentationTask(NetworkTask):
    """Trains mmsegmentation's heads on a backbone; scores mIoU, aAcc, mAcc and every class's IoU.

    The keys of a checkpoint's state dict are mmsegmentation's.

    Args:
        backbone: built with `features=True`.
        data: names and colours the classes, and says how pixels are normalised.
        optimization: how parameters are updated.
        monitor: the figure that picks the best checkpoint.
        decode_head: settings of the head (see `complete_head`).
        auxiliary_head: settings of a head that only helps training, or None.
        classifier_std: of the initial weights of each head's last layer.
        inference: arguments of `Inference`; validation leaves out its test-time augmentation.
        channels_last: memory layout of images; faster for depthwise convolutions.
    """

    settings_model = SegmentationSettings

    derived_settings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "eval": ("task.inference.mode",),
        "tta": ("task.inference.tta", "dataset.recipe.tta"),
        "dataset.image_size": ("dataset.recipe.image_size",),
    }
    evaluation_settings = ("inference",)
    benchmark_sizes = BenchmarkSizes(512, (1, 2), 150)
    metrics = (
        Metric("miou", "%", "higher", headline=True),
        Metric("macc", "%", "higher"),
        Metric("aacc", "%", "higher"),
        Metric("iou", "%", "higher"),
        Metric("loss", better="lower"),
    )

    def __init__(
        self,
        backbone: Backbone,
        data: SegmentationData,
        optimization: Optimization,
        monitor: str,
        decode_head: Settings,
        auxiliary_head: Settings | None,
        classifier_std: float,
        inference: dict[str, Any],
        channels_last: bool = True,
    ) -> None:
        classes = len(data.class_names)
        segmenter = Segmenter(backbone, classes, decode_head, auxiliary_head, classifier_std)
        super().__init__(segmenter, optimization, monitor)
        self.class_names = data.class_names
        self.palette = data.palette
        self.inference = Inference(**inference)
        self.pixels = Pixels(data.recipe.mean, data.recipe.std, channels_last)
        self.val_confusion = PixelConfusion(classes)
        self.test_confusion = PixelConfusion(classes)
        self.examples = Examples()

    @property
    def segmenter(self) -> Segmenter:
        """The network, for inference and losses."""
        return cast(Segmenter, self.network)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes, H, W) of normalised images (N, 3, H, W)."""
        logits: Tensor = self.segmenter(images)
        return logits

    def load_weights(self, path: str) -> None:
        """Load a segmentation checkpoint, own or released; strict."""
        load_weights(self.segmenter, path)

    def shared_step(self, batch: Batch, stage: Stage) -> Tensor:
        """Loss of a training batch; evaluation stages only score it."""
        self.note_unreadable(batch)
        if stage != "train":
            self._score(batch.get("scenes", ()), stage)
            return torch.zeros((), device=self.device)
        if "image" not in batch:  # nothing readable in it
            return self.no_loss()
        images = self.pixels(batch["image"], batch["size"])
        losses = self.segmenter.losses(images, batch["label"].long())
        loss = torch.stack(list(losses.values())).sum()
        self.log("train/loss", loss, on_step=True, on_epoch=False, prog_bar=True)
        return loss

    @staticmethod
    def sample_count(batch: Batch) -> int:
        """Number of images in a batch of evaluation."""
        return len(batch.get("scenes", ()))

    def random_batch(self, count: int, size: int, draw: torch.Generator) -> Batch:
        """Images with a label per pixel."""
        labels = torch.randint(len(self.class_names), (count, size, size), generator=draw)
        return {
            "image": random_bytes(count, size, draw),
            "size": [(size, size)] * count,
            "label": labels.to(torch.uint8),
        }

    def benchmark_notes(self, fresh: bool) -> list[str]:  # noqa: ARG002 - it holds of all
        """Which head was timed."""
        head = self.segmenter.decode_head
        return [
            f"The head is {type(head).__name__} of {getattr(head, 'channels', '?')} channels; the "
            "published one comes with experiment=ade20k_upernet_<backbone>."
        ]

    def compute_metrics(self, stage: Stage) -> dict[str, float]:
        """Mean IoU, mean accuracy of the classes, accuracy of the pixels."""
        confusion = self._confusion(stage)
        found = figures(confusion.compute())
        confusion.reset()
        return found.means()

    def on_test_epoch_end(self) -> None:
        """Log the test's figures, those of single classes too, and gather the examples."""
        found = figures(self.test_confusion.compute())
        self.log_dict({f"test/{name}": value for name, value in found.means().items()})
        pairs = zip(self.class_names, found.iou.tolist(), strict=True)
        self.log_dict({f"test/iou/{name}": iou for name, iou in pairs if isfinite(iou)})
        self.examples.gather()

    def illustrate(self, batch: Batch) -> list[RgbImage]:
        """The images with the colours of the labels that the model gives their pixels."""
        plain = view_scales(self.inference.tta).index(1.0)
        drawn = []
        for scene in batch["scenes"]:
            view = scene["views"][plain]
            pixels = self.pixels(view[None].to(self.device))
            inference = self.inference.without_augmentation()
            (labels,) = inference.label(self.segmenter, [pixels], (view.shape[0], view.shape[1]))
            drawn.append(overlaid(view.numpy(), labels.byte().cpu().numpy(), self.palette))
        return drawn

    def sections(self) -> list[Section]:
        """Examples, classes and confusions of the last test."""
        counts = self.test_confusion.compute().cpu().numpy()
        summary = TestSummary(self.class_names, self.palette, counts, self.examples.kept)
        return report_sections(summary)

    def _score(self, scenes: Sequence[Scene], stage: Stage) -> None:
        """Label the scenes, those of one size together, and count the pixels."""
        testing = stage == "test"
        confusion = self._confusion(stage)
        inference = self.inference if testing else self.inference.without_augmentation()
        plain = view_scales(self.inference.tta).index(1.0)
        for group in _of_one_size(scenes):
            images = list(zip(*(scene["views"] for scene in group), strict=True))
            chosen = images if testing else images[plain : plain + 1]
            views = [self.pixels(torch.stack(batch)) for batch in chosen]
            labels = torch.stack([scene["label"] for scene in group])
            height, width = labels.shape[1:]
            predicted = inference.label(self.segmenter, views, (height, width))
            confusion.update(predicted, labels)
            if testing:
                for scene, truth, found in zip(group, labels, predicted, strict=True):
                    self.examples.add(scene["index"], scene["views"][plain], truth, found)

    def _confusion(self, stage: Stage) -> PixelConfusion:
        return self.test_confusion if stage == "test" else self.val_confusion


def _of_one_size(scenes: Sequence[Scene]) -> Iterator[list[Scene]]:
    """The scenes in groups whose views and labels have equal shapes."""
    groups: dict[tuple[torch.Size, ...], list[Scene]] = {}
    for scene in scenes:
        shapes = (scene["label"].shape, *(view.shape for view in scene["views"]))
        groups.setdefault(shapes, []).append(scene)
    yield from groups.values()
