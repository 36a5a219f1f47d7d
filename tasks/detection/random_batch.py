"""Random images with objects, as the task's collation makes a batch of them."""

from math import ceil
from typing import Any

import torch
from torch import Tensor

from tasks.engine.benchmarking import random_bytes
from tasks.engine.task import Batch

OBJECTS = 7
"""Objects of an image, about as many as COCO's images have on average."""
PADDED_TO = 32
"""Sides of batches are multiples of this."""


def random_batch(count: int, size: int, classes: int, masks: bool, draw: torch.Generator) -> Batch:
    """A training batch.

    Args:
        count: number of images.
        size: their side, pixels.
        classes: that objects are of.
        masks: whether objects have masks.
        draw: the random numbers.
    """
    side = PADDED_TO * ceil(size / PADDED_TO)
    corners = torch.rand(count, OBJECTS, 2, 2, generator=draw).sort(2).values
    corners[:, :, 1] = (corners[:, :, 1] + 0.05).clamp(max=1)
    corners[:, :, 0] = corners[:, :, 0].clamp(max=0.9)
    boxes = (corners * size).flatten(2)
    labels = torch.randint(classes, (count, OBJECTS), generator=draw)
    batch: dict[str, Any] = {
        "image": random_bytes(count, side, draw),
        "size": [(size, size)] * count,
        "boxes": list(boxes),
        "labels": list(labels),
    }
    if masks:
        batch["masks"] = [_filled(own, size) for own in boxes]
    return batch


def _filled(boxes: Tensor, size: int) -> Tensor:
    """Masks (k, size, size), uint8: 1 within each box (k, 4)."""
    pixels = torch.arange(size)
    x0, y0, x1, y1 = (side[:, None] for side in boxes.unbind(1))
    rows, columns = ((pixels >= y0) & (pixels < y1)), ((pixels >= x0) & (pixels < x1))
    return (rows[:, :, None] & columns[:, None, :]).to(torch.uint8)
