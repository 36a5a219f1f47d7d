"""From an image to the bytes that the network sees of it in evaluation."""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

Transform = Callable[[Image.Image], Tensor]
"""From an RGB image to (H, W, 3), uint8; see `tasks.data.pixels` for what follows."""


def centre_view(image_size: int, crop_fraction: float, interpolation: str) -> Transform:
    """Resize the short side to ``image_size / crop_fraction`` and take the centre.

    Args:
        image_size: side of the result, pixels.
        crop_fraction: 0.875 resizes to 256 for 224.
        interpolation: `bicubic` or `bilinear`, antialiased.
    """
    side = round(image_size / crop_fraction)
    resize = v2.Resize(side, interpolation=InterpolationMode(interpolation))
    return cast(Transform, v2.Compose([resize, v2.CenterCrop(image_size), image_bytes]))


def image_bytes(image: Image.Image) -> Tensor:
    """(H, W, 3), uint8, of an RGB image."""
    return torch.from_numpy(np.array(image))
