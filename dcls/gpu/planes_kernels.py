"""The Triton kernels that turn maps in channels_last into planes, and back.

LARGE: the maps of one sample have more cells than 32 bits can number.
"""

import triton
import triton.language as tl


@triton.jit
def to_planes_kernel(
    x,  # (N, height, width, C)
    planes,  # (N, C, height, pitch)
    channels,
    height,
    width,
    units,  # of the pitch
    blocks,  # of CELLS cells, per sample
    UNIT: tl.constexpr,
    ORIGIN: tl.constexpr,
    CELLS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LARGE: tl.constexpr,
):
    """CELLS cells of CHANNELS planes of one sample; those beside the map become zero."""
    pitch = units * UNIT
    sample = (tl.program_id(0) // blocks).to(tl.int64)
    cell = tl.program_id(0) % blocks * CELLS + tl.arange(0, CELLS)[:, None]
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    row, column = cell // pitch, cell % pitch - ORIGIN
    if LARGE:
        row = row.to(tl.int64)
    there = (row < height) & (channel < channels)
    inside = there & (column >= 0) & (column < width)
    source = x + sample * channels * height * width + (row * width + column) * channels + channel
    value = tl.load(source, mask=inside, other=0.0).to(planes.dtype.element_ty)
    target = planes + (sample * channels + channel) * (height * pitch) + cell
    tl.store(target, value, mask=there)


@triton.jit
def from_planes_kernel(
    planes,  # (N, C, height, pitch)
    x,  # (N, height, width, C)
    channels,
    height,
    width,
    units,  # of the pitch
    blocks,  # of CELLS cells, per sample
    UNIT: tl.constexpr,
    ORIGIN: tl.constexpr,
    CELLS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LARGE: tl.constexpr,
):
    """The way back; what lies beside the map is left out."""
    pitch = units * UNIT
    sample = (tl.program_id(0) // blocks).to(tl.int64)
    cell = tl.program_id(0) % blocks * CELLS + tl.arange(0, CELLS)[:, None]
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    row, column = cell // pitch, cell % pitch - ORIGIN
    if LARGE:
        row = row.to(tl.int64)
    there = (row < height) & (channel < channels)
    source = planes + (sample * channels + channel) * (height * pitch) + cell
    value = tl.load(source, mask=there, other=0.0).to(x.dtype.element_ty)
    inside = there & (column >= 0) & (column < width)
    target = x + sample * channels * height * width + (row * width + column) * channels + channel
    tl.store(target, value, mask=inside)
