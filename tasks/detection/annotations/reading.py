"""A COCO annotation file (arXiv 1405.0312) as typed plain data."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.detection.annotations.checks import Box, Checked, checked_instance
from tasks.detection.annotations.faults import Fault, Faults
from tasks.detection.annotations.file import checked_file, grouped
from tasks.detection.annotations.segments import (
    Masks,
    Segment,
    area,
    decoded_masks,
    run_length_counts,
)
from tasks.detection.records import ImageTruth
from tasks.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Instance:
    """One annotated object.

    Args:
        id: of the annotation.
        label: index of the class, from 0.
        place: where it is, as annotated and in the image.
        area: in pixels, as annotated, else of the outline if it was read, else of the box.
        crowd: it stands for many objects.
    """

    id: int
    label: int
    place: Checked
    area: float
    crowd: bool

    @property
    def trained(self) -> bool:
        """Whether training uses it: it is no crowd, and lies in the image."""
        return not self.crowd and self.place.inside is not None


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One annotated image; `width` and `height` in pixels."""

    id: int
    file_name: str
    width: int
    height: int
    instances: tuple[Instance, ...]


@dataclass(frozen=True)
class Annotations:
    """What an annotation file says.

    Args:
        class_names: in the order of their category ids.
        category_ids: the id of each class in the file; there may be gaps.
        images: in the order of their ids.
        faults: what is wrong in it, and harmless.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: tuple[ImageRecord, ...]
    faults: tuple[Fault, ...]


@contextmanager
def _without_collection() -> Iterator[None]:
    """No garbage collection: it would walk again and again over millions of values, all in use."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_without_collection()
def read_annotations(path: Path, class_names: Sequence[str] | None, masks: bool) -> Annotations:
    """Read and check a COCO instances file.

    Objects are kept as annotated, for evaluation (`image_truth`). Training takes the part of a box
    that lies in the image and polygons of at least three points, and leaves out objects of which
    nothing is left.

    Args:
        path: the file.
        class_names: those of another split, which must be the same; None: any.
        masks: whether outlines are needed.

    Raises:
        DatasetError: naming the file and the id, whatever else is wrong in it.
    """
    plain = checked_file(path)
    categories = sorted(plain["categories"], key=lambda category: int(category["id"]))
    names = tuple(str(category["name"]) for category in categories)
    if class_names is not None and names != tuple(class_names):
        raise DatasetError(_other_classes(path, names, class_names))
    labels = {category["id"]: i for i, category in enumerate(categories)}
    faults = Faults(str(path))
    records = []
    for image, annotations in grouped(plain, path):
        instances = tuple(
            _instance(annotation, image, labels, masks, faults) for annotation in annotations
        )
        size = (int(image["width"]), int(image["height"]))
        records.append(ImageRecord(image["id"], str(image["file_name"]), *size, instances))
    return Annotations(
        names,
        tuple(category["id"] for category in categories),
        tuple(sorted(records, key=lambda record: record.id)),
        faults.found,
    )


def image_truth(record: ImageRecord, masks: bool) -> ImageTruth:
    """The objects of an image as evaluation takes them: all that the file has, as it has them.

    Crowds are among them, and objects that reach outside the image or have no area, which no
    detection can fit. So does pycocotools take them, and the figures are those that it computes.
    """
    instances = record.instances
    return ImageTruth(
        image_id=record.id,
        size=(record.height, record.width),
        boxes=np.array([i.place.box for i in instances], np.float64).reshape(-1, 4),
        labels=np.array([i.label for i in instances], np.int64),
        crowd=np.array([i.crowd for i in instances], bool),
        areas=np.array([i.area for i in instances], np.float64),
        masks=_counts(record, instances) if masks else None,
    )


def instance_masks(record: ImageRecord, instances: Sequence[Instance]) -> Masks:
    """Masks (n, H, W), 0 or 1, of some objects of an image."""
    return decoded_masks(_counts(record, instances), (record.height, record.width))


def _counts(record: ImageRecord, instances: Sequence[Instance]) -> tuple[bytes, ...]:
    size = (record.height, record.width)
    counts = []
    for instance in instances:
        segment = instance.place.segment
        assert segment is not None, "outlines were not asked for"
        where = _where(instance.id, record.id, record.file_name)
        counts.append(run_length_counts(segment, size, where))
    return tuple(counts)


def _instance(
    annotation: dict[str, Any],
    image: dict[str, Any],
    labels: dict[int, int],
    masks: bool,
    faults: Faults,
) -> Instance:
    place = checked_instance(annotation, image, labels, masks, faults)
    return Instance(
        annotation["id"],
        labels[annotation["category_id"]],
        place,
        _area(annotation, image, place.box, place.segment),
        bool(annotation.get("iscrowd", 0)),
    )


def _area(
    annotation: dict[str, Any], image: dict[str, Any], box: Box, segment: Segment | None
) -> float:
    if annotation.get("area") is not None:
        return float(annotation["area"])
    if segment is None:
        return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
    where = _where(annotation["id"], image["id"], image["file_name"])
    return area(segment, (image["height"], image["width"]), where)


def _where(annotation: int, image: int, file_name: str) -> str:
    return f"Annotation {annotation} of image {image}, {file_name},"


def _other_classes(path: Path, names: Sequence[str], wanted: Sequence[str]) -> str:
    pairs = zip(names, wanted, strict=False)
    first = next((f"{a!r} for {b!r}" for a, b in pairs if a != b), "one list is longer")
    return (
        f"{path} has other classes than the tested split: {len(names)} against {len(wanted)}, "
        f"{first}. All annotation files of a dataset need the same categories; list them in both."
    )
