"""From weights at real positions to the dense kernel that a convolution uses."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dcls.interpolation import NORMALISED_VERSIONS, axis_weights, bilinear_taps, row_axes
from dcls.product import full_precision_matmul

NORMALISATION_EPS = 1e-7


def construct_kernel(
    weight: Tensor,
    positions: Tensor,
    widths: Tensor | None,
    size: tuple[int, ...],
    version: str,
) -> Tensor:
    """Dense kernel of points with the given weights and positions.

    The interpolation weights of a point are an outer product over the axes, so the sum over
    points is a batched matrix product of the per-axis weights; no tensor of the size
    (points x cells) is ever made for one and two axes. On the CPU the 2^axes taps of `v0` are
    scattered instead, which is several times faster; elsewhere they are not, because additions
    would happen in no fixed order there.

    Computed in float32 at least, inside autocast too: positions need more digits than half
    precision has, and the kernel is small beside the activations. (A lowered
    `torch.set_float32_matmul_precision` applies to the matrix product as to any other.)

    Args:
        weight: (*lead, n), the value of each of n points; `lead` is usually (out, in / groups).
        positions: (axes, *lead, n), offsets in cells from the centre cell `size // 2`.
        widths: raw widths of the same shape for `max` and `gauss`, otherwise ignored.
        size: cells of each learned axis.
        version: one of `dcls.interpolation.VERSIONS`.

    Returns:
        (*lead, *size), float32, or float64 if an argument is.
    """
    dtype = torch.promote_types(torch.promote_types(weight.dtype, positions.dtype), torch.float32)
    weight, positions = weight.to(dtype), positions.to(dtype)
    widths = None if widths is None else widths.to(dtype)
    # Of all operations below autocast would lower the precision of the matrix product alone.
    if version == "v0" and weight.device.type == "cpu":
        return _scattered_kernel(weight, positions, size)
    return _separable_kernel(weight, positions, widths, size, version)


def symmetric_crop(kernel: Tensor, room: Sequence[int]) -> Tensor:
    """Kernel without the cells that are zero in all channels, as many at both ends of each axis.

    Args:
        kernel: (out, in / groups, *size), not a meta tensor; on a GPU this waits for it.
        room: cells that may go at each end of each axis, usually the padding, to be made smaller
            by as many.

    Returns:
        A view (out, in / groups, *size'), each size' of the parity of size and at least 1 or 2.
    """
    for axis, most in enumerate(room, start=2):
        cells = kernel.shape[axis]
        used = (kernel != 0).movedim(axis, 0).flatten(1).any(dim=1).nonzero().flatten()
        unused = min(int(used[0]), cells - 1 - int(used[-1])) if used.numel() else (cells - 1) // 2
        crop = min(unused, most)
        kernel = kernel.narrow(axis, crop, cells - 2 * crop)
    return kernel


def resized(kernel: Tensor, height: int, width: int) -> Tensor:
    """Cut to, or filled with zeros up to, a size of the same parity around the same centre."""
    rows, columns = (height - kernel.shape[2]) // 2, (width - kernel.shape[3]) // 2
    if rows == columns == 0:
        return kernel
    return F.pad(kernel, (columns, columns, rows, rows))


def _scattered_kernel(weight: Tensor, positions: Tensor, size: tuple[int, ...]) -> Tensor:
    """Kernel of `v0` by adding each point's 2^axes taps at their places."""
    # Two cells more on each side take the taps that fall outside; they are cut off at the end.
    margin = 2
    axes = row_axes("v0", len(size))
    taps = [(weight, torch.zeros((), dtype=torch.long, device=weight.device))]
    for axis, cells in enumerate(size):
        left, rest = bilinear_taps(positions[axes.index(axis)], cells)
        left = left + margin
        halves = ((1 - rest, left), (rest, left + 1))
        taps = [
            (value * share, index * (cells + 2 * margin) + cell)
            for value, index in taps
            for share, cell in halves
        ]
    padded = [cells + 2 * margin for cells in size]
    values = torch.cat([value for value, _ in taps], dim=-1)
    indices = torch.cat([index for _, index in taps], dim=-1).expand_as(values)
    flat = weight.new_zeros(*weight.shape[:-1], math.prod(padded))
    grid = flat.scatter_add(-1, indices, values).reshape(*weight.shape[:-1], *padded)
    return F.pad(grid, (-margin, -margin) * len(size))


def _separable_kernel(
    weight: Tensor, positions: Tensor, widths: Tensor | None, size: tuple[int, ...], version: str
) -> Tensor:
    axes = row_axes(version, len(size))
    # tables[a]: (*lead, n, size[a]); row r of the positions acts on axis axes[r].
    if len(set(size)) == 1:  # all rows at once, for many a GPU has less to do than Python
        rows = axis_weights(positions, widths, size[0], version).unbind()
        tables = [rows[axes.index(axis)] for axis in range(len(size))]
    else:
        tables = [
            axis_weights(
                positions[axes.index(axis)],
                None if widths is None else widths[axes.index(axis)],
                cells,
                version,
            )
            for axis, cells in enumerate(size)
        ]
    if version in NORMALISED_VERSIONS:
        # The sum over the grid of an outer product is the product of the sums.
        total = tables[0].sum(-1)
        for table in tables[1:]:
            total = total * table.sum(-1)
        weight = weight / (total + NORMALISATION_EPS)
    first, *rest = tables
    if not rest:
        return full_precision_matmul(weight.unsqueeze(-2), first).squeeze(-2)
    right = rest[-1]
    for table in reversed(rest[:-1]):
        right = (table.unsqueeze(-1) * right.unsqueeze(-2)).flatten(-2)
    left = (weight.unsqueeze(-1) * first).transpose(-1, -2)
    return full_precision_matmul(left, right).reshape(*weight.shape[:-1], *size)
