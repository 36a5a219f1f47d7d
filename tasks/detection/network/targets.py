"""What a detector learns from, and what it samples of it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from tasks.detection.network.matching import Matcher, Sampler
from tasks.detection.records import Size


@dataclass(frozen=True)
class Target:
    """The true objects of a training image.

    Args:
        boxes: (k, 4), float32, in pixels of the image.
        labels: (k,), int64, classes from 0.
        masks: (k, H, W), uint8, 0 or 1, or None.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor | None = None

    def padded(self, size: Size) -> "Target":
        """The same with masks of that size, 0 at the right and below."""
        if self.masks is None:
            return self
        below, right = size[0] - self.masks.shape[1], size[1] - self.masks.shape[2]
        return replace(self, masks=F.pad(self.masks, (0, right, 0, below)))


@dataclass(frozen=True)
class Sample:
    """The regions of an image that are trained on; the first ones have an object.

    Args:
        boxes: (n, 4), the regions.
        labels: (n,), their classes; the number of classes is the background.
        which: (p,), index of the object of each of the first p regions.
        own: (n,), bool: the region is a true box that was added to the proposals.
    """

    boxes: Tensor
    labels: Tensor
    which: Tensor
    own: Tensor


def sample(
    proposals: Tensor, target: Target, num_classes: int, matcher: Matcher, sampler: Sampler
) -> Sample:
    """Sample proposals (n, 4), to which the true boxes are added."""
    added = len(target.boxes)
    boxes = torch.cat([target.boxes, proposals])
    matched = matcher.match(proposals, target.boxes)
    matched = torch.cat([torch.arange(added, device=boxes.device), matched])
    positive, negative = sampler.sample(matched)
    which = matched[positive]
    background = target.labels.new_full((len(negative),), num_classes)
    chosen = torch.cat([positive, negative])
    labels = torch.cat([target.labels[which], background])
    return Sample(boxes[chosen], labels, which, chosen < added)
