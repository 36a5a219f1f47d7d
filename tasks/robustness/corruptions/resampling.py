"""Enlarging by a factor with linear interpolation, corners kept, as `scipy.ndimage.zoom` does.

OpenCV's resize keeps the edges of pixels instead of their centres, and its remap rounds positions
to 1/32 pixel; both are off by more than a grey level. Rows are cheap to gather, so an axis is
enlarged as whole rows, and a transposition brings the other axis there.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.robustness.corruptions.pixels import Values

Sources = tuple[NDArray[np.intp], NDArray[np.intp], Values]


def zoomed(values: Values, factor: float) -> Values:
    """The middle of `values`, (H, W) or (H, W, 3), enlarged by `factor`, which is at least 1.

    The result may be a little larger than `values`, as part of a pixel counts as a whole one.
    """
    height, width = values.shape[:2]
    columns = _enlarged(_transposed(values), _sources(width, factor))
    return _enlarged(_transposed(columns), _sources(height, factor))


def zoom_sum(values: Values, factors: Sequence[float]) -> Values:
    """Sum of `zoomed` over factors, each cut at the bottom and the right to (H, W, 3).

    All factors share the same scratch arrays: fresh ones of this size cost four times as much as
    the arithmetic, as the system hands them out page by page.
    """
    height, width = values.shape[:2]
    total, wide = np.zeros_like(values), np.empty_like(values)
    columns = _transposed(values)
    across = np.empty_like(columns), np.empty_like(columns)
    down = np.empty_like(values), np.empty_like(values)
    for factor in factors:
        cv2.transpose(_enlarged(columns, _sources(width, factor, width), across), wide)
        total += _enlarged(wide, _sources(height, factor, height), down)
    return total


def _transposed(values: Values) -> Values:
    return np.asarray(cv2.transpose(values), np.float32)


def _enlarged(
    values: Values, sources: Sources, scratch: tuple[Values, Values] | None = None
) -> Values:
    """Each row between two rows of `values`; the scratch arrays have the shape of the result."""
    first, second, share = sources
    low, high = scratch or (None, None)
    # "clip" changes nothing here, but numpy copies once more when it may have to raise
    high = np.take(values, second, axis=0, out=high, mode="clip")
    low = np.take(values, first, axis=0, out=low, mode="clip")
    high -= low
    high *= share.reshape(-1, *[1] * (values.ndim - 1))
    high += low
    return high


@lru_cache(maxsize=256)
def _sources(size: int, factor: float, limit: int | None = None) -> Sources:
    """For each row of the result: the two rows it lies between, and the share of the second."""
    part = math.ceil(size / factor)
    length = round(part * factor)
    place = np.arange(length)[:limit] * ((part - 1) / max(length - 1, 1))
    first = np.minimum(place.astype(np.intp), part - 1)
    second = np.minimum(first + 1, part - 1)
    start = (size - part) // 2
    return start + first, start + second, (place - first).astype(np.float32)
