"""The passes by the Triton kernels, each for tensors of the right type and layout."""

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from dcls.gpu.blocks import convolution_block, weight_gradient_block
from dcls.gpu.launches import (
    Case,
    Launch,
    convolution_launch,
    matrices_shape,
    toeplitz_launch,
    weight_gradient_launch,
)
from dcls.gpu.layout import Layout
from dcls.gpu.planes import from_planes_launch, to_planes_launch
from dcls.kernel import resized

KEPT = 512
"""Launches of so many shapes are kept: to prepare one takes longer than to run it."""


def to_planes(x: Tensor, dtype: torch.dtype, layout: Layout) -> Tensor:
    """Planes (N, C, H, pitch) in `dtype` of maps (N, C, H, W) in channels_last."""
    samples, channels, height, _ = x.shape
    planes = x.new_empty(samples, channels, height, layout.pitch, dtype=dtype)
    with _device(x):
        _to_planes((samples, channels, height), layout).run(x, planes)
    return planes


def from_planes(planes: Tensor, dtype: torch.dtype, layout: Layout) -> Tensor:
    """Maps (N, C, H, W) in channels_last and `dtype` of planes (N, C, H, pitch)."""
    samples, channels, height, _ = planes.shape
    x = torch.empty(
        (samples, channels, height, layout.width),
        dtype=dtype,
        device=planes.device,
        memory_format=torch.channels_last,
    )
    with _device(x):
        _from_planes((samples, channels, height), layout).run(planes, x)
    return x


def convolve(
    planes: Tensor, weight: Tensor, bias: Tensor | None, layout: Layout, turned: bool = False
) -> Tensor:
    """Output of the "same" convolution, planes as the input; sums in float32, rounded once.

    Args:
        planes: (N, C, H, pitch), contiguous, float32, float16 or bfloat16, not empty.
        weight: (C, 1, KH, KW), contiguous, both sizes odd; rounded to the type of the planes.
        bias: (C,) or None.
        layout: of the planes.
        turned: whether to take the kernels turned by half a turn.
    """
    samples, channels, height, _ = planes.shape
    case = Case(samples, channels, height, layout, weight.shape[2], weight.shape[3])
    shape, toeplitz, convolution = _convolution(case, planes.dtype, bias is not None, turned)
    matrices = planes.new_empty(shape)
    if not layout.origin:
        y = torch.empty_like(planes)
    else:  # the last row, too, has room for what would be beside the next one's map
        y = planes.new_empty(planes.numel() + layout.origin)[: -layout.origin].view(planes.shape)
    with _device(planes):
        toeplitz.run(weight, matrices)
        convolution.run(planes, matrices, bias, y)
    return y


def correlate(planes: Tensor, gradient: Tensor, height: int, width: int, layout: Layout) -> Tensor:
    """Weight gradient (C, 1, height, width), float32, given that of the output.

    Args:
        planes: as for `convolve`.
        gradient: planes of the output's gradient; same type and layout.
        height: of the kernel.
        width: of the kernel.
        layout: of the planes.
    """
    samples, channels, rows, _ = planes.shape
    case = Case(samples, channels, rows, layout, height, width)
    launch, shape = _weight_gradient(case, planes.dtype)
    room = planes.new_empty if _writes_all(case) else planes.new_zeros
    partial = room(shape, dtype=torch.float32)
    with _device(planes):
        launch.run(planes, gradient, partial)
    # The product of output row h of a tile and its input row h + i belongs to kernel row i.
    part, channel, output, row, column = partial.stride()
    strides = (part, channel, output + row, row, column)
    diagonals = partial.as_strided((*shape[:3], *case.size), strides)
    return resized(diagonals.sum((0, 2)).unsqueeze(1), height, width)


def _writes_all(case: Case) -> bool:
    """Whether the tiles see all rows that a kernel can reach."""
    return case.gradient_tiling.down > 1


_to_planes = lru_cache(maxsize=KEPT)(to_planes_launch)
_from_planes = lru_cache(maxsize=KEPT)(from_planes_launch)


@lru_cache(maxsize=KEPT)
def _convolution(
    case: Case, dtype: torch.dtype, biased: bool, turned: bool
) -> tuple[tuple[int, ...], Launch, Launch]:
    """The shape of matrices, what writes them, and what computes with them."""
    tiling = case.tiling
    block = convolution_block(case.samples, tiling, dtype)
    return (
        matrices_shape(case, tiling),
        toeplitz_launch(case, turned, tiling),
        convolution_launch(case, dtype, biased, tiling, block),
    )


@lru_cache(maxsize=KEPT)
def _weight_gradient(case: Case, dtype: torch.dtype) -> tuple[Launch, tuple[int, ...]]:
    tiling = case.gradient_tiling
    block = weight_gradient_block(case.samples, tiling, dtype)
    return weight_gradient_launch(case, dtype, tiling, block)


def _device(x: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device; tensors of the interpreter are on the CPU."""
    if x.is_cuda and x.device.index != torch.cuda.current_device():
        return torch.cuda.device(x.device)
    return nullcontext()
