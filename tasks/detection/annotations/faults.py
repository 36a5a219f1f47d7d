"""What is wrong with annotated objects: what stops, and what is counted and noted."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tasks.errors import DatasetError

Plain = dict[str, Any]
_KINDS = {
    "outside": ("reaches outside its image", "reach outside their images", "clipped"),
    "empty": ("has no area in its image", "have no area in their images", "left out"),
    "short": (
        "has a polygon of fewer than three points",
        "have polygons of fewer than three points",
        "trained on without them",
    ),
    "shapeless": (
        "has no polygon of three points",
        "have no polygons of three points",
        "left out",
    ),
}
"""What is true of one object, of several, and what becomes of such objects in training."""


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with some objects of a file, and harmless.

    Args:
        kind: of `_KINDS`.
        count: number of objects.
        first: which annotation is the first one.
    """

    kind: str
    count: int
    first: str

    @property
    def in_training(self) -> str:
        """What training does with these objects."""
        who = "it is" if self.count == 1 else "they are"
        return f"{self._objects} (the first: {self.first}): {who} {_KINDS[self.kind][2]}"

    @property
    def in_evaluation(self) -> str:
        """What evaluation does with them: `image_truth` takes what the file says."""
        counts = "it counts" if self.count == 1 else "they count"
        how = "as annotated, as in pycocotools"
        if self.kind == "shapeless":
            how += ", which cannot read such outlines: here they have no pixels"
        return f"{self._objects} (the first: {self.first}); {counts} in the score {how}"

    @property
    def _objects(self) -> str:
        one, several, _ = _KINDS[self.kind]
        return f"1 object {one}" if self.count == 1 else f"{self.count} objects {several}"


class Faults:
    """Counts what is harmless; raises what is not.

    Args:
        path: of the annotation file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def count(self, kind: str, annotation: Plain, image: Plain) -> None:
        """Count one object."""
        self._counts[kind] += 1
        self._first.setdefault(kind, _place(annotation, image))

    def fatal(self, annotation: Plain, image: Plain, fault: str) -> DatasetError:
        """An error that names the object."""
        return DatasetError(f"{self.path}: {_place(annotation, image)}, {fault}")

    @property
    def found(self) -> tuple[Fault, ...]:
        """What was counted, by kind."""
        return tuple(Fault(kind, count, self._first[kind]) for kind, count in self._counts.items())


def _place(annotation: Plain, image: Plain) -> str:
    return f"annotation {annotation['id']} of image {image['id']}, {image['file_name']}"
