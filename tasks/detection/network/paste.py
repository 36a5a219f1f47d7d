"""From small masks over boxes to masks of whole images (arXiv 1703.06870, section 3.1)."""

from collections.abc import Iterator
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from tasks.detection.records import Size

THRESHOLD = 0.5
_LEAST_SIDE = 1e-6


def pasted(masks: Tensor, boxes: Tensor, size: Size) -> Iterator[NDArray[np.uint8]]:
    """The mask (H, W) of the image, 0 or 1, of each detection in turn; one at a time in memory.

    A small mask is sampled at the centres of the pixels, bilinearly, 0 outside of it.

    Args:
        masks: (n, M, M), probabilities over the boxes.
        boxes: (n, 4), in pixels of the image.
        size: of the image.
    """
    height, width = size
    plain = masks.detach().float().cpu().numpy(), boxes.detach().tolist()
    for mask, box in zip(*plain, strict=True):
        whole = np.zeros((width, height), np.uint8)  # column by column, as run lengths want it
        x0, y0, x1, y1 = box
        rows, columns = _pixels(y0, y1, height), _pixels(x0, x1, width)
        down = _weights(rows, y0, y1, mask.shape[0])
        across = _weights(columns, x0, x1, mask.shape[1])
        whole[columns, rows] = across @ mask.T @ down.T >= THRESHOLD
        yield whole.T


def run_lengths(masks: Tensor, boxes: Tensor, size: Size) -> tuple[bytes, ...]:
    """The pasted masks as compressed run lengths (`counts` of COCO's RLE)."""
    return tuple(coco_mask.encode(whole)["counts"] for whole in pasted(masks, boxes, size))


def _pixels(low: float, high: float, side: int) -> slice:
    """The pixels of a side that a box can touch, perhaps none."""
    first = min(max(0, floor(low) - 1), side)
    return slice(first, max(first, min(side, ceil(high) + 1)))


def _weights(pixels: slice, low: float, high: float, cells: int) -> NDArray[np.float32]:
    """How much each cell of a side counts at the centre of each pixel, (pixels, cells)."""
    centres = np.arange(pixels.start, pixels.stop, dtype=np.float32) + 0.5
    place = (centres - low) * (cells / max(high - low, _LEAST_SIDE)) - 0.5
    distance = np.abs(place[:, None] - np.arange(cells, dtype=np.float32))
    weights: NDArray[np.float32] = np.maximum(0, 1 - distance).astype(np.float32)
    return weights
