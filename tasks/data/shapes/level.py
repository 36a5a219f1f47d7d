"""How hard the scenes are: one row of numbers per level."""

from dataclasses import dataclass
from typing import Final

from tasks.errors import SettingError


@dataclass(frozen=True)
class Level:
    """Ranges from which a scene is drawn. Lengths are fractions of the image side.

    Attributes:
        radius: Radius of an object that is alone.
        rotation: Largest rotation either way, degrees.
        stretch: Largest stretch of one axis against the other, as a fraction.
        margin: Least distance of an object's centre from the border, in radii: below 1 the border
            may cut objects.
        contrast: Step in luminance (0 to 1) between an object and the background.
        background: Amplitude of the background's two textures, luminance.
        surface: Amplitude of the texture on an object.
        tint: How far colours stray from grey.
        clutter: Number of fragments of no class behind the objects.
        occluders: Number of bars and blobs in front of them.
        visible: Least visible share of each object.
        light: Largest change of brightness across the image, as a fraction.
        grain: Standard deviation of the noise of pixels.
    """

    radius: tuple[float, float]
    rotation: float
    stretch: float
    margin: float
    contrast: tuple[float, float]
    background: float
    surface: float
    tint: float
    clutter: tuple[int, int]
    occluders: tuple[int, int]
    visible: float
    light: float
    grain: float


LEVELS: Final[dict[str, Level]] = {
    "easy": Level(
        radius=(0.28, 0.40), rotation=10.0, stretch=0.0, margin=1.0, contrast=(0.45, 0.60),
        background=0.0, surface=0.0, tint=0.10, clutter=(0, 0), occluders=(0, 0), visible=0.9,
        light=0.0, grain=0.01,
    ),
    "medium": Level(
        radius=(0.30, 0.42), rotation=15.0, stretch=0.10, margin=1.0, contrast=(0.35, 0.55),
        background=0.07, surface=0.04, tint=0.12, clutter=(0, 2), occluders=(0, 1), visible=0.8,
        light=0.2, grain=0.02,
    ),
    "hard": Level(
        radius=(0.24, 0.42), rotation=45.0, stretch=0.20, margin=0.9, contrast=(0.25, 0.50),
        background=0.13, surface=0.08, tint=0.22, clutter=(2, 5), occluders=(1, 2), visible=0.6,
        light=0.4, grain=0.04,
    ),
}  # fmt: skip


def level_of(name: str) -> Level:
    """The level of this name.

    Raises:
        SettingError: There is no such level.
    """
    if name not in LEVELS:
        raise SettingError(
            f"unknown level {name!r} of the dataset shapes: "
            f"set dataset.level to one of {', '.join(LEVELS)}"
        )
    return LEVELS[name]
