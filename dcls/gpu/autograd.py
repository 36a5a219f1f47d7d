"""The convolution by the Triton kernels with its gradients, of any order.

The input gradient is the same convolution with the kernel turned round. Planes that are made of
maps in channels_last serve all passes, and what lies beside the convolution in a network sees its
own memory format in both directions.

A GPU is so quick that Python must be, too: where nobody watches, the passes are called directly, and
as operators (`dcls.gpu.operators`) in a compiled graph, under a counter of operations and the like.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from dcls.execution import is_plain_eager
from dcls.gpu import convolution, operators
from dcls.gpu.layout import Layout, padded_layout, plain_layout


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Output (N, C, H, W) in `dtype`, in the memory format of `x`.

    Args:
        x: (N, C, H, W), in any strides; rounded to `dtype`, as the weights are.
        weight: (C, 1, KH, KW), both sizes odd.
        bias: (C,) or None.
        dtype: float32, float16 or bfloat16.
    """
    last = _is_channels_last(x)
    height, width = x.shape[2:]
    layout = padded_layout(height, width, *weight.shape[2:]) if last else plain_layout(width)
    weight, bias = weight.contiguous(), None if bias is None else bias.contiguous()
    if not torch.is_grad_enabled():
        passes = _passes(x)
        if not last:
            return passes.convolve(x.to(dtype).contiguous(), weight, bias, layout)
        planes = passes.to_planes(x, dtype, layout)
        return passes.from_planes(passes.convolve(planes, weight, bias, layout), dtype, layout)
    if not last:
        return _Convolution.apply(x.to(dtype).contiguous(), weight, bias, False, *layout)
    planes = _ToPlanes.apply(x, dtype, *layout)
    return _FromPlanes.apply(
        _Convolution.apply(planes, weight, bias, False, *layout), dtype, *layout
    )


def _passes(x: Tensor) -> ModuleType:
    """What computes: functions, or operators, which are known to PyTorch's tools."""
    plain = type(x) in (Tensor, torch.nn.Parameter) and is_plain_eager()
    return convolution if plain else operators


class _ToPlanes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, *layout: int) -> Tensor:
        ctx.dtype, ctx.layout = x.dtype, layout
        return _passes(x).to_planes(x, dtype, Layout(*layout))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = _FromPlanes.apply(gradients[0], ctx.dtype, *ctx.layout)
        return gradient, None, None, None, None


class _FromPlanes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, planes: Tensor, dtype: torch.dtype, *layout: int) -> Tensor:
        ctx.dtype, ctx.layout = planes.dtype, layout
        return _passes(planes).from_planes(planes, dtype, Layout(*layout))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        return _ToPlanes.apply(gradient, ctx.dtype, *ctx.layout), None, None, None, None


class _Convolution(torch.autograd.Function):
    """Of planes, with kernels as they are or `turned` by half a turn."""

    @staticmethod
    def forward(
        ctx: Any, planes: Tensor, weight: Tensor, bias: Tensor | None, turned: bool, *layout: int
    ) -> Tensor:
        ctx.layout, ctx.turned = layout, turned
        ctx.save_for_backward(planes if ctx.needs_input_grad[1] else None, weight)
        ctx.bias_dtype = None if bias is None else bias.dtype
        return _passes(planes).convolve(planes, weight, bias, Layout(*layout), turned)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        planes, weight = ctx.saved_tensors
        gradient, layout = gradients[0].contiguous(), ctx.layout
        planes_gradient = weight_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            planes_gradient = _Convolution.apply(gradient, weight, None, not ctx.turned, *layout)
        if ctx.needs_input_grad[1]:
            size = (weight.shape[2], weight.shape[3])
            weight_gradient = _WeightGradient.apply(planes, gradient, *size, *layout)
            weight_gradient = weight_gradient.flip(2, 3) if ctx.turned else weight_gradient
            weight_gradient = weight_gradient.to(weight.dtype)
        if ctx.needs_input_grad[2]:
            bias_gradient = gradient.sum((0, 2, 3), dtype=torch.float32).to(ctx.bias_dtype)
        return planes_gradient, weight_gradient, bias_gradient, None, None, None, None


class _WeightGradient(torch.autograd.Function):
    """Correlation of input and output gradient at the lags of a kernel, linear in each of both."""

    @staticmethod
    def forward(
        ctx: Any, planes: Tensor, gradient: Tensor, height: int, width: int, *layout: int
    ) -> Tensor:
        ctx.save_for_backward(planes, gradient)
        ctx.layout = layout
        return _passes(planes).correlate(planes, gradient, height, width, Layout(*layout))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        planes, gradient = ctx.saved_tensors
        kernel, layout = gradients[0].contiguous(), ctx.layout
        planes_gradient = gradient_gradient = None
        if ctx.needs_input_grad[0]:
            planes_gradient = _Convolution.apply(gradient, kernel, None, True, *layout)
        if ctx.needs_input_grad[1]:
            gradient_gradient = _Convolution.apply(planes, kernel, None, False, *layout)
        return planes_gradient, gradient_gradient, None, None, None, None, None


def _is_channels_last(x: Tensor) -> bool:
    """Where one channel or cell makes both true, planes need no copy."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
