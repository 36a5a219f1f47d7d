"""Anchors: the boxes from which a region proposal network starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, sqrt

import torch
from torch import Tensor

from tasks.detection.records import Size


@dataclass(frozen=True)
class Anchors:
    """Boxes around every cell of several maps; not rounded to pixels.

    Args:
        strides: pixels per cell of each map.
        scale: side of an anchor in strides.
        ratios: height over width of the anchors of one cell.
    """

    strides: tuple[int, ...]
    scale: float = 8.0
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)

    def grids(self, shapes: Sequence[Size], like: Tensor) -> list[Tensor]:
        """Anchors (cells * ratios, 4) of each map of that shape, cell by cell, row by row.

        Args:
            shapes: of the maps.
            like: of the device and type that the anchors are to have.
        """
        return [
            _grid(height, width, stride, self.scale, self.ratios, like.device, like.dtype)
            for (height, width), stride in zip(shapes, self.strides, strict=True)
        ]

    def usable(self, shapes: Sequence[Size], size: Size, inside: Tensor | None) -> Tensor:
        """Whether each anchor of all maps may be trained on an image of that size.

        Args:
            shapes: of the maps, whose batch may hold larger images.
            size: of the image; its own padding, to a multiple of 32, still counts.
            inside: all anchors (n, 4), to leave out those that reach beyond the image; None: keep.
        """
        height, width = size
        flags = []
        for (rows, columns), stride in zip(shapes, self.strides, strict=True):
            flag = torch.zeros(rows, columns, len(self.ratios), dtype=torch.bool)
            padded = (ceil(side / PADDED_TO) * PADDED_TO for side in size)
            last_row, last_column = (ceil(side / stride) for side in padded)
            flag[:last_row, :last_column] = True
            flags.append(flag.flatten())
        usable = torch.cat(flags)
        if inside is None:
            return usable
        usable = usable.to(inside.device)
        low = (inside[:, :2] >= 0).all(1)
        return usable & low & (inside[:, 2] < width) & (inside[:, 3] < height)


PADDED_TO = 32
"""Sides of images are padded to multiples of this."""


@lru_cache(maxsize=256)
def _grid(
    height: int,
    width: int,
    stride: int,
    scale: float,
    ratios: tuple[float, ...],
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    side = stride * scale
    halves = [(side / sqrt(ratio) / 2, side * sqrt(ratio) / 2) for ratio in ratios]
    base = torch.tensor([(-w, -h, w, h) for w, h in halves], device=device, dtype=dtype)
    x = torch.arange(width, device=device) * stride
    y = torch.arange(height, device=device) * stride
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    corners = torch.stack([columns, rows, columns, rows], -1).view(-1, 1, 4)
    return (corners + base).view(-1, 4)
