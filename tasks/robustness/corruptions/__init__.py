"""The corruptions of ImageNet-C (arXiv 1903.12261), made on the fly for images of any size.

Their strengths are those of ImageNet-C, Tiny-ImageNet-C or CIFAR-10-C (`severities`).

What comes out is *not* ImageNet-C: that is a set of files, written once, as JPEG of quality 85. The
kinds and strengths are the published ones, but frost is drawn instead of photographed (`frost`),
and motion blur and snow follow the package `imagecorruptions` instead of ImageMagick.
"""

import hashlib
from collections.abc import Callable
from inspect import signature

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tasks.errors import SettingError
from tasks.robustness.corruptions.blur import (
    defocus_blur,
    gaussian_blur,
    glass_blur,
    motion_blur,
    zoom_blur,
)
from tasks.robustness.corruptions.colour import brightness, contrast, saturate
from tasks.robustness.corruptions.digital import elastic_transform, jpeg_compression, pixelate
from tasks.robustness.corruptions.frost import frost
from tasks.robustness.corruptions.noise import (
    gaussian_noise,
    impulse_noise,
    shot_noise,
    speckle_noise,
)
from tasks.robustness.corruptions.severities import (
    Strength,
    Strengths,
    strength,
)
from tasks.robustness.corruptions.spatter import spatter
from tasks.robustness.corruptions.weather import fog, snow

SEVERITIES = (1, 2, 3, 4, 5)
GROUPS: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
CORRUPTIONS = tuple(name for names in GROUPS.values() for name in names)
"""The fifteen of the benchmark, in the published order."""
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""The four set aside for choosing settings."""
NEED_OPENCV = ("spatter",)
"""Those that find edges and distances with it."""

_FIXED: dict[str, Callable[[NDArray[np.uint8], Strength], NDArray[np.uint8]]] = {
    "defocus_blur": defocus_blur,
    "zoom_blur": zoom_blur,
    "brightness": brightness,
    "contrast": contrast,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
    "gaussian_blur": gaussian_blur,
    "saturate": saturate,
}
_DRAWN: dict[str, Callable[[NDArray[np.uint8], Strength, Generator], NDArray[np.uint8]]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "elastic_transform": elastic_transform,
    "speckle_noise": speckle_noise,
    "spatter": spatter,
}


_registered: dict[str, tuple[Strength, ...]] = {}


def register_corruption(
    *strengths: Strength,
) -> Callable[[Callable[..., NDArray[np.uint8]]], Callable[..., NDArray[np.uint8]]]:
    """A decorator for a function that is a further corruption, under the function's name.

    The function takes an image (H, W, 3), uint8, and the strength of a severity, and if it has a
    third argument a `numpy.random.Generator`; it returns the corrupted image. A module that
    registers corruptions must be imported first, such as by the setting ``plugins=[my_module]``.

    Args:
        *strengths: of severities 1 to 5, whatever the size of the images.

    Raises:
        SettingError: another number of strengths, or a name that there is already.
    """

    def register(function: Callable[..., NDArray[np.uint8]]) -> Callable[..., NDArray[np.uint8]]:
        name = str(getattr(function, "__name__", ""))
        if len(strengths) != len(SEVERITIES):
            raise SettingError(f"corruption {name}: {len(strengths)} strengths, expected 5.")
        if name in CORRUPTIONS + EXTRA:
            raise SettingError(f"There is a corruption {name} already; rename the function.")
        drawn = len(signature(function).parameters) > 2
        (_DRAWN if drawn else _FIXED)[name] = function
        _registered[name] = strengths
        return function

    return register


def registered_corruptions() -> tuple[str, ...]:
    """The names of those that `register_corruption` added."""
    return tuple(_registered)


def all_corruptions() -> tuple[str, ...]:
    """The names of all that there are, in the order of reports."""
    return (*CORRUPTIONS, *EXTRA, *_registered)


def corrupt(
    image: NDArray[np.uint8],
    name: str,
    severity: int,
    draws: Generator,
    strengths: Strengths = "imagenet-c",
) -> NDArray[np.uint8]:
    """A corrupted copy of an image.

    Args:
        image: (H, W, 3), RGB.
        name: one of `CORRUPTIONS` or `EXTRA`.
        severity: 1 to 5.
        draws: where a random corruption draws from, such as `generator_for`.
        strengths: the published set whose strengths are taken, see `severities`.

    Raises:
        SettingError: an unknown name or severity.
        ValueError: an image that is not RGB bytes.
    """
    check(name, severity)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(
            f"The image to corrupt is {image.dtype} of shape {image.shape}, not uint8 of "
            "(H, W, 3). Convert it: np.asarray(Image.open(path).convert('RGB'))."
        )
    image = np.ascontiguousarray(image)
    fixed = _FIXED.get(name)
    own = _registered.get(name)
    given = own[severity - 1] if own else strength(name, severity, strengths)
    return fixed(image, given) if fixed else _DRAWN[name](image, given, draws)


def check(name: str, severity: int) -> None:
    """Raise a SettingError unless there is such a corruption of such a severity."""
    if name not in _FIXED and name not in _DRAWN:
        raise SettingError(
            f"There is no corruption '{name}'. There are {', '.join(CORRUPTIONS)}, and the extra "
            f"{', '.join((*EXTRA, *_registered))}."
        )
    if severity not in SEVERITIES:
        raise SettingError(
            f"There is no severity {severity!r} of {name}. Choose one of 1 (weak) to 5 (strong)."
        )


def generator_for(seed: int, image_id: int | str, name: str, severity: int) -> Generator:
    """Random numbers for one image under one corruption, whatever was drawn before.

    Args:
        seed: of the whole evaluation.
        image_id: number or name that tells the image from the others, such as its path within
            the dataset; 7 and "7" are the same.
        name: of the corruption.
        severity: 1 to 5.
    """
    key = "\0".join((str(int(seed)), str(image_id), name, str(int(severity))))
    words = np.frombuffer(hashlib.sha256(key.encode()).digest(), "<u4")
    return Generator(np.random.SFC64(np.random.SeedSequence(words.tolist())))
