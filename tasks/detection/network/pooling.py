"""From regions of an image to features of one size (RoIAlign, arXiv 1703.06870)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import roi_align

from dcls.dtypes import widened
from tasks.detection.network.boxes import areas
from tasks.detection.network.cell_sums import align_by_sums

_FINEST = 14
"""Regions whose side is below two times so many cells of the finest map are taken from that map."""


@dataclass(frozen=True)
class RegionPooling:
    """Aligned, with as many samples per bin as it has cells, from the map that suits the size.

    Args:
        strides: pixels per cell of the maps, finest first.
    """

    strides: tuple[int, ...]

    def pool(self, maps: Sequence[Tensor], regions: Tensor, size: int) -> Tensor:
        """Features (n, C, size, size), float32 at least, of regions (n, 5): image index, then box.

        Args:
            maps: (N, C, H, W) each; those beyond the strides are not used.
            regions: on the images.
            size: cells per side.
        """
        levels = self.levels(regions)
        pooled, order = [], []
        for i, (x, stride) in enumerate(zip(maps, self.strides, strict=False)):
            chosen = torch.where(levels == i)[0]
            order.append(chosen)
            pooled.append(align(widened(x), regions[chosen], size, 1 / stride))
        together = torch.cat(pooled)
        return torch.empty_like(together).index_copy(0, torch.cat(order), together)

    def levels(self, regions: Tensor) -> Tensor:
        """Index of the map (n,) for each region (n, 5): one coarser for each doubled side."""
        side = areas(regions[:, 1:]).sqrt()
        level = torch.log2(side / (_FINEST * self.strides[0]) + 1e-6).floor()
        return level.clamp(0, len(self.strides) - 1).long()


def align(maps: Tensor, regions: Tensor, size: int, scale: float) -> Tensor:
    """RoIAlign, aligned and with adaptive sampling, by the faster way of the device.

    Args:
        maps: (N, C, H, W), float32 or float64.
        regions: (n, 5), index in the batch, then the box.
        size: bins per side.
        scale: cells of the maps per unit of the boxes.

    Returns:
        (n, C, size, size).
    """
    regions = regions.to(maps.dtype)
    if maps.device.type == "cpu":
        return align_by_sums(maps, regions, size, scale)
    pooled: Tensor = roi_align(maps, regions, size, scale, -1, aligned=True)
    return pooled


def with_image_index(boxes: Sequence[Tensor]) -> Tensor:
    """Regions (n, 5) from the boxes (n_i, 4) of each image of a batch."""
    return torch.cat([torch.cat([b.new_full((len(b), 1), i), b], 1) for i, b in enumerate(boxes)])
