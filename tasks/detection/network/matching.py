"""Which prior box is to find which true box, and which of the priors are trained on."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

BACKGROUND = -1
NEITHER = -2
"""Neither near enough to a true box nor far enough from all: not trained on."""


@dataclass(frozen=True)
class Matcher:
    """Gives each prior the true box that it overlaps most (Faster R-CNN, arXiv 1506.01497).

    Args:
        positive: least IoU of a prior with its true box.
        negative: a prior below this IoU with all true boxes is background.
        low_quality: a true box also gets the priors that overlap it most, from this IoU on; None:
            it may stay without.
    """

    positive: float
    negative: float
    low_quality: float | None = None

    def match(self, priors: Tensor, truths: Tensor) -> Tensor:
        """Index of the true box for each prior (n,), or `BACKGROUND` or `NEITHER`.

        Args:
            priors: (n, 4).
            truths: (k, 4), k from 0.
        """
        if not len(truths) or not len(priors):
            return torch.full((len(priors),), BACKGROUND, device=priors.device)
        overlaps = box_iou(truths, priors)
        best, which = overlaps.max(0)
        matched = torch.where(best < self.negative, BACKGROUND, NEITHER)
        matched = torch.where(best >= self.positive, which, matched)
        if self.low_quality is not None:
            highest = overlaps.amax(1, keepdim=True)
            chosen = (overlaps == highest) & (highest >= self.low_quality)
            order = torch.arange(1, len(truths) + 1, device=priors.device)[:, None]
            last = (chosen * order).amax(0)  # of several true boxes, the last one
            matched = torch.where(last > 0, last - 1, matched)
        return matched


@dataclass(frozen=True)
class Sampler:
    """Draws the priors of an image that are trained on.

    Args:
        count: how many.
        positive_share: at most this share of them with a true box.
    """

    count: int
    positive_share: float

    def sample(self, matched: Tensor) -> tuple[Tensor, Tensor]:
        """Indices of positive and of background priors, from what `Matcher.match` gives."""
        positive = _some(torch.where(matched >= 0)[0], int(self.count * self.positive_share))
        rest = self.count - len(positive)
        return positive, _some(torch.where(matched == BACKGROUND)[0], rest)


def _some(indices: Tensor, most: int) -> Tensor:
    if len(indices) <= most:
        return indices
    return indices[torch.randperm(len(indices), device=indices.device)[:most]]
