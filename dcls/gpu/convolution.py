"""The three passes by the Triton kernels, for planes that lie in one piece."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from dcls.gpu.launches import convolution_launch, toeplitz_launch, weight_gradient_launch
from dcls.gpu.tiling import tiling_of
from dcls.kernel import resized


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Output (N, C, H, W) of the "same" convolution; sums in float32, rounded once.

    Args:
        x: (N, C, H, W), contiguous, float32, float16 or bfloat16, not empty.
        weight: (C, 1, KH, KW), of the same type, both sizes odd.
        bias: (C,) or None.
    """
    height, width = x.shape[2:]
    size = _meeting(weight.shape[2], height), _meeting(weight.shape[3], width)
    weight = resized(weight, *size).contiguous()
    tiling = tiling_of(height, width, *size)
    stored = size[0] + 2 * tiling.rows - 2
    matrices = weight.new_empty(weight.shape[0], stored, tiling.span, tiling.columns)
    y = torch.empty_like(x)
    with _device(x):
        toeplitz_launch(weight, matrices, tiling).run()
        convolution_launch(x, matrices, bias, y, tiling, size).run()
    return y


def correlate(x: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """Weight gradient (C, 1, height, width), given that of the output; sums in float32.

    Args:
        x: (N, C, H, W), as for `convolve`.
        gradient: (N, C, H, W), of the output; same type and layout.
        height: of the kernel.
        width: of the kernel.
    """
    size = _meeting(height, x.shape[2]), _meeting(width, x.shape[3])
    tiling = tiling_of(x.shape[2], x.shape[3], *size)
    with _device(x):
        launch = weight_gradient_launch(x, gradient, tiling, size)
        launch.run()
    partial: Tensor = launch.arguments["partial"]
    # The product of output row h of a tile and its input row h + i belongs to kernel row i.
    part, channel, output, row, column = partial.stride()
    diagonals = partial.as_strided(
        (*partial.shape[:3], *size), (part, channel, output + row, row, column)
    )
    return resized(diagonals.sum((0, 2)).unsqueeze(1), height, width).to(x.dtype)


def _meeting(kernel: int, cells: int) -> int:
    """How many of the rows, or columns, of a kernel can meet a map at all."""
    return min(kernel, 2 * cells - 1)


def _device(x: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current device; tensors of the interpreter are on the CPU."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
