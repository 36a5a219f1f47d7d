"""The detectors: a backbone, a pyramid, proposals, and heads for their regions."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import dcls
from dcls.errors import CheckpointError
from tasks.detection.network.anchors import PADDED_TO
from tasks.detection.network.fpn import FeaturePyramid
from tasks.detection.network.paste import pasted
from tasks.detection.network.recognition import shown_settings
from tasks.detection.network.roi_head import Found, RegionHeads
from tasks.detection.network.rpn import RegionProposals
from tasks.detection.network.settings import PUBLISHED, SIZES, DetectorSettings, sized
from tasks.detection.network.targets import Target
from tasks.detection.records import Size
from tasks.engine.trained import backbone_settings


class Detector(nn.Module):
    """Faster, Mask or Cascade Mask R-CNN; numbers and state-dict keys are mmdetection's.

    Args:
        backbone: built with `features=True`.
        num_classes: classes of the dataset.
        settings: what the detector is made of.
    """

    def __init__(
        self, backbone: dcls.Backbone, num_classes: int, settings: DetectorSettings
    ) -> None:
        super().__init__()
        self.settings = settings
        self.num_classes = num_classes
        maps = backbone.feature_info
        strides = [info.stride for info in maps]
        channels = settings.channels
        self.backbone = backbone
        self.neck = FeaturePyramid([info.channels for info in maps], channels)
        self.rpn_head = RegionProposals(channels, [*strides, 2 * strides[-1]], settings.rpn)
        self.roi_head = RegionHeads(num_classes, strides, settings)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training mode, detections otherwise.

        Args:
            images: (3, H, W) each, normalised, of any sizes.
            targets: for training: `boxes` (k, 4), x0, y0, x1, y1 in pixels, `labels` (k,), from 0,
                and, with a mask head, `masks` (k, H, W), per image.

        Returns:
            In training mode the losses by mmdetection's names; their sum is what to minimise. In
            evaluation mode `boxes` (n, 4), `scores` (n,), `labels` (n,) and, with a mask head,
            `masks` (n, H, W), bool, per image, best first.

        Raises:
            ValueError: training mode without a target per image.
        """
        batch, sizes = padded(images)
        batch = batch.contiguous(memory_format=torch.channels_last)
        if self.training:
            if targets is None or len(targets) != len(images):
                raise ValueError("a detector in training mode needs a target per image")
            return self.losses(batch, sizes, [_target(t) for t in targets])
        return [
            _as_plain(found, size)
            for found, size in zip(self.detect(batch, sizes, sizes), sizes, strict=True)
        ]

    def losses(
        self, batch: Tensor, sizes: Sequence[Size], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """The losses of a batch by mmdetection's names.

        Args:
            batch: (N, 3, H, W), normalised, padded with 0.
            sizes: of the images in it.
            targets: of each image.
        """
        targets = [target.padded((batch.shape[-2], batch.shape[-1])) for target in targets]
        maps = self.maps(batch)
        logits, deltas = self.rpn_head(maps)
        losses = self.rpn_head.losses(logits, deltas, sizes, [t.boxes for t in targets])
        proposals = self.rpn_head.propose(logits, deltas, sizes)
        return losses | self.roi_head.losses(maps, proposals, sizes, targets)

    def detect(
        self, batch: Tensor, sizes: Sequence[Size], originals: Sequence[Size]
    ) -> list[Found]:
        """The detections in each image of a batch.

        Args:
            batch: (N, 3, H, W), normalised, padded with 0.
            sizes: of the images in it.
            originals: sizes of the images in whose pixels the boxes are wanted.
        """
        maps = self.maps(batch)
        logits, deltas = self.rpn_head(maps)
        proposals = self.rpn_head.propose(logits, deltas, sizes)
        return self.roi_head.detect(maps, proposals, sizes, originals)

    def maps(self, batch: Tensor) -> list[Tensor]:
        """The pyramid's maps of a batch, finest first."""
        maps: list[Tensor] = self.neck(self.backbone(batch))
        return maps


def padded(images: Sequence[Tensor]) -> tuple[Tensor, list[Size]]:
    """Images (3, H, W) of any sizes as one batch, 0 at the right and below, and their sizes."""
    sizes = [(image.shape[-2], image.shape[-1]) for image in images]
    height, width = padded_size(sizes)
    batch = torch.stack(
        [F.pad(i, (0, width - i.shape[-1], 0, height - i.shape[-2])) for i in images]
    )
    return batch, sizes


def padded_size(sizes: Sequence[Size]) -> Size:
    """The size of a batch of images of those sizes."""
    height, width = (ceil(max(sides) / PADDED_TO) * PADDED_TO for sides in zip(*sizes, strict=True))
    return height, width


def faster_rcnn(
    backbone_name: str, num_classes: int, weights: str | Path | None = None, **settings: Any
) -> Detector:
    """Faster R-CNN with a pyramid on any backbone of `dcls`.

    Args:
        backbone_name: see `dcls.list_backbones()`.
        num_classes: classes of the dataset (COCO: 80).
        weights: a detection checkpoint: the authors', Facebook's, mmdetection's, or our own. With
            one of our own runs, what is not given is as it was trained.
        **settings: of the backbone (see `dcls.create_backbone`).

    Returns:
        A module in training mode (see `Detector.forward`).

    Raises:
        dcls.CheckpointError: weights that do not fit.
    """
    return _build("faster_rcnn", backbone_name, num_classes, weights, settings)


def mask_rcnn(
    backbone_name: str, num_classes: int, weights: str | Path | None = None, **settings: Any
) -> Detector:
    """Mask R-CNN as ConvNeXt was released in; arguments as `faster_rcnn`."""
    return _build("mask_rcnn", backbone_name, num_classes, weights, settings)


def cascade_mask_rcnn(
    backbone_name: str, num_classes: int, weights: str | Path | None = None, **settings: Any
) -> Detector:
    """Cascade Mask R-CNN as DCLS-ConvNeXt was released in; arguments as `faster_rcnn`."""
    return _build("cascade_mask_rcnn", backbone_name, num_classes, weights, settings)


def load_weights(detector: nn.Module, path: str | Path) -> None:
    """Load a detection checkpoint: the authors', Facebook's, mmdetection's, or our own; strict.

    Args:
        detector: a `Detector`, or a module with its parts.
        path: the file.

    Raises:
        dcls.CheckpointError: weights that do not fit.
    """
    names = (name for name, _ in detector.named_parameters())
    classifier = next(name for name in names if name.endswith("fc_cls.weight"))
    dcls.load_model_checkpoint(detector, path, classifier, 1, shown_settings)


def _build(
    kind: str,
    backbone_name: str,
    num_classes: int,
    weights: str | Path | None,
    settings: dict[str, Any],
) -> Detector:
    own, trained = backbone_settings(weights, backbone_name, settings)
    sizes = {name: trained[name] for name in SIZES if name in trained}
    if trained.get("detector") not in (None, kind):
        raise CheckpointError(
            f"{weights} is of a {trained['detector']}: call {trained['detector']}(...)."
        )
    made_of = sized(kind, **sizes) if sizes else PUBLISHED[kind]
    detector = Detector(dcls.create_backbone(**own), num_classes, made_of)
    if weights is not None:
        load_weights(detector, weights)
    return detector


def _target(plain: dict[str, Tensor]) -> Target:
    return Target(plain["boxes"], plain["labels"], plain.get("masks"))


def _as_plain(found: Found, size: Size) -> dict[str, Tensor]:
    plain = {"boxes": found.boxes, "scores": found.scores, "labels": found.labels}
    if found.masks is None:
        return plain
    whole = torch.zeros(len(found.boxes), *size, dtype=torch.bool)
    for i, mask in enumerate(pasted(found.masks, found.boxes, size)):
        whole[i] = torch.from_numpy(mask).bool()
    return plain | {"masks": whole.to(found.boxes.device)}
