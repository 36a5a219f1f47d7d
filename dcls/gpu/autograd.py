"""The convolution by the Triton operators with its gradients, of any order.

The input gradient is the same convolution with the kernel turned round. Planes that are made of
maps in channels_last serve all passes, and what lies beside the convolution in a network sees its
own memory format in both directions.
"""

from typing import Any

import torch
from torch import Tensor

from dcls.gpu import operators as _operators  # defines the operators
from dcls.gpu.layout import padded_layout, plain_layout

OPERATORS = _operators.NAMESPACE


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Output (N, C, H, W) in `dtype`, in the memory format of `x`.

    Args:
        x: (N, C, H, W), in any strides; rounded to `dtype`, as the weights are.
        weight: (C, 1, KH, KW), both sizes odd.
        bias: (C,) or None.
        dtype: float32, float16 or bfloat16.
    """
    if _is_channels_last(x):
        layout = padded_layout(x.shape[2], x.shape[3], weight.shape[2], weight.shape[3])
        planes = _ToPlanes.apply(x, dtype, *layout)
        y = _Convolution.apply(planes, weight, bias, *layout, False)
        return _FromPlanes.apply(y, dtype, *layout)  # type: ignore[no-any-return]
    planes = x.to(dtype).contiguous()
    layout = plain_layout(x.shape[3])
    return _Convolution.apply(planes, weight, bias, *layout, False)  # type: ignore[no-any-return]


class _ToPlanes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, *layout: int) -> Tensor:
        ctx.dtype, ctx.layout = x.dtype, layout
        _width, pitch, origin = layout
        y: Tensor = OPERATORS.triton_to_planes(x, dtype, pitch, origin)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return _FromPlanes.apply(gradients[0], ctx.dtype, *ctx.layout), *[None] * 4


class _FromPlanes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, planes: Tensor, dtype: torch.dtype, *layout: int) -> Tensor:
        ctx.dtype, ctx.layout = planes.dtype, layout
        width, _pitch, origin = layout
        x: Tensor = OPERATORS.triton_from_planes(planes, dtype, width, origin)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        return _ToPlanes.apply(gradient, ctx.dtype, *ctx.layout), *[None] * 4


class _Convolution(torch.autograd.Function):
    """Of planes, with kernels as they are or `turned` by half a turn."""

    @staticmethod
    def forward(
        ctx: Any, planes: Tensor, weight: Tensor, bias: Tensor | None, *place: int
    ) -> Tensor:
        *ctx.layout, ctx.turned = place
        ctx.save_for_backward(planes if ctx.needs_input_grad[1] else None, weight)
        ctx.bias_dtype = None if bias is None else bias.dtype
        width, _pitch, origin = ctx.layout
        y: Tensor = OPERATORS.triton_depthwise(planes, weight, bias, width, origin, ctx.turned)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        planes, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        planes_gradient = weight_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            planes_gradient = _Convolution.apply(
                gradient, weight, None, *ctx.layout, not ctx.turned
            )
        if ctx.needs_input_grad[1]:
            size = (weight.shape[2], weight.shape[3])
            weight_gradient = _WeightGradient.apply(planes, gradient, *size, *ctx.layout)
            weight_gradient = weight_gradient.flip(2, 3) if ctx.turned else weight_gradient
            weight_gradient = weight_gradient.to(weight.dtype)
        if ctx.needs_input_grad[2]:
            bias_gradient = gradient.sum((0, 2, 3), dtype=torch.float32).to(ctx.bias_dtype)
        return planes_gradient, weight_gradient, bias_gradient, *[None] * 4


class _WeightGradient(torch.autograd.Function):
    """Correlation of input and output gradient at the lags of a kernel, linear in each of both."""

    @staticmethod
    def forward(
        ctx: Any, planes: Tensor, gradient: Tensor, height: int, width: int, *layout: int
    ) -> Tensor:
        ctx.save_for_backward(planes, gradient)
        ctx.layout = layout
        total: Tensor = OPERATORS.triton_depthwise_weight_gradient(
            planes, gradient, (height, width), layout[0], layout[2]
        )
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        planes, gradient = ctx.saved_tensors
        kernel = gradients[0]
        planes_gradient = gradient_gradient = None
        if ctx.needs_input_grad[0]:
            planes_gradient = _Convolution.apply(gradient, kernel, None, *ctx.layout, True)
        if ctx.needs_input_grad[1]:
            gradient_gradient = _Convolution.apply(planes, kernel, None, *ctx.layout, False)
        return planes_gradient, gradient_gradient, *[None] * 5


def _is_channels_last(x: Tensor) -> bool:
    """Where one channel or cell makes both true, planes need no copy."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
