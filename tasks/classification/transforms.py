"""From an image to the bytes of a view of it: timm's ImageNet recipe, and one for small images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from PIL import Image
from timm.data import auto_augment, create_transform
from torchvision import transforms
from torchvision.transforms import InterpolationMode, v2

from tasks.data.transforms import Transform, centre_view, image_bytes
from tasks.errors import SettingError


@dataclass(frozen=True)
class ImageRecipe:
    """How images are resized, augmented and normalised.

    Args:
        image_size: side of the network's input, pixels.
        crop_fraction: evaluation resizes the short side to ``image_size / crop_fraction`` and
            takes the centre (0.875: 256 for 224).
        interpolation: `bicubic` or `bilinear`.
        crop_scale: area of the random training crop relative to the image, smallest and largest;
            None: the small-image recipe, a crop of the image padded by `crop_padding` pixels.
        crop_padding: pixels added on each side before the small-image crop.
        flip: probability of a horizontal flip.
        rand_augment: a timm policy such as ``rand-m9-mstd0.5-inc1``, or None.
        erase: probability of random erasing, which follows normalisation (see the task).
        mean: per channel, of values in 0..1.
        std: per channel, likewise.
    """

    image_size: int
    crop_fraction: float
    interpolation: str
    crop_scale: tuple[float, float] | None
    crop_padding: int
    flip: float
    rand_augment: str | None
    erase: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.image_size < 1 or not 0 < self.crop_fraction <= 1:
            raise SettingError(
                f"dataset.image_size={self.image_size} must be at least 1, and "
                f"dataset.recipe.crop_fraction={self.crop_fraction} within (0, 1]."
            )
        if self.crop_scale is None and self.rand_augment is not None:
            raise SettingError(
                "dataset.recipe.rand_augment needs dataset.recipe.crop_scale=[0.08,1.0]; the "
                "small-image recipe has no such policy."
            )


def train_transform(recipe: ImageRecipe) -> Transform:
    """The augmentations of training that come before normalisation."""
    if recipe.crop_scale is None:
        return _small_train_transform(recipe)
    primary, secondary, _ = create_transform(
        input_size=recipe.image_size,
        is_training=True,
        scale=tuple(recipe.crop_scale),
        hflip=recipe.flip,
        color_jitter=None,
        auto_augment=recipe.rand_augment,
        interpolation=recipe.interpolation,
        mean=tuple(recipe.mean),  # RandAugment fills with it
        separate=True,
    )
    mend_posterize(secondary)
    steps = [*primary.transforms, *secondary.transforms, image_bytes]
    return cast(Transform, v2.Compose(steps))


def mend_posterize(augmentation: transforms.Compose) -> None:
    """Let RandAugment's strongest posterization draw black, which Pillow 13 refuses to do."""
    for operation in (op for step in augmentation.transforms for op in getattr(step, "ops", ())):
        if operation.aug_fn is auto_augment.posterize:
            operation.aug_fn = _posterize


def _posterize(image: Image.Image, bits_to_keep: int, **_: object) -> Image.Image:
    if bits_to_keep == 0:
        return Image.new("RGB", image.size)
    posterized: Image.Image = auto_augment.posterize(image, bits_to_keep)
    return posterized


def eval_transform(recipe: ImageRecipe) -> Transform:
    """Resize the short side and take the centre."""
    return centre_view(recipe.image_size, recipe.crop_fraction, recipe.interpolation)


def _small_train_transform(recipe: ImageRecipe) -> Transform:
    steps: list[Callable[..., object]] = [
        v2.Resize((recipe.image_size, recipe.image_size), interpolation=_interpolation(recipe))
    ]
    if recipe.crop_padding:
        steps.append(v2.RandomCrop(recipe.image_size, recipe.crop_padding, padding_mode="reflect"))
    if recipe.flip:
        steps.append(v2.RandomHorizontalFlip(recipe.flip))
    return cast(Transform, v2.Compose([*steps, image_bytes]))


def _interpolation(recipe: ImageRecipe) -> InterpolationMode:
    return InterpolationMode(recipe.interpolation)
