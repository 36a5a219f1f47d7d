"""The pieces of a robustness evaluation: one set of images, under one corruption or none."""

from typing import NamedTuple

CLEAN = "clean"
"""The collection of the images as they are."""
ON_THE_FLY = "corrupted"
"""The collection of images corrupted by this program, which are never ImageNet-C."""

IMAGENET_C, IMAGENET_C_BAR = "imagenet-c", "imagenet-c-bar"
"""The collections of the published corrupted images."""


class Cell(NamedTuple):
    """One set of images that is evaluated as a whole.

    Args:
        collection: where the images come from: `CLEAN`, `ON_THE_FLY`, or the name of a published
            set such as `imagenet-a`.
        corruption: its name, empty for none.
        severity: 1 to 5, 0 for none.
    """

    collection: str
    corruption: str = ""
    severity: int = 0

    @property
    def name(self) -> str:
        """Such as ``imagenet-c/fog/3`` or ``clean``."""
        parts = (self.collection, self.corruption, str(self.severity or ""))
        return "/".join(part for part in parts if part)
