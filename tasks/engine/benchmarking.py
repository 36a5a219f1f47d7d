"""What a task declares so that `mode=benchmark` can time its models on random images."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BenchmarkSizes:
    """The usual sizes of a task, such as those of ImageNet-1k.

    Args:
        image_size: side of the images, pixels.
        batch_sizes: images per step.
        classes: that the model tells apart.
    """

    image_size: int
    batch_sizes: tuple[int, ...]
    classes: int


def random_bytes(count: int, side: int, draw: torch.Generator) -> Tensor:
    """Images (count, side, side, 3), uint8, as loaders give them."""
    return torch.randint(256, (count, side, side, 3), dtype=torch.uint8, generator=draw)
