"""Outlines and run lengths of objects, as annotation files hold them, made into masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as checking_mask
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from tasks.detection.records import Size
from tasks.errors import DatasetError

Polygon = NDArray[np.float64]
"""x, y, x, y, ... in pixels."""
Segment = tuple[Polygon, ...] | dict[str, Any]
"""Polygons, or COCO's run lengths, compressed or not."""
Masks = NDArray[np.uint8]


def run_length_counts(segment: Segment, size: Size, where: str) -> bytes:
    """The compressed `counts` of a segment; several polygons are one object, none are no pixel.

    Args:
        segment: of one object.
        size: of its image.
        where: names the object in the error.

    Raises:
        DatasetError: run lengths that cannot be decoded.
    """
    height, width = size
    try:
        if isinstance(segment, dict):
            if isinstance(segment["counts"], str):
                counts = segment["counts"].encode()
                # This decoder notices what is malformed, where pycocotools' reads beyond the end.
                checking_mask.decode({"size": [height, width], "counts": counts})
                return counts
            runs = coco_mask.frPyObjects(segment, height, width)
        elif not segment:
            runs = coco_mask.encode(np.zeros((height, width), np.uint8, order="F"))
        else:
            parts = coco_mask.frPyObjects([polygon.tolist() for polygon in segment], height, width)
            runs = coco_mask.merge(parts)
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        raise DatasetError(
            f"{where} has run lengths that cannot be decoded ({error}). Write them anew with "
            "pycocotools.mask.encode, or take the annotation out."
        ) from error
    return bytes(runs["counts"])


def area(segment: Segment, size: Size, where: str) -> float:
    """Pixels of a segment; the arguments and errors of `run_length_counts`."""
    counts = run_length_counts(segment, size, where)
    return float(coco_mask.area({"size": list(size), "counts": counts}))


def decoded_masks(counts: Sequence[bytes], size: Size) -> Masks:
    """Masks (n, H, W), 0 or 1, of compressed run lengths."""
    if not counts:
        return np.zeros((0, *size), np.uint8)
    runs = [{"size": list(size), "counts": one} for one in counts]
    masks: Masks = np.ascontiguousarray(coco_mask.decode(runs).transpose(2, 0, 1))
    return masks


def encoded_masks(masks: Masks) -> tuple[bytes, ...]:
    """The compressed run lengths of masks (n, H, W), 0 or 1."""
    return tuple(coco_mask.encode(np.asfortranarray(mask))["counts"] for mask in masks)
