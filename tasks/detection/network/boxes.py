"""Arithmetic on boxes (..., 4): x0, y0, x1, y1 in pixels."""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor
from torchvision.ops import nms

from dcls.dtypes import widened
from tasks.detection.records import Size

_MOST_AT_ONCE = 20_000
"""Boxes; the work and memory of suppression grow with the square of their number."""
_MOST_STRETCH = log(1000 / 16)
"""A side shrinks or grows by this factor at most (as its logarithm), in either direction."""


@dataclass(frozen=True)
class BoxCoder:
    """Boxes as shifts and stretches of other boxes (R-CNN, arXiv 1311.2524, appendix C).

    Args:
        stds: a delta of 1 means so much: of dx, dy (in sides of the prior), dw, dh (logarithms).
    """

    stds: tuple[float, float, float, float]

    def encode(self, priors: Tensor, boxes: Tensor) -> Tensor:
        """Deltas (n, 4) that lead from priors (n, 4) to boxes (n, 4)."""
        centre, side = _centre_and_side(priors)
        target_centre, target_side = _centre_and_side(boxes)
        shift = (target_centre - centre) / side
        deltas = torch.cat([shift, torch.log(target_side / side)], -1)
        return deltas / deltas.new_tensor(self.stds)

    def decode(self, priors: Tensor, deltas: Tensor, size: Size | None = None) -> Tensor:
        """Boxes (n, ..., 4) from priors (n, 4) and deltas (n, ..., 4).

        Args:
            priors: where to start.
            deltas: as `encode` gives them; computed in float32 at least.
            size: clip to an image of that size.
        """
        deltas = widened(deltas)
        deltas = deltas * deltas.new_tensor(self.stds)
        shape = (len(priors), *[1] * (deltas.ndim - 2), 2)
        centre, side = (part.view(shape) for part in _centre_and_side(priors))
        centre = centre + side * deltas[..., :2]
        half = side * deltas[..., 2:].clamp(-_MOST_STRETCH, _MOST_STRETCH).exp() / 2
        boxes = torch.cat([centre - half, centre + half], -1)
        return boxes if size is None else clipped(boxes, size)


def clipped(boxes: Tensor, size: Size) -> Tensor:
    """Boxes cut to an image of that size."""
    height, width = size
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack([x, y], -1).flatten(-2)


def grouped_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Indices of the boxes that non-maximum suppression within each group leaves, best first.

    Group by group, with the coordinates as they are; on a GPU, where each call would wait for the
    device, all groups at once (`suppressed_at_once`).

    Args:
        boxes: (n, 4).
        scores: (n,); of equal ones the first comes first.
        groups: (n,), whole numbers.
        threshold: boxes that overlap a better one of their group by more are left out.
    """
    if boxes.is_cuda and 0 < len(boxes) <= _MOST_AT_ONCE:
        return suppressed_at_once(boxes, scores, groups, threshold)
    members = groups.argsort(stable=True)
    counts = torch.unique_consecutive(groups[members], return_counts=True)[1].tolist()
    own_parts = torch.split(members, counts)
    parts = [own[nms(boxes[own], scores[own], threshold)] for own in own_parts]
    left = torch.cat([members[:0], *parts]).sort().values  # in order, so that ties stay in it
    return left[scores[left].argsort(descending=True, stable=True)]


def suppressed_at_once(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """`grouped_nms` of at least one box in one call, each group moved to a place of its own.

    In float64, where moving changes an overlap by less than rounding in float32 does. Moved in
    float32, as in mmdetection, boxes of many classes or large images are rounded by up to half a
    pixel, and others are left.
    """
    boxes = boxes.double()
    extent = boxes.max() - boxes.min() + 1
    kept: Tensor = nms(boxes + (groups * extent)[:, None], scores.double(), threshold)
    return kept


def giou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """1 - generalised IoU of each pair (arXiv 1902.09630), (n,)."""
    eps = 1e-6
    low = torch.maximum(boxes[:, :2], targets[:, :2])
    high = torch.minimum(boxes[:, 2:], targets[:, 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    union = (areas(boxes) + areas(targets) - overlap).clamp(min=eps)
    outer_low = torch.minimum(boxes[:, :2], targets[:, :2])
    outer_high = torch.maximum(boxes[:, 2:], targets[:, 2:])
    hull = (outer_high - outer_low).clamp(min=0).prod(-1).clamp(min=eps)
    return 1 - (overlap / union - (hull - union) / hull)


def areas(boxes: Tensor) -> Tensor:
    """Area (n,) of boxes (n, 4)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _centre_and_side(boxes: Tensor) -> tuple[Tensor, Tensor]:
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) / 2, high - low
