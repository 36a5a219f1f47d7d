"""The heads that look at regions: one stage, or a cascade of them (arXiv 1906.09756)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from dcls.dtypes import widened
from tasks.detection.network.box_head import POOLED as BOX_CELLS
from tasks.detection.network.box_head import BoxHead, BoxTargets
from tasks.detection.network.boxes import grouped_nms
from tasks.detection.network.mask_head import POOLED as MASK_CELLS
from tasks.detection.network.mask_head import MaskHead, mask_targets
from tasks.detection.network.pooling import RegionPooling, with_image_index
from tasks.detection.network.settings import DetectorSettings
from tasks.detection.network.targets import Sample, Target, sample
from tasks.detection.records import Size

Head = TypeVar("Head", bound=nn.Module)


@dataclass(frozen=True)
class Found:
    """The detections in one image, best first.

    Args:
        boxes: (n, 4), in pixels of the original image.
        scores: (n,), 0 to 1.
        labels: (n,), classes from 0.
        masks: (n, 28, 28), probabilities over the box, or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None


class RegionHeads(nn.Module):
    """Box heads, and perhaps mask heads, of all stages.

    Args:
        num_classes: K.
        strides: pixels per cell of the maps from which regions are taken.
        settings: of the detector.
    """

    def __init__(
        self, num_classes: int, strides: Sequence[int], settings: DetectorSettings
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.settings = settings
        self.pooling = RegionPooling(tuple(strides))
        channels = settings.channels
        self.bbox_head = _alone_or_all(
            [
                BoxHead(channels, num_classes, stage.coder, settings.box_head)
                for stage in settings.stages
            ]
        )
        if settings.masks:
            self.mask_head = _alone_or_all(
                [MaskHead(channels, num_classes) for _ in settings.stages]
            )

    @property
    def box_heads(self) -> list[BoxHead]:
        """One per stage."""
        return cast(list[BoxHead], _listed(self.bbox_head))

    @property
    def mask_heads(self) -> list[MaskHead]:
        """One per stage, none without masks."""
        return cast(list[MaskHead], _listed(self.mask_head)) if self.settings.masks else []

    def losses(
        self,
        maps: Sequence[Tensor],
        proposals: Sequence[Tensor],
        sizes: Sequence[Size],
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """The losses of all stages by mmdetection's names; those of a cascade begin in `s0.`."""
        result: dict[str, Tensor] = {}
        stages = list(zip(self.settings.stages, self.box_heads, strict=True))
        for i, (stage, head) in enumerate(stages):
            samples = [
                sample(p, t, self.num_classes, stage.matcher, self.settings.sampler)
                for p, t in zip(proposals, targets, strict=True)
            ]
            regions = with_image_index([s.boxes for s in samples])
            logits, deltas = head(self.pooling.pool(maps, regions, BOX_CELLS))
            losses = head.losses(logits, deltas, regions[:, 1:], _box_targets(samples, targets))
            if self.settings.masks:
                losses["loss_mask"] = self._mask_loss(i, maps, samples, targets)
            prefix = f"s{i}." if len(stages) > 1 else ""
            result |= {prefix + name: stage.weight * loss for name, loss in losses.items()}
            if i + 1 < len(stages):
                proposals = _refined(head, samples, logits.detach(), deltas.detach(), sizes)
        return result

    def detect(
        self,
        maps: Sequence[Tensor],
        proposals: Sequence[Tensor],
        sizes: Sequence[Size],
        originals: Sequence[Size],
    ) -> list[Found]:
        """The detections of each image.

        Args:
            maps: of the batch.
            proposals: (n_i, 4) of each image.
            sizes: of the images as the network sees them.
            originals: of the images for which the boxes are wanted.
        """
        counts = [len(p) for p in proposals]
        logits, boxes = self.run_cascade(maps, proposals, sizes)
        scores = logits.softmax(-1)
        scales = [_scale(size, original) for size, original in zip(sizes, originals, strict=True)]
        kept = [
            self._best(b / b.new_tensor(scale), s)
            for b, s, scale in zip(
                _split(boxes, counts), _split(scores, counts), scales, strict=True
            )
        ]
        if not self.settings.masks:
            return kept
        regions = with_image_index(
            [f.boxes * f.boxes.new_tensor(s) for f, s in zip(kept, scales, strict=True)]
        )
        masks = self.mask_probabilities(maps, regions, torch.cat([f.labels for f in kept]))
        parts = _split(masks, [len(f.boxes) for f in kept])
        return [
            Found(f.boxes, f.scores, f.labels, part) for f, part in zip(kept, parts, strict=True)
        ]

    def run_cascade(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Sequence[Size]
    ) -> tuple[Tensor, Tensor]:
        """Class logits (n, K + 1), the mean over the stages, and boxes (n, K, 4) of the last."""
        counts = [len(p) for p in proposals]
        collected = []
        heads = self.box_heads
        boxes = torch.empty(0)
        for head in heads:
            regions = with_image_index(proposals)
            logits, deltas = head(self.pooling.pool(maps, regions, BOX_CELLS))
            collected.append(logits)
            parts = zip(proposals, _split(deltas, counts), sizes, strict=True)
            if head is heads[-1]:
                boxes = torch.cat([head.coder.decode(p, d, size) for p, d, size in parts])
                break
            best = _split(logits[:, :-1].argmax(1), counts)
            proposals = [
                head.refine(p, d, c, size) for (p, d, size), c in zip(parts, best, strict=True)
            ]
        return torch.stack(collected).mean(0), boxes

    def mask_probabilities(self, maps: Sequence[Tensor], regions: Tensor, labels: Tensor) -> Tensor:
        """Masks (n, 28, 28) of the given classes (n,) for regions (n, 5), the mean of all heads."""
        features = self.pooling.pool(maps, regions, MASK_CELLS)
        index = torch.arange(len(labels), device=labels.device)
        masks = [widened(head(features)[index, labels]).sigmoid() for head in self.mask_heads]
        return torch.stack(masks).mean(0)

    def _best(self, boxes: Tensor, scores: Tensor) -> Found:
        """Detections of one image from boxes (n, K, 4) and scores (n, K + 1)."""
        settings = self.settings
        regions, labels = torch.where(scores[:, :-1] > settings.score)
        boxes, chosen = boxes[regions, labels], scores[regions, labels]
        kept = grouped_nms(boxes, chosen, labels, settings.overlap)[: settings.detections]
        return Found(boxes[kept], chosen[kept], labels[kept], None)

    def _mask_loss(
        self,
        stage: int,
        maps: Sequence[Tensor],
        samples: Sequence[Sample],
        targets: Sequence[Target],
    ) -> Tensor:
        positive = [s.boxes[: len(s.which)] for s in samples]
        wanted = []
        for s, boxes, target in zip(samples, positive, targets, strict=True):
            assert target.masks is not None
            wanted.append(mask_targets(target.masks, s.which, boxes))
        head = self.mask_heads[stage]
        logits = head(self.pooling.pool(maps, with_image_index(positive), MASK_CELLS))
        labels = torch.cat([s.labels[: len(s.which)] for s in samples])
        return head.loss(logits, labels, torch.cat(wanted))


def _alone_or_all(heads: list[Head]) -> Head | nn.ModuleList:
    """A cascade's heads are numbered in the names of parameters, a lone one is not."""
    return heads[0] if len(heads) == 1 else nn.ModuleList(heads)


def _listed(heads: nn.Module) -> list[nn.Module]:
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


def _box_targets(samples: Sequence[Sample], targets: Sequence[Target]) -> BoxTargets:
    labels, boxes, positive, seen = [], [], [], 0
    for s, target in zip(samples, targets, strict=True):
        labels.append(s.labels)
        boxes.append(target.boxes[s.which])
        positive.append(seen + torch.arange(len(s.which), device=s.labels.device))
        seen += len(s.labels)
    return BoxTargets(torch.cat(labels), torch.cat(boxes), torch.cat(positive))


def _refined(
    head: BoxHead,
    samples: Sequence[Sample],
    logits: Tensor,
    deltas: Tensor,
    sizes: Sequence[Size],
) -> list[Tensor]:
    """The sampled regions as the next stage starts from them; added true boxes are left out."""
    counts = [len(s.boxes) for s in samples]
    result = []
    for s, logit, delta, size in zip(
        samples, _split(logits, counts), _split(deltas, counts), sizes, strict=True
    ):
        background = s.labels == head.num_classes
        classes = torch.where(background, logit[:, :-1].argmax(1), s.labels)
        result.append(head.refine(s.boxes, delta, classes, size)[~s.own])
    return result


def _split(together: Tensor, counts: list[int]) -> tuple[Tensor, ...]:
    """What belongs to each image."""
    parts: tuple[Tensor, ...] = torch.split(together, counts)
    return parts


def _scale(size: Size, original: Size) -> tuple[float, float, float, float]:
    """Factors from the original image to what the network sees, for x0, y0, x1, y1."""
    down, across = size[0] / original[0], size[1] / original[1]
    return across, down, across, down
