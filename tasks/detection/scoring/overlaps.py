"""How much boxes overlap, as COCO counts it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask


def box_overlaps(
    boxes: NDArray[Any], others: NDArray[Any], crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """IoU (n, m) of boxes (n, 4) with others (m, 4); with crowds the share of the box in them.

    Args:
        boxes: x0, y0, x1, y1.
        others: likewise.
        crowd: (m,), which of the others stand for many objects.
    """
    if not (len(boxes) and len(others)):
        return np.zeros((len(boxes), len(others)))
    sides = [np.hstack([b[:, :2], b[:, 2:] - b[:, :2]]).astype(float) for b in (boxes, others)]
    overlaps: NDArray[np.float64] = coco_mask.iou(*sides, crowd.astype(np.uint8))
    return overlaps
