"""Where an annotated object is, checked: what is wrong stops, or is counted and noted."""

import sys
from typing import Any, NamedTuple

import numpy as np

from tasks.detection.annotations.faults import Faults, Plain
from tasks.detection.annotations.segments import Polygon, Segment

Box = tuple[float, float, float, float]
_NUMBER = (int, float)  # `int | float` in a call would be made anew at each of a million
_LEAST_NUMBERS = 6  # three points
_LARGEST = sys.float_info.max
_FARTHEST = 1e6  # pixels; pycocotools takes 5 s for 1e7, and crashes at 1e8 (6 GiB of memory)


class Checked(NamedTuple):
    """Where an object is.

    Args:
        box: as annotated: x0, y0, x1, y1, perhaps beyond the image, of no area or a negative one.
        inside: the part of the box in the image, for training; None: there is none, or no outline.
        segment: run lengths, or the polygons of at least three points, perhaps none: others have no
            pixels, in pycocotools too. None: not asked for.
    """

    box: Box
    inside: Box | None
    segment: Segment | None


def checked_instance(
    annotation: Plain, image: Plain, labels: dict[int, int], masks: bool, faults: Faults
) -> Checked:
    """Where an object is, as annotated for evaluation and as far as it serves for training.

    Raises:
        DatasetError: an unknown category, a box of other than four numbers, an area or a mark of
            crowds that is none, an outline that is none.
    """
    _check_facts(annotation, image, labels, faults)
    box, inside = _box(annotation, image, faults)
    if not masks:
        return Checked(box, inside, None)
    segment = _segment(annotation, image, faults)
    if not segment:
        faults.count("shapeless", annotation, image)
        inside = None
    return Checked(box, inside, segment)


def _check_facts(annotation: Plain, image: Plain, labels: dict[int, int], faults: Faults) -> None:
    category, area = annotation.get("category_id"), annotation.get("area")
    if not isinstance(category, _NUMBER) or category not in labels:
        fault = f"has category {category!r}, which `categories` does not list."
    elif area is not None and not (_is_number(area) and area >= 0):
        fault = f"has area {area!r}; expected pixels, or no area at all."
    elif annotation.get("iscrowd") not in (0, 1, None):
        fault = f"has iscrowd {annotation['iscrowd']!r}; expected 0 or 1."
    else:
        return
    raise faults.fatal(annotation, image, fault)


def _box(annotation: Plain, image: Plain, faults: Faults) -> tuple[Box, Box | None]:
    """The box as annotated, and the part of it in the image."""
    values = annotation.get("bbox")
    if not (isinstance(values, list) and len(values) == 4 and all(map(_is_number, values))):
        raise faults.fatal(
            annotation, image, f"has bbox {values!r}; expected x, y, width, height in pixels."
        )
    x, y, width, height = map(float, values)
    right, below = image["width"], image["height"]
    x1, y1 = x + width, y + height
    if x >= 0 and y >= 0 and width > 0 and height > 0 and x1 <= right and y1 <= below:
        box = x, y, x1, y1
        return box, box  # nearly all of them: clipping would be half of the time
    inside = (
        float(min(max(x, 0), right)),
        float(min(max(y, 0), below)),
        float(min(max(x1, 0), right)),
        float(min(max(y1, 0), below)),
    )
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        faults.count("empty", annotation, image)
        return (x, y, x1, y1), None
    faults.count("outside", annotation, image)
    return (x, y, x1, y1), inside


def _segment(annotation: Plain, image: Plain, faults: Faults) -> Segment:
    segment = annotation.get("segmentation")
    if segment is None or segment == []:
        raise faults.fatal(
            annotation,
            image,
            "has no segmentation. Add one, or work with boxes alone: detector=faster_rcnn.",
        )
    if isinstance(segment, dict):
        _check_runs(segment, annotation, image, faults)
        return segment
    if not (isinstance(segment, list) and all(isinstance(part, list) for part in segment)):
        raise faults.fatal(
            annotation,
            image,
            f"has a segmentation of type {type(segment).__name__}; expected a list of polygons, "
            "each a flat list of x, y, x, y, ..., or run lengths {size, counts}.",
        )
    polygons = [_polygon(part, annotation, image, faults) for part in segment]
    outline = tuple(polygon for polygon in polygons if len(polygon) >= _LEAST_NUMBERS)
    if len(outline) < len(polygons):
        faults.count("short", annotation, image)
    return outline


def _polygon(part: list[Any], annotation: Plain, image: Plain, faults: Faults) -> Polygon:
    try:
        polygon = np.array(part)
    except ValueError:  # lists of different lengths
        polygon = np.array("")
    # Only numbers become an array of a kind of numbers; a text of digits would pass as float64.
    if polygon.ndim != 1 or polygon.dtype.kind not in "iuf" or len(polygon) % 2:
        raise faults.fatal(
            annotation,
            image,
            f"has a polygon that is no flat list of pairs x, y: {str(part)[:60]}.",
        )
    if len(polygon) and not np.abs(polygon).max() <= _FARTHEST:  # nan neither
        raise faults.fatal(
            annotation,
            image,
            f"has a polygon with a coordinate that is nan or beyond {_FARTHEST:.0e} pixels: "
            f"{str(part)[:60]}. Write it anew, in pixels of the image.",
        )
    return polygon.astype(np.float64, copy=False)


def _check_runs(segment: Plain, annotation: Plain, image: Plain, faults: Faults) -> None:
    size, counts = segment.get("size"), segment.get("counts")
    wanted = [image["height"], image["width"]]
    if size != wanted:
        raise faults.fatal(
            annotation,
            image,
            f"has run lengths for height and width {size}, but its image has {wanted}.",
        )
    if isinstance(counts, list):
        if set(map(type, counts)) - {int} or min(counts, default=0) < 0:
            raise faults.fatal(
                annotation, image, "has run lengths that are not all whole numbers from 0."
            )
        if sum(counts) != wanted[0] * wanted[1]:
            raise faults.fatal(
                annotation,
                image,
                f"has run lengths of {sum(counts)} pixels, but its image has "
                f"{wanted[0] * wanted[1]}.",
            )
    elif not isinstance(counts, str):
        raise faults.fatal(
            annotation, image, "has run lengths whose counts are neither a list nor a text."
        )


def _is_number(value: Any) -> bool:
    # isfinite() fails at whole numbers that no float can hold, which JSON may contain.
    number = isinstance(value, _NUMBER) and not isinstance(value, bool)
    return number and abs(value) <= _LARGEST
