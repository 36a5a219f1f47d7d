"""What turns maps in channels_last into planes, and back."""

from dcls.gpu.launches import Launch, ceil_div, unit_of
from dcls.gpu.layout import Layout
from dcls.gpu.planes_kernels import from_planes_kernel, to_planes_kernel

CELLS = 64
"""Cells of a program that turns maps into planes."""

CHANNELS = 64
"""Channels, likewise."""


def to_planes_launch(shape: tuple[int, int, int], layout: Layout) -> Launch:
    """Writes planes.

    Tensors: maps (N, C, H, W) in channels_last; planes (N, C, H, pitch).

    Args:
        shape: N, C and H.
        layout: of the planes.
    """
    return _launch(to_planes_kernel, shape, layout)


def from_planes_launch(shape: tuple[int, int, int], layout: Layout) -> Launch:
    """Writes maps. Tensors: planes; maps; all as for `to_planes_launch`."""
    return _launch(from_planes_kernel, shape, layout)


def _launch(kernel: object, shape: tuple[int, int, int], layout: Layout) -> Launch:
    samples, channels, height = shape
    unit = unit_of(layout.pitch)
    blocks = ceil_div(height * layout.pitch, CELLS)
    units = layout.pitch // unit
    numbers = (channels, height, layout.width, units, blocks)
    constants = {
        "UNIT": unit,
        "ORIGIN": layout.origin,
        "CELLS": CELLS,
        "CHANNELS": CHANNELS,
        "LARGE": channels * height * layout.width >= 2**31,
    }
    grid = (samples * blocks, ceil_div(channels, CHANNELS), 1)
    return Launch(kernel, grid, numbers, constants, {"num_warps": 4})
