"""Random images in the form in which each task takes them, in place of a dataset."""

from math import ceil
from typing import Any

import torch
from torch import Tensor

from tasks.data.loaders import Loading, TaskData
from tasks.engine.task import Batch
from tasks.reporting.palette import Palette, generic_palette

OBJECTS = 7
"""Objects of an image to be detected, about as many as COCO's images have on average."""
PADDED_TO = 32
"""Sides of detection's batches are multiples of this."""


class Normalisation:
    """Mean and deviation of the images, ImageNet's, per channel (RGB), of values in 0..1.

    Nothing is erased from them.
    """

    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)
    erase = 0.0


class RandomImages(TaskData):
    """Names classes and says how pixels are normalised: all that building a task asks of data.

    Args:
        classes: their number.
        masks: whether objects have masks.
    """

    recipe = Normalisation()

    def __init__(self, classes: int, masks: bool) -> None:
        super().__init__("random images", Loading(batch_size=1, workers=0))
        self.class_names = tuple(f"class {i}" for i in range(classes))
        self.masks = masks

    @property
    def palette(self) -> Palette:
        """(classes, 3), RGB."""
        return generic_palette(len(self.class_names))


def inference_input(
    task: str, batch_size: int, size: int, memory_format: torch.memory_format, draw: torch.Generator
) -> Tensor | list[Tensor]:
    """What calling a task takes: normalised images (N, 3, size, size); of `det`, a list of them."""
    images = torch.randn(batch_size, 3, size, size, generator=draw)
    images = images.contiguous(memory_format=memory_format)
    return list(images) if task == "det" else images


def training_batch(
    task: str, batch_size: int, size: int, data: RandomImages, draw: torch.Generator
) -> Batch:
    """A batch as the task's own collation makes it from the samples of training."""
    batch = _BATCHES[task](batch_size, size, data, draw)
    return {**batch, "unreadable": []}


def _labelled(count: int, size: int, data: RandomImages, draw: torch.Generator) -> Batch:
    return {
        "image": _bytes(count, size, draw),
        "label": torch.randint(len(data.class_names), (count,), generator=draw),
    }


def _masked(count: int, size: int, data: RandomImages, draw: torch.Generator) -> Batch:
    labels = torch.randint(len(data.class_names), (count, size, size), generator=draw)
    return {
        "image": _bytes(count, size, draw),
        "size": [(size, size)] * count,
        "label": labels.to(torch.uint8),
    }


def _with_objects(count: int, size: int, data: RandomImages, draw: torch.Generator) -> Batch:
    side = PADDED_TO * ceil(size / PADDED_TO)
    corners = torch.rand(count, OBJECTS, 2, 2, generator=draw).sort(2).values
    corners[:, :, 1] = (corners[:, :, 1] + 0.05).clamp(max=1)
    corners[:, :, 0] = corners[:, :, 0].clamp(max=0.9)
    boxes = (corners * size).flatten(2)
    labels = torch.randint(len(data.class_names), (count, OBJECTS), generator=draw)
    batch: dict[str, Any] = {
        "image": _bytes(count, side, draw),
        "size": [(size, size)] * count,
        "boxes": list(boxes),
        "labels": list(labels),
    }
    if data.masks:
        batch["masks"] = [_filled(own, size) for own in boxes]
    return batch


def _filled(boxes: Tensor, size: int) -> Tensor:
    """Masks (k, size, size), uint8: 1 within each box (k, 4)."""
    cells = torch.arange(size)
    x0, y0, x1, y1 = (side[:, None] for side in boxes.unbind(1))
    rows, columns = ((cells >= y0) & (cells < y1)), ((cells >= x0) & (cells < x1))
    return (rows[:, :, None] & columns[:, None, :]).to(torch.uint8)


def _bytes(count: int, side: int, draw: torch.Generator) -> Tensor:
    return torch.randint(256, (count, side, side, 3), dtype=torch.uint8, generator=draw)


_BATCHES = {"cls": _labelled, "seg": _masked, "det": _with_objects}
