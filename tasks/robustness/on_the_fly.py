"""Corruptions between reading an image and preparing it for the network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image

from tasks.data.images import UNREADABLE, ImageDataset, RgbImage
from tasks.errors import SettingError
from tasks.opencv import require_cv2
from tasks.robustness.cells import CLEAN, ON_THE_FLY, Cell
from tasks.robustness.corruptions import (
    CORRUPTIONS,
    EXTRA,
    NEED_OPENCV,
    SEVERITIES,
    all_corruptions,
    check,
    corrupt,
    generator_for,
)
from tasks.robustness.corruptions.severities import Strengths

Profile = Literal["imagenet-c", "tiny-imagenet-c", "cifar-c", "any-size"]
PROFILES: tuple[str, ...] = get_args(Profile)
_STRENGTHS: dict[Profile, Strengths] = {
    "imagenet-c": "imagenet-c",
    "tiny-imagenet-c": "tiny-imagenet-c",
    "cifar-c": "cifar-c",
    "any-size": "imagenet-c",
}
PUBLISHED_SETS: dict[str, str] = {
    "imagenet-c": "ImageNet-C",
    "tiny-imagenet-c": "Tiny-ImageNet-C",
    "cifar-c": "CIFAR-10-C",
    "any-size": "ImageNet-C",
}
"""The published set whose strengths a profile takes, as reports call it."""
CROP = 224
"""Side in pixels of the images of ImageNet-C."""
_RESIZED = 256
_LARGEST: tuple[tuple[float, Profile], ...] = (
    (math.sqrt(32 * 64), "cifar-c"),
    (math.sqrt(64 * 224), "tiny-imagenet-c"),
    (math.inf, "any-size"),
)
"""Up to which shorter side each profile fits: the geometric means of the published sizes."""
_LOOKED_AT = 16
"""Images of which the size is looked up; those of small sets are alike."""


@dataclass(frozen=True)
class Corruption:
    """Alters images, each by noise of its own that depends on nothing but the fields and name.

    Args:
        name: of the corruption, or empty for none.
        severity: 1 to 5; 0 without a corruption.
        seed: of the noise.
        profile: `imagenet-c`: the image is first resized and cut to 224 x 224 as those of that set
            were, and corrupted as strongly; all others: it is corrupted at its own size, with the
            strengths of CIFAR-10-C (`cifar-c`), of Tiny-ImageNet-C (`tiny-imagenet-c`) or, as in
            COCO-C, of ImageNet-C (`any-size`).

    Raises:
        OpenCvError: a corruption that needs OpenCV, where it cannot be imported.
    """

    name: str
    severity: int
    seed: int
    profile: Profile

    def __post_init__(self) -> None:
        if self.name in NEED_OPENCV:  # rather now than in a loading process
            require_cv2(f"corruption {self.name}")

    def __call__(self, image: RgbImage, image_name: str) -> RgbImage:
        """The image, corrupted."""
        if self.profile == "imagenet-c":
            image = published_crop(image)
        if not self.name:
            return image
        draws = generator_for(self.seed, image_name, self.name, self.severity)
        return corrupt(image, self.name, self.severity, draws, _STRENGTHS[self.profile])

    def __str__(self) -> str:
        return f"{self.cell.name}, {self.profile}, seed {self.seed}: on the fly, not ImageNet-C"

    @property
    def cell(self) -> Cell:
        """Where its images belong."""
        return Cell(ON_THE_FLY, self.name, self.severity) if self.name else Cell(CLEAN)


def profile_for(side: float) -> Profile:
    """The profile whose published images are nearest in size to images of a shorter side `side`.

    | shorter side in pixels | profile | strengths of | made for |
    |---|---|---|---|
    | up to 45 (16, 28, 32) | `cifar-c` | CIFAR-10-C | 32 |
    | 46 to 119 (48, 64, 96) | `tiny-imagenet-c` | Tiny-ImageNet-C | 64 |
    | from 120 (128, 256, 800) | `any-size` | ImageNet-C | 224 |
    """
    return next(profile for largest, profile in _LARGEST if side <= largest)


def usual_side(images: ImageDataset) -> float | None:
    """The median shorter side of some images of a dataset; None if none can be read."""
    count = len(images)
    sides = []
    for index in sorted({number * count // _LOOKED_AT for number in range(_LOOKED_AT)}):
        if index < count:
            try:
                sides.append(min(images.image(index).shape[:2]))
            except UNREADABLE:
                continue  # told when the image is evaluated
    return float(np.median(sides)) if sides else None


def published_crop(image: RgbImage) -> RgbImage:
    """The centre 224 x 224 of an image whose short side is resized to 256, bilinearly."""
    height, width = image.shape[:2]
    scale = _RESIZED / min(height, width)
    size = (max(_RESIZED, int(width * scale)), max(_RESIZED, int(height * scale)))
    resized = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    left, top = (round((side - CROP) / 2) for side in resized.size)
    return np.array(resized.crop((left, top, left + CROP, top + CROP)))


def parse_corruption(text: str, seed: int, profile: Profile) -> Corruption:
    """A corruption from a setting such as ``fog/3``.

    Raises:
        SettingError: another form, or no such corruption or severity.
    """
    name, slash, severity = text.partition("/")
    if not slash or not severity.isdigit():
        raise SettingError(
            f"corruption={text} is not of the form <name>/<severity>, such as corruption=fog/3."
        )
    check(name, int(severity))
    return Corruption(name, int(severity), seed, profile)


def chosen_corruptions(names: str | Sequence[str]) -> tuple[str, ...]:
    """Corruptions by a setting: `published` (15), `all` (with the 4 extra), or names.

    Raises:
        SettingError: no such corruption.
    """
    if isinstance(names, str) and names in ("published", "all"):
        return CORRUPTIONS + EXTRA if names == "all" else CORRUPTIONS
    listed = (names,) if isinstance(names, str) else tuple(names)
    for name in listed:
        check(name, SEVERITIES[0])
    if not listed:
        raise SettingError("corruptions=[] leaves nothing to evaluate. Set corruptions=published.")
    return tuple(name for name in all_corruptions() if name in listed)


def corruptions_of(names: Sequence[str], seed: int, profile: Profile) -> list[Corruption]:
    """No corruption, and then each of the named ones in every severity."""
    cells = [(name, severity) for name in names for severity in SEVERITIES]
    return [Corruption(name, severity, seed, profile) for name, severity in (("", 0), *cells)]
