"""The objects of an image as compact plain arrays: the true ones, and the detected ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class ImageTruth:
    """The annotated objects of one image.

    Args:
        image_id: as in the annotation file.
        size: of the image.
        boxes: (n, 4), float64, x0, y0, x1, y1 in pixels of the image.
        labels: (n,), int64, index of the class, from 0.
        crowd: (n,), bool: the object stands for many; detections of it are neither right nor wrong.
        areas: (n,), float64, pixels, as annotated; they sort objects into small, medium and large.
        masks: compressed run lengths (the `counts` of COCO's RLE) per object, or None: boxes only.
    """

    image_id: int
    size: Size
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]
    masks: tuple[bytes, ...] | None


@dataclass(frozen=True)
class ImageDetections:
    """What a detector found in one image, best first.

    Args:
        image_id: as in the annotation file.
        size: of the image.
        boxes: (n, 4), float32, x0, y0, x1, y1 in pixels of the image.
        scores: (n,), float32, 0 to 1.
        labels: (n,), int64, index of the class, from 0.
        masks: compressed run lengths (the `counts` of COCO's RLE) per detection, or None.
    """

    image_id: int
    size: Size
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: tuple[bytes, ...] | None
