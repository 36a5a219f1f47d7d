"""RoIAlign as weighted sums of cells, for processors: the same values in less time.

torchvision's operator samples point by point, on one core. The samples of a bin form a grid, and
bilinear weights are products of a weight per row and one per column; so a bin is the sum of a
small block of cells, each with one weight, and PyTorch's sums of table rows do the work.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def align_by_sums(maps: Tensor, regions: Tensor, size: int, scale: float) -> Tensor:
    """RoIAlign (arXiv 1703.06870), aligned, as many samples per bin as it has cells.

    Args:
        maps: (N, C, H, W), float32 or float64; fastest in channels_last.
        regions: (n, 5), of the same type, index in the batch, then the box.
        size: bins per side.
        scale: cells of the maps per unit of the boxes.

    Returns:
        (n, C, size, size), in channels_last.
    """
    _, channels, height, width = maps.shape
    if not len(regions):
        return maps.new_zeros(0, channels, size, size)
    table = maps.permute(0, 2, 3, 1).reshape(-1, channels)
    corners = regions[:, 1:] * scale - 0.5
    low, extent = corners[:, :2], corners[:, 2:] - corners[:, :2]
    samples = (extent / size).ceil()
    most = samples.amax(1).clamp(min=1).long()
    sums, order = [], []
    for count in sorted(set(most.tolist())):  # regions whose blocks of cells have one size
        chosen = torch.where(most == count)[0]
        order.append(chosen)
        columns, rows = (
            _axis(low[chosen, i], extent[chosen, i], samples[chosen, i], size, cells, count)
            for i, cells in ((0, width), (1, height))
        )
        first = (regions[chosen, 0].long() * height * width)[:, None, None, None, None]
        cells = first + rows[0][:, :, None, :, None] * width + columns[0][:, None, :, None, :]
        weights = rows[1][:, :, None, :, None] * columns[1][:, None, :, None, :]
        block = (count + 1) ** 2
        sums.append(
            F.embedding_bag(
                cells.reshape(-1, block),
                table,
                mode="sum",
                per_sample_weights=weights.reshape(-1, block),
            ).view(len(chosen), size, size, channels)
        )
    together = torch.cat(sums)
    pooled = torch.empty_like(together).index_copy(0, torch.cat(order), together)
    return pooled.permute(0, 3, 1, 2)


def _axis(
    low: Tensor, extent: Tensor, samples: Tensor, bins: int, cells: int, count: int
) -> tuple[Tensor, Tensor]:
    """Cells of each bin along one axis, and their weights: (n, bins, count + 1) both.

    Args:
        low: (n,), where the region begins, in cells.
        extent: (n,), how long it is.
        samples: (n,), samples per bin, at most `count`.
        bins: of a region.
        cells: of the map.
        count: room for so many samples.
    """
    number, place = torch.arange(count), torch.arange(bins)[:, None]
    samples = samples[:, None, None]
    some = samples.clamp(min=1)
    points = low[:, None, None] + (extent / bins)[:, None, None] * (place + (number + 0.5) / some)
    # Samples more than a cell outside are 0; nearer ones count as if they lay on the border.
    counted = (number < samples) & (points >= -1) & (points <= cells)
    points = points.clamp(0, cells - 1)
    block = points[..., :1].floor() + torch.arange(count + 1)
    distance = (points[..., None] - block[:, :, None, :]).abs()
    weights = ((1 - distance).clamp(min=0) * counted[..., None]).sum(2) / some
    return block.clamp(max=cells - 1).long(), weights
