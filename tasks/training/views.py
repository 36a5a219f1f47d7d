"""From an image to what the network sees of it in evaluation."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

Transform = Callable[[Image.Image], Tensor]


def centre_view(
    image_size: int,
    crop_fraction: float,
    interpolation: str,
    mean: Sequence[float],
    std: Sequence[float],
) -> Transform:
    """Resize the short side to ``image_size / crop_fraction``, take the centre, normalise.

    Args:
        image_size: side of the result, pixels.
        crop_fraction: 0.875 resizes to 256 for 224.
        interpolation: `bicubic` or `bilinear`, antialiased.
        mean: per channel, of values in 0..1.
        std: per channel, likewise.
    """
    side = round(image_size / crop_fraction)
    resize = v2.Resize(side, interpolation=InterpolationMode(interpolation))
    steps = v2.Compose([resize, v2.CenterCrop(image_size), *normalising(mean, std)])
    return cast(Transform, steps)


def normalising(mean: Sequence[float], std: Sequence[float]) -> list[Callable[..., object]]:
    """Steps from an image to a normalised tensor (3, H, W)."""
    return [
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(mean), list(std)),
    ]
