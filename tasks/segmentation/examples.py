"""A few tested images kept for the report: the first ones, and the ones that went worst."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tasks.engine.gathering import gather_lists
from tasks.segmentation.model import IGNORED

LONGEST = 384
"""Side in pixels to which a kept image is reduced."""


@dataclass(frozen=True)
class Example:
    """One labelled image.

    Args:
        index: its place in the split.
        wrong: share of its pixels, of those that count, that were labelled wrong.
        image: (H, W, 3), uint8, RGB.
        truth: (H, W), uint8, class per pixel.
        predicted: likewise.
    """

    index: int
    wrong: float
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    predicted: NDArray[np.uint8]


class Examples:
    """Collects what the report shows.

    Args:
        first: how many images from the beginning of the split are kept.
        worst: how many of the others, those with the largest share of wrong pixels.
    """

    def __init__(self, first: int = 3, worst: int = 3) -> None:
        self.first = first
        self.worst = worst
        self.kept: list[Example] = []

    def add(self, index: int, image: Tensor, truth: Tensor, predicted: Tensor) -> None:
        """Add an image: (h, w, 3) bytes, and its labels (H, W), true and predicted."""
        counted = truth != IGNORED
        wrong = float(((truth != predicted) & counted).sum()) / max(1, int(counted.sum()))
        bar = sorted((e.wrong for e in self.kept if e.index >= self.first), reverse=True)
        if index >= self.first and len(bar) >= self.worst and wrong <= bar[self.worst - 1]:
            return
        size = _reduced(truth.shape[0], truth.shape[1])
        pixels = image.permute(2, 0, 1)[None].float()
        shown = F.interpolate(pixels, size, mode="bilinear", antialias=True)[0]
        self.kept.append(
            Example(
                index,
                wrong,
                shown.round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy(),
                _nearest(truth, size),
                _nearest(predicted, size),
            )
        )
        self._trim()

    def gather(self) -> None:
        """Bring the examples of all processes together; each process must call it."""
        self.kept = gather_lists(self.kept)
        self._trim()

    def _trim(self) -> None:
        head = sorted((e for e in self.kept if e.index < self.first), key=lambda e: e.index)
        rest = sorted((e for e in self.kept if e.index >= self.first), key=lambda e: -e.wrong)
        self.kept = head + rest[: self.worst]


def _reduced(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, LONGEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _nearest(labels: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    resized = F.interpolate(labels[None, None].float(), size, mode="nearest-exact")[0, 0]
    plain: NDArray[np.uint8] = resized.byte().cpu().numpy()
    return plain
