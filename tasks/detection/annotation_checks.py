"""What can be wrong in an annotation file: what stops, and what is mended and noted."""

import json
from collections import Counter
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from tasks.detection.segments import Polygon, Segment
from tasks.errors import DatasetError

Box = tuple[float, float, float, float]
Plain = dict[str, Any]
_LISTS = ("images", "annotations", "categories")
_LEAST_NUMBERS = 6  # three points
_KINDS = {
    "outside": "reached outside the image and were clipped",
    "empty": "had no area in the image and were left out",
    "short": "had a polygon of fewer than three points, which was left out",
    "shapeless": "had no outline left and were left out",
}


class Faults:
    """Counts what is mended; raises what cannot be.

    Args:
        path: of the annotation file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def mended(self, kind: str, annotation: Plain, image: Plain) -> None:
        """Count one."""
        self._counts[kind] += 1
        self._first.setdefault(kind, _place(annotation, image))

    def fatal(self, annotation: Plain, image: Plain, fault: str) -> DatasetError:
        """An error that names the object."""
        return DatasetError(f"{self.path}: {_place(annotation, image)} {fault}")

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence per kind."""
        return tuple(
            f"{count} objects {_KINDS[kind]} (the first: {self._first[kind]})"
            for kind, count in self._counts.items()
        )


def checked_file(path: Path) -> Plain:
    """The content of a COCO instances file, whose images and categories are sound.

    Raises:
        DatasetError: naming what is wrong.
    """
    try:
        plain = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} cannot be read as JSON: {error}. Expected a COCO annotation file; fetch or "
            "write it again."
        ) from error
    if not isinstance(plain, dict) or not all(isinstance(plain.get(k), list) for k in _LISTS):
        found = f"keys {', '.join(map(str, plain))}" if isinstance(plain, dict) else "a list"
        raise DatasetError(
            f"{path} is no COCO instances file: it holds {found or 'nothing'}; expected the lists "
            f"{', '.join(_LISTS)}. A file of results or captions cannot be used."
        )
    for kind, keys in (("images", ("id", "file_name")), ("categories", ("id", "name"))):
        for key in keys:
            _check_unique(path, plain[kind], kind, key)
    _check_unique(path, plain["annotations"], "annotations", "id")
    if not plain["categories"]:
        raise DatasetError(f"{path} lists no categories. Give each class an id and a name.")
    for image in plain["images"]:
        if not all(isinstance(image.get(k), int) and image[k] > 0 for k in ("width", "height")):
            raise DatasetError(
                f"{path}: image {image['id']}, {image['file_name']}, has width "
                f"{image.get('width')!r} and height {image.get('height')!r}; expected its size in "
                "pixels."
            )
    return plain


def grouped(plain: Plain, path: Path) -> Iterator[tuple[Plain, list[Plain]]]:
    """Every image with its annotations.

    Raises:
        DatasetError: an annotation of an image that the file does not list.
    """
    by_image: dict[Any, list[Plain]] = {image["id"]: [] for image in plain["images"]}
    for annotation in plain["annotations"]:
        found = by_image.get(annotation.get("image_id"))
        if found is None:
            raise DatasetError(
                f"{path}: annotation {annotation['id']} is of image "
                f"{annotation.get('image_id')!r}, which the file does not list. Add the image to "
                "`images`, or take the annotation out."
            )
        found.append(annotation)
    for image in plain["images"]:
        yield image, by_image[image["id"]]


def checked_instance(
    annotation: Plain, image: Plain, labels: dict[int, int], masks: bool, faults: Faults
) -> tuple[Box, Segment | None] | None:
    """Box and outline of an object, mended where that is harmless; None if it is left out.

    Raises:
        DatasetError: an unknown category, a box of other than four numbers, an outline that is
            none.
    """
    if annotation.get("category_id") not in labels:
        raise faults.fatal(
            annotation,
            image,
            f"has category {annotation.get('category_id')!r}, which `categories` does not list.",
        )
    box = _box(annotation, image, faults)
    if box is None:
        return None
    if not masks:
        return box, None
    segment = _segment(annotation, image, faults)
    if segment is None:
        faults.mended("shapeless", annotation, image)
        return None
    return box, segment


def _box(annotation: Plain, image: Plain, faults: Faults) -> Box | None:
    values = annotation.get("bbox")
    if not (isinstance(values, list) and len(values) == 4 and all(map(_is_number, values))):
        raise faults.fatal(
            annotation, image, f"has bbox {values!r}; expected x, y, width, height in pixels."
        )
    x, y, width, height = values
    right, below = image["width"], image["height"]
    box = (
        float(min(max(x, 0), right)),
        float(min(max(y, 0), below)),
        float(min(max(x + width, 0), right)),
        float(min(max(y + height, 0), below)),
    )
    if box[2] <= box[0] or box[3] <= box[1]:
        faults.mended("empty", annotation, image)
        return None
    if x < 0 or y < 0 or x + width > right or y + height > below:
        faults.mended("outside", annotation, image)
    return box


def _segment(annotation: Plain, image: Plain, faults: Faults) -> Segment | None:
    segment = annotation.get("segmentation")
    if segment is None or segment == []:
        raise faults.fatal(
            annotation,
            image,
            "has no segmentation. Add one, or train on boxes alone: detector=faster_rcnn.",
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
    polygons = tuple(
        polygon
        for part in segment
        if (polygon := _polygon(part, annotation, image, faults)) is not None
    )
    return polygons or None


def _polygon(part: list[Any], annotation: Plain, image: Plain, faults: Faults) -> Polygon | None:
    try:
        polygon = np.array(part, np.float64)
    except (ValueError, TypeError):
        polygon = np.full(1, np.nan)
    if polygon.ndim != 1 or len(polygon) % 2 or not np.isfinite(polygon).all():
        raise faults.fatal(
            annotation,
            image,
            f"has a polygon that is no flat list of pairs x, y: {str(part)[:60]}.",
        )
    if len(polygon) < _LEAST_NUMBERS:
        faults.mended("short", annotation, image)
        return None
    return polygon


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


def _check_unique(path: Path, entries: list[Any], kind: str, key: str) -> None:
    """Raise `DatasetError` unless every entry has the key, each with a value of its own."""
    seen = set()
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict) or entry.get(key) is None:
            raise DatasetError(f"{path}: entry {i} of `{kind}` has no {key}: {str(entry)[:80]}.")
        if entry[key] in seen:
            raise DatasetError(
                f"{path}: two entries of `{kind}` have the {key} {entry[key]!r}. Every one needs "
                "its own."
            )
        seen.add(entry[key])


def _place(annotation: Plain, image: Plain) -> str:
    return f"annotation {annotation['id']} of image {image['id']}, {image['file_name']},"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
