"""A COCO instances file whose lists are sound: ids that are unique, images that have a size."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.detection.annotations.faults import Plain
from tasks.errors import DatasetError

_LISTS = ("images", "annotations", "categories")
_KEYS = 8  # shown of a file of another kind
_UNIQUE: tuple[tuple[str, str, tuple[type, ...]], ...] = (
    ("images", "id", (int,)),
    ("images", "file_name", (str,)),
    ("categories", "id", (int,)),
    ("categories", "name", (str, int)),  # digits are often named by numbers
    ("annotations", "id", (int,)),
)


def checked_file(path: Path) -> Plain:
    """The content of a COCO instances file, whose images and categories are sound.

    Raises:
        DatasetError: naming what is wrong.
    """
    try:
        plain = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path} cannot be read as JSON: {error}. Expected a COCO annotation file; fetch or "
            "write it again."
        ) from error
    if not isinstance(plain, dict) or not all(isinstance(plain.get(k), list) for k in _LISTS):
        raise DatasetError(
            f"{path} is no COCO instances file: it holds {_described(plain)}; expected the lists "
            f"{', '.join(_LISTS)}. A file of results or captions cannot be used."
        )
    for kind, key, types in _UNIQUE:
        _check_unique(path, plain[kind], kind, key, types)
    if not plain["categories"]:
        raise DatasetError(f"{path} lists no categories. Give each class an id and a name.")
    for image in plain["images"]:
        if not all(type(image.get(k)) is int and image[k] > 0 for k in ("width", "height")):
            raise DatasetError(
                f"{path}: image {image['id']}, {image['file_name']}, has width "
                f"{image.get('width')!r} and height {image.get('height')!r}; expected its size in "
                "pixels, two whole numbers from 1."
            )
    return plain


def grouped(plain: Plain, path: Path) -> Iterator[tuple[Plain, list[Plain]]]:
    """Every image with its annotations.

    Raises:
        DatasetError: an annotation of an image that the file does not list.
    """
    by_image: dict[Any, list[Plain]] = {image["id"]: [] for image in plain["images"]}
    for annotation in plain["annotations"]:
        image_id = annotation.get("image_id")
        found = by_image.get(image_id) if isinstance(image_id, (int, float)) else None
        if found is None:
            raise DatasetError(
                f"{path}: annotation {annotation['id']} is of image {image_id!r}, which the file "
                "does not list. Add the image to `images`, or take the annotation out."
            )
        found.append(annotation)
    for image in plain["images"]:
        yield image, by_image[image["id"]]


def _check_unique(
    path: Path, entries: list[Any], kind: str, key: str, types: tuple[type, ...]
) -> None:
    """Raise `DatasetError` unless every entry has the key, each with a value of its own."""
    seen = set()
    for i, entry in enumerate(entries):
        value = entry.get(key) if isinstance(entry, dict) else None
        if value is None:
            raise DatasetError(f"{path}: entry {i} of `{kind}` has no {key}: {str(entry)[:80]}.")
        if type(value) not in types:
            wanted = "a text" if str in types else "a whole number"
            raise DatasetError(
                f"{path}: entry {i} of `{kind}` has the {key} {value!r}; expected {wanted}. "
                "Number images, annotations and categories, and name them, as COCO does."
            )
        if value in seen:
            raise DatasetError(
                f"{path}: two entries of `{kind}` have the {key} {value!r}. Every one needs "
                "its own."
            )
        seen.add(value)


def _described(plain: Any) -> str:
    if not isinstance(plain, dict):
        return f"a {type(plain).__name__}"
    more = " and more" if len(plain) > _KEYS else ""
    return f"keys {', '.join(list(plain)[:_KEYS])}{more}" if plain else "nothing"
