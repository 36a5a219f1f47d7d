"""Detections drawn over the pixels of an image, for images too small for labels."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from tasks.detection.records import ImageDetections, Size
from tasks.detection.scoring.mistakes import COUNTED_FROM
from tasks.reporting.palette import Palette

_TINT = 0.45


def drawn_over(
    image: NDArray[np.uint8], size: Size, found: ImageDetections, palette: Palette
) -> NDArray[np.uint8]:
    """A copy of an image with masks and boxes in the colours of their classes.

    Args:
        image: (h, w, 3), RGB, perhaps resized.
        size: of the original, whose pixels the detections are in.
        found: those that score little are left out.
        palette: (classes, 3), RGB.
    """
    height, width = image.shape[:2]
    scale = np.array([width / size[1], height / size[0]] * 2)
    shown = int((found.scores >= COUNTED_FROM).sum())  # the first ones
    drawn = image.copy()
    for i in reversed(range(shown)):  # the best one on top
        colour = palette[found.labels[i]]
        if found.masks is not None:
            whole = coco_mask.decode({"size": list(size), "counts": found.masks[i]})
            resized = Image.fromarray(whole).resize((width, height), Image.Resampling.NEAREST)
            inside = np.asarray(resized) > 0
            drawn[inside] = ((1 - _TINT) * drawn[inside] + _TINT * colour).round()
        x0, y0, x1, y1 = np.rint(found.boxes[i] * scale).astype(int).tolist()
        _outline(drawn, (x0, y0, x1, y1), colour.tolist())
    return drawn


def _outline(image: NDArray[np.uint8], box: tuple[int, int, int, int], colour: list[int]) -> None:
    """Draw a rectangle into an image, in place; lines grow with the image and are centred.

    They are as wide as OpenCV draws them, an odd number of pixels; corners are not rounded.
    """
    thickness = max(1, round(max(image.shape[:2]) / 200))
    side = 0 if thickness == 1 else (thickness + 1) // 2  # pixels on either side of the middle
    x0, y0, x1, y1 = box
    canvas = Image.fromarray(image)
    ImageDraw.Draw(canvas).rectangle(
        (x0 - side, y0 - side, x1 + side, y1 + side), outline=tuple(colour), width=2 * side + 1
    )
    image[:] = np.asarray(canvas)
