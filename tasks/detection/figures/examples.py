"""A few tested images kept for the report: the first ones, and the ones that went worst."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.nn import functional as F

from tasks.detection.records import ImageDetections, ImageTruth, Size
from tasks.detection.scoring.mistakes import COUNTED_FROM
from tasks.detection.scoring.overlaps import box_overlaps

RIGHT, WRONG, NEITHER = 1, -1, 0
"""Verdicts; a crowd, and what is found in one, is neither."""
_LONGEST = 480
_MOST_SHOWN = 60
_OVERLAP = 0.5


@dataclass(frozen=True)
class Objects:
    """What is drawn over an image: its true objects, or the detected ones, best first.

    Args:
        boxes: (n, 4), float64, x0, y0, x1, y1 in pixels of the image.
        labels: (n,), int64, index of the class.
        verdicts: (n,), int64: `RIGHT`, `WRONG` (a missed object, a wrong detection) or `NEITHER`.
        scores: (n,), float64, or None for true ones.
        masks: (n, h, w), bool, or None: boxes only.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    verdicts: NDArray[np.int64]
    scores: NDArray[np.float64] | None = None
    masks: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Example:
    """One image with its objects.

    Args:
        index: its place in the split.
        wrong: 1 - F1 of its detections: 0 if all is right, 1 if nothing is.
        mistakes: number of missed objects and of wrong detections.
        image: (h, w, 3), uint8, RGB.
        truth: the true objects.
        found: the best detections, a few dozen; `wrong` and `mistakes` count the others too.
    """

    index: int
    wrong: float
    mistakes: int
    image: NDArray[np.uint8]
    truth: Objects
    found: Objects

    @property
    def badness(self) -> tuple[float, int, int]:
        """Sorts the worst first: least F1, then most mistakes, then the place in the split."""
        return -self.wrong, -self.mistakes, self.index


class Examples:
    """Collects what the report shows.

    Args:
        first: how many images from the beginning of the split are kept.
        worst: how many of the others (see `Example.badness`).
    """

    def __init__(self, first: int = 4, worst: int = 4) -> None:
        self.first = first
        self.worst = worst
        self.kept: list[Example] = []

    def add(
        self,
        index: int,
        image: Callable[[], Tensor],
        truth: ImageTruth,
        detections: ImageDetections,
    ) -> None:
        """Add an image.

        Args:
            index: its place in the split.
            image: reads (H, W, 3) bytes, perhaps of a resized image; called if they are kept.
            truth: in pixels of the original image.
            detections: likewise, best first.
        """
        true, found = judged(truth, detections)
        wrong, mistakes = _error(true.verdicts, found.verdicts)
        # Without the image and the masks, which take long and are seldom needed.
        example = Example(index, wrong, mistakes, np.empty((0, 0, 3), np.uint8), true, found)
        if not self._wanted(example):
            return
        pixels = _reduced(image())
        self.kept.append(
            replace(
                example,
                image=pixels,
                truth=_fitted(true, truth.masks, truth.size, pixels.shape[:2]),
                found=_fitted(
                    _first(found, _MOST_SHOWN), detections.masks, truth.size, pixels.shape[:2]
                ),
            )
        )
        self._trim()

    def _wanted(self, example: Example) -> bool:
        bar = sorted(e.badness for e in self.kept if e.index >= self.first)[: self.worst]
        return example.index < self.first or len(bar) < self.worst or example.badness < bar[-1]

    def _trim(self) -> None:
        head = sorted((e for e in self.kept if e.index < self.first), key=lambda e: e.index)
        rest = sorted((e for e in self.kept if e.index >= self.first), key=lambda e: e.badness)
        self.kept = head + rest[: self.worst]


def judged(truth: ImageTruth, detections: ImageDetections) -> tuple[Objects, Objects]:
    """The true objects and the detections that score enough, without masks, with verdicts.

    The best detection first, each takes the free object of its class that it overlaps most, from
    an IoU of 0.5 on; a detection half of which lies in a crowd of its class does not count.
    """
    shown = int((detections.scores >= COUNTED_FROM).sum())  # the first ones
    boxes, labels = detections.boxes[:shown].astype(float), detections.labels[:shown]
    overlaps = box_overlaps(boxes, truth.boxes, truth.crowd)
    overlaps[labels[:, None] != truth.labels] = 0
    true = np.where(truth.crowd, NEITHER, WRONG)
    found = np.full(len(boxes), WRONG)
    for i, row in enumerate(overlaps):
        free = np.where(true == WRONG, row, 0)
        if free.max(initial=0) >= _OVERLAP:
            found[i] = true[free.argmax()] = RIGHT
        elif row[truth.crowd].max(initial=0) >= _OVERLAP:
            found[i] = NEITHER
    scores = detections.scores[:shown].astype(float)
    return Objects(truth.boxes, truth.labels, true), Objects(boxes, labels, found, scores)


def _error(true: NDArray[np.int64], found: NDArray[np.int64]) -> tuple[float, int]:
    """1 - F1 and the number of mistakes."""
    mistakes = int((true == WRONG).sum() + (found == WRONG).sum())
    both = mistakes + 2 * int((true == RIGHT).sum())
    return mistakes / max(1, both), mistakes


def _first(objects: Objects, count: int) -> Objects:
    scores = None if objects.scores is None else objects.scores[:count]
    return Objects(objects.boxes[:count], objects.labels[:count], objects.verdicts[:count], scores)


def _fitted(
    objects: Objects, masks: Sequence[bytes] | None, original: Size, size: tuple[int, ...]
) -> Objects:
    """The objects scaled to an image of that size, with the masks, of which the first count.

    What reaches outside the image is cut off.
    """
    down, across = size[0] / original[0], size[1] / original[1]
    boxes = objects.boxes * np.array([across, down, across, down])
    boxes = boxes.clip(0, [size[1], size[0], size[1], size[0]])
    if masks is None:
        return replace(objects, boxes=boxes)
    # the pixels of the original that lie under the centres of the image's
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(size, original, strict=True)
    )
    small = np.empty((len(boxes), *size), np.bool_)
    for i, counts in enumerate(masks[: len(boxes)]):
        whole = coco_mask.decode({"size": list(original), "counts": counts})
        small[i] = whole[np.ix_(rows, columns)]
    return replace(objects, boxes=boxes, masks=small)


def _reduced(image: Tensor) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = min(1.0, _LONGEST / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    pixels = image.permute(2, 0, 1)[None].float()
    shown = F.interpolate(pixels, size, mode="bilinear", antialias=True)[0]
    plain: NDArray[np.uint8] = shown.round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    return plain
