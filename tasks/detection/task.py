"""Object detection and instance segmentation as a task."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dcls.backbone import Backbone
from tasks.data.images import RgbImage, Sample
from tasks.data.loaders import Split
from tasks.data.pixels import Pixels
from tasks.detection.data import DetectionData
from tasks.detection.figures.examples import Examples
from tasks.detection.figures.overlay import drawn_over
from tasks.detection.network.detector import Detector, load_weights, padded, padded_size
from tasks.detection.network.paste import run_lengths
from tasks.detection.network.roi_head import Found
from tasks.detection.network.settings import Kind as DetectorKind
from tasks.detection.network.settings import sized
from tasks.detection.network.targets import Target
from tasks.detection.random_batch import random_batch
from tasks.detection.records import ImageDetections, ImageTruth, Size
from tasks.detection.report import TestSummary, report_sections
from tasks.detection.scoring.coco import Kind, coco_results
from tasks.detection.scoring.figures import (
    Figures,
    all_figures,
    class_values,
    coco_metrics,
    figure_values,
)
from tasks.detection.scoring.mistakes import mistakes
from tasks.detection.settings import DetectionSettings
from tasks.engine.benchmarking import BenchmarkSizes
from tasks.engine.gathering import computed_once, gather_lists
from tasks.engine.network import NetworkTask
from tasks.engine.optimization import Optimization
from tasks.engine.task import Batch, Stage
from tasks.reporting.files import write_atomically
from tasks.reporting.metrics import Metric
from tasks.reporting.page import Section

Scene = Mapping[str, Any]


class DetectionTask(NetworkTask):
    """Trains a detector; scores box and mask AP as COCO defines them.

    The keys of a checkpoint's state dict are mmdetection's.

    Args:
        backbone: built with `features=True`.
        data: names the classes, knows the true objects, and says how pixels are normalised.
        optimization: how parameters are updated.
        monitor: the figure that picks the best checkpoint.
        detector: what is built (see `tasks.detection.settings.sized` for this and the sizes).
        channels: of the pyramid and all convolutions.
        width: of the fully connected layers.
        proposals: per image.
        samples: of them, how many are trained on.
        channels_last: memory layout of images; faster for depthwise convolutions.
    """

    settings_model = DetectionSettings

    derived_settings: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "detector": ("task.detector", "dataset.detector"),
        "dataset.image_size": ("dataset.side",),
    }
    evaluation_settings = ("proposals", "detector")
    benchmark_sizes = BenchmarkSizes(800, (1, 2), 80)
    metrics = (*coco_metrics(), Metric("loss", better="lower"))

    def __init__(
        self,
        backbone: Backbone,
        data: DetectionData,
        optimization: Optimization,
        monitor: str,
        detector: DetectorKind,
        channels: int,
        width: int,
        proposals: int,
        samples: int,
        channels_last: bool = True,
    ) -> None:
        settings = sized(detector, channels, width, proposals, samples)
        network = Detector(backbone, len(data.class_names), settings)
        super().__init__(network, optimization, monitor)
        self.data = data
        self.pixels = Pixels(data.recipe.mean, data.recipe.std, channels_last)
        self._found: list[ImageDetections] = []
        self._known: dict[Split, dict[int, ImageTruth]] = {}
        self._summary: TestSummary | None = None

    @property
    def detector(self) -> Detector:
        """The network, for detections and losses."""
        return cast(Detector, self.network)

    def forward(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Detections in normalised images (see `Detector.forward`)."""
        found: list[dict[str, Tensor]] = self.detector(images)
        return found

    def load_weights(self, path: str) -> None:
        """Load a detection checkpoint, own or released; strict."""
        load_weights(self.detector, path)

    def shared_step(self, batch: Batch, stage: Stage) -> Tensor:
        """Loss of a training batch; evaluation stages only collect what is found."""
        self.note_unreadable(batch)
        if stage != "train":
            self._found += self._detect(batch.get("scenes", ()))
            return torch.zeros((), device=self.device)
        if "image" not in batch:  # nothing readable in it
            return self.no_loss()
        losses = self.detector.losses(
            self.pixels(batch["image"], batch["size"]), batch["size"], _targets(batch)
        )
        loss = torch.stack(list(losses.values())).sum()
        logged = {"train/loss": loss, **{f"train/{k}": v.detach() for k, v in losses.items()}}
        self.log_dict(logged, on_step=True, on_epoch=False)
        return loss

    @staticmethod
    def sample_count(batch: Batch) -> int:
        """Number of images in a batch of evaluation."""
        return len(batch.get("scenes", ()))

    def random_batch(self, count: int, size: int, draw: torch.Generator) -> Batch:
        """Images with objects."""
        return random_batch(count, size, len(self.data.class_names), self.data.masks, draw)

    def network_input(self, images: Tensor) -> list[Tensor]:
        """A list of images, which may differ in size."""
        return list(images)

    def benchmark_notes(self, fresh: bool) -> list[str]:
        """What fresh weights do not compute."""
        if not fresh:
            return []
        return [
            "Fresh weights detect nothing with the confidence that detections must have: masks of "
            "detections are not computed in inference. With ckpt=... they are where it detects."
        ]

    def compute_metrics(self, stage: Stage) -> dict[str, float]:
        """AP, AP50 and AP75 of boxes and, with masks, of masks."""
        split = self.data.test_split if stage == "test" else stage
        return figure_values(self._figures(split, self._gathered()), ("ap", "ap50", "ap75"))

    def on_test_epoch_end(self) -> None:
        """Log the test's figures, save the detections and keep what the report shows."""
        found, names = self._gathered(), self.data.class_names
        figures = self._figures(self.data.test_split, found)
        values = figure_values(figures) | class_values(figures, names)
        self.log_dict({f"test/{name}": value for name, value in values.items()})
        if self.trainer.is_global_zero:
            self._save(found)
            self._summary = self._summarise(found, figures)

    def illustrate(self, batch: Batch) -> list[RgbImage]:
        """The images with the boxes and masks of the objects that the model finds."""
        return [
            drawn_over(scene["view"].numpy(), scene["size"], found, self.data.palette)
            for scene in batch["scenes"]
            for found in self._detect([scene])
        ]

    def sections(self) -> list[Section]:
        """Examples, figures and mistakes of the last test; in the first process alone."""
        return [] if self._summary is None else report_sections(self._summary)

    def _detect(self, scenes: Sequence[Scene]) -> list[ImageDetections]:
        """What is found in the scenes, those of one padded size together."""
        detections = []
        for group in _of_one_size(scenes):
            views = [self.pixels(scene["view"][None])[0] for scene in group]
            batch, sizes = padded(views)
            batch = batch.contiguous(memory_format=self.pixels.memory_format)
            originals = [scene["size"] for scene in group]
            found = self.detector.detect(batch, sizes, originals)
            detections += [
                _compact(one, scene["image_id"], scene["size"])
                for one, scene in zip(found, group, strict=True)
            ]
        return detections

    def _gathered(self) -> list[ImageDetections]:
        """What all processes have found since the last call, by image."""
        found, self._found = gather_lists(self._found), []
        return sorted(found, key=lambda one: one.image_id)

    def _figures(self, split: Split, found: Sequence[ImageDetections]) -> Figures:
        """The figures of the images that were read, computed in the first process."""
        count, masks = len(self.data.class_names), self.data.masks
        return computed_once(lambda: all_figures(self._truths(split, found), found, count, masks))

    def _truths(self, split: Split, found: Sequence[ImageDetections]) -> list[ImageTruth]:
        if split not in self._known:
            self._known[split] = {truth.image_id: truth for truth in self.data.truths(split)}
        return [self._known[split][one.image_id] for one in found]

    def _save(self, found: Sequence[ImageDetections]) -> None:
        """Write the detections as COCO's tools read them: a file of boxes, and one of masks."""
        folder = Path(self.trainer.default_root_dir)
        kinds: tuple[Kind, ...] = ("bbox", "segm") if self.data.masks else ("bbox",)
        for kind in kinds:
            results = coco_results(found, self.data.category_ids, kind)
            write_atomically(folder / f"detections.{kind}.json", json.dumps(results))

    def _summarise(self, found: Sequence[ImageDetections], figures: Figures) -> TestSummary:
        data = self.data
        truths = self._truths(data.test_split, found)
        samples, examples = data.split(data.test_split), Examples()
        places = {image_id: i for i, image_id in enumerate(self._known[data.test_split])}
        for truth, one in zip(truths, found, strict=True):
            index = places[one.image_id]
            examples.add(index, partial(_view, samples, index), truth, one)
        split = mistakes(truths, found, len(data.class_names))
        return TestSummary(data.class_names, data.palette, figures, split, examples.kept)


def _view(samples: Dataset[Sample], index: int) -> Tensor:
    view: Tensor = samples[index]["view"]
    return view


def _targets(batch: Batch) -> list[Target]:
    masks = batch.get("masks") or [None] * len(batch["boxes"])
    return [Target(*parts) for parts in zip(batch["boxes"], batch["labels"], masks, strict=True)]


def _compact(found: Found, image_id: int, size: Size) -> ImageDetections:
    masks = None if found.masks is None else run_lengths(found.masks, found.boxes, size)
    boxes, scores, labels = (
        part.cpu().numpy() for part in (found.boxes, found.scores, found.labels)
    )
    return ImageDetections(image_id, size, boxes, scores, labels, masks)


def _of_one_size(scenes: Sequence[Scene]) -> Iterator[list[Scene]]:
    """The scenes in groups whose views have one size once padded, so that company is harmless."""
    groups: dict[Size, list[Scene]] = {}
    for scene in scenes:
        groups.setdefault(padded_size([scene["view"].shape[:2]]), []).append(scene)
    yield from groups.values()
