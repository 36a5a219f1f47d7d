"""UPerNet's head with its largest convolution computed before its inputs are enlarged.

UPerNet ends in a 3x3 convolution over four maps of which three were enlarged to the size of the
first: two thirds of the work of UPerNet on ConvNeXt-T. Enlarging works along rows and columns and
mixes no channels, and the convolution is a sum over nine taps that mix channels and mix no cells.
So the two can be exchanged: each tap's mixing is computed on the small map, and shifting by the tap
and enlarging are two small matrices, one for columns and one for rows. Outputs are the same to
rounding, parameters and their names are mmsegmentation's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tasks.segmentation.openmmlab import UPerHead

TAPS = 3


class FusedUPerHead(UPerHead):  # type: ignore[misc] # mmsegmentation has no types
    """mmsegmentation's `UPerHead`, arguments and parameters too, at about half the operations."""

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """Fused map (N, channels, H, W) at the size of the first of the backbone's maps."""
        if self.conv_cfg is not None or self.align_corners:
            features: Tensor = super()._forward_feature(inputs)
            return features
        chosen = self._transform_inputs(inputs)
        maps = [conv(x) for conv, x in zip(self.lateral_convs, chosen, strict=False)]
        maps.append(self.psp_forward(chosen))
        for i in range(len(maps) - 1, 0, -1):
            size = maps[i - 1].shape[2:]
            maps[i - 1] = maps[i - 1] + F.interpolate(maps[i], size, mode="bilinear")
        maps = [*(conv(x) for conv, x in zip(self.fpn_convs, maps, strict=False)), maps[-1]]
        block = self.fpn_bottleneck
        fused = block.norm(enlarging_convolution(maps, block.conv.weight))
        result: Tensor = block.activate(fused)
        return result


def enlarging_convolution(maps: Sequence[Tensor], weight: Tensor) -> Tensor:
    """A 3x3 convolution with zero padding of maps enlarged bilinearly to the first and joined.

    Args:
        maps: (N, C_i, h_i, w_i), the first of the size of the result.
        weight: (out, sum of C_i, 3, 3).

    Returns:
        (N, out, h_0, w_0), what ``conv2d(cat([m_0, interpolate(m_1), ...]), weight, padding=1)``
        gives.
    """
    first, *others = maps
    parts = torch.split(weight, [m.shape[1] for m in maps], 1)
    total = F.conv2d(first, parts[0], padding=1)
    for small, part in zip(others, parts[1:], strict=True):
        if small.shape[2:] == first.shape[2:]:
            total = total + F.conv2d(small, part, padding=1)
        else:
            total = total + _enlarged(small, part, first.shape[2], first.shape[3])
    return total


def _enlarged(small: Tensor, weight: Tensor, height: int, width: int) -> Tensor:
    """The convolution of one map enlarged to `height` x `width`."""
    samples, channels, rows, columns = small.shape
    out = weight.shape[0]
    # Channels last throughout, so that every step is a matrix product of what lies in memory.
    cells = small.permute(0, 2, 3, 1)
    taps = weight.permute(2, 3, 0, 1).reshape(TAPS, TAPS * out, channels)
    tall: Tensor | None = None
    for tap, down in zip(taps, _shifted_enlarging(rows, height, small), strict=True):
        mixed = F.linear(cells, tap).reshape(samples, rows, columns * TAPS * out)
        batch = down.T.expand(samples, height, rows)
        tall = torch.bmm(batch, mixed) if tall is None else torch.baddbmm(tall, batch, mixed)
    assert tall is not None
    along = _shifted_enlarging(columns, width, small).permute(2, 1, 0)  # (width, columns, tap)
    done = torch.matmul(
        along.reshape(width, columns * TAPS), tall.reshape(samples, height, columns * TAPS, out)
    )
    return done.permute(0, 3, 1, 2)


def _shifted_enlarging(cells: int, length: int, like: Tensor) -> Tensor:
    """Matrices (tap, cells, length) that enlarge an axis and read it one to the left, at, right."""
    precise = torch.promote_types(like.dtype, torch.float32)
    eye = torch.eye(cells, dtype=precise, device=like.device)
    enlarge = F.interpolate(eye[None], length, mode="linear")[0]
    padded = F.pad(enlarge, (1, 1))
    return torch.stack([padded[:, tap : tap + length] for tap in range(TAPS)]).to(like.dtype)
