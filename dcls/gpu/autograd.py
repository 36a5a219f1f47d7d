"""The convolution by the Triton kernels with its gradients, of any order.

The input gradient is the same convolution with the kernel turned round. Planes that are made of
maps in channels_last serve all passes, and what lies beside the convolution in a network sees its
own memory format in both directions.

A GPU is so quick that Python must be, too: where nobody watches, the passes are called directly;
in a compiled graph, under a counter of operations and the like, as operators
(`dcls.gpu.operators`).
"""

from typing import Any, Protocol

import torch
from torch import Tensor

import dcls.gpu.implementations  # noqa: F401  what the operators do
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
    planes = x.to(dtype).contiguous() if not last else _to_planes(x, dtype, layout)
    return _convolve(planes, weight, bias, layout, last=last)


class Passes(Protocol):
    """What a module that computes has."""

    def to_planes(self, x: Tensor, dtype: torch.dtype, layout: Layout) -> Tensor:
        """Planes of maps in channels_last."""

    def from_planes(self, planes: Tensor, dtype: torch.dtype, layout: Layout) -> Tensor:
        """Maps in channels_last of planes."""

    def convolve(
        self,
        planes: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        layout: Layout,
        turned: bool = False,
    ) -> Tensor:
        """Output of the convolution."""

    def correlate(
        self, planes: Tensor, gradient: Tensor, height: int, width: int, layout: Layout
    ) -> Tensor:
        """Weight gradient."""


def _passes(x: Tensor) -> Passes:
    """What computes: functions, or operators, which are known to PyTorch's tools."""
    plain = type(x) in (Tensor, torch.nn.Parameter) and is_plain_eager()
    return convolution if plain else operators


def _to_planes(x: Tensor, dtype: torch.dtype, layout: Layout) -> Tensor:
    if not torch.is_grad_enabled():
        return _passes(x).to_planes(x, dtype, layout)
    return _ToPlanes.apply(x, dtype, *layout)  # type: ignore[no-any-return]


def _from_planes(planes: Tensor, dtype: torch.dtype, layout: Layout) -> Tensor:
    if not torch.is_grad_enabled():
        return _passes(planes).from_planes(planes, dtype, layout)
    return _FromPlanes.apply(planes, dtype, *layout)  # type: ignore[no-any-return]


def _convolve(
    planes: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    layout: Layout,
    turned: bool = False,
    last: bool = False,
) -> Tensor:
    """Output planes, or if `last` maps in channels_last."""
    if not torch.is_grad_enabled():
        return _computed(planes, weight, bias, layout, turned, last)
    return _Convolution.apply(planes, weight, bias, turned, last, *layout)  # type: ignore[no-any-return]


def _computed(
    planes: Tensor, weight: Tensor, bias: Tensor | None, layout: Layout, turned: bool, last: bool
) -> Tensor:
    passes = _passes(planes)
    y = passes.convolve(planes, weight, bias, layout, turned)
    return passes.from_planes(y, y.dtype, layout) if last else y


def _correlate(planes: Tensor, gradient: Tensor, size: tuple[int, int], layout: Layout) -> Tensor:
    if not torch.is_grad_enabled():
        return _passes(planes).correlate(planes, gradient, *size, layout)
    return _WeightGradient.apply(planes, gradient, *size, *layout)  # type: ignore[no-any-return]


class _ToPlanes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, *layout: int) -> Tensor:
        ctx.dtype, ctx.layout = x.dtype, Layout(*layout)
        return _passes(x).to_planes(x, dtype, ctx.layout)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return _from_planes(gradients[0], ctx.dtype, ctx.layout), None, None, None, None


class _FromPlanes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, planes: Tensor, dtype: torch.dtype, *layout: int) -> Tensor:
        ctx.dtype, ctx.layout = planes.dtype, Layout(*layout)
        return _passes(planes).from_planes(planes, dtype, ctx.layout)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        return _to_planes(gradient, ctx.dtype, ctx.layout), None, None, None, None


class _Convolution(torch.autograd.Function):
    """Of planes, with kernels as they are or `turned` by half a turn."""

    @staticmethod
    def forward(
        ctx: Any,
        planes: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        turned: bool,
        last: bool,
        *layout: int,
    ) -> Tensor:
        ctx.layout, ctx.turned, ctx.last = Layout(*layout), turned, last
        ctx.save_for_backward(planes if ctx.needs_input_grad[1] else None, weight)
        ctx.dtype, ctx.bias_dtype = planes.dtype, None if bias is None else bias.dtype
        return _computed(planes, weight, bias, ctx.layout, turned, last)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        planes, weight = ctx.saved_tensors
        gradient, layout = gradients[0], ctx.layout
        planes_gradient = weight_gradient = bias_gradient = None
        if ctx.last:
            gradient = gradient.contiguous(memory_format=torch.channels_last)
            gradient = _to_planes(gradient, ctx.dtype, layout)
        else:
            gradient = gradient.contiguous()
        if ctx.needs_input_grad[0]:
            planes_gradient = _convolve(gradient, weight, None, layout, not ctx.turned)
        if ctx.needs_input_grad[1]:
            size = (weight.shape[2], weight.shape[3])
            weight_gradient = _correlate(planes, gradient, size, layout)
            weight_gradient = weight_gradient.flip(2, 3) if ctx.turned else weight_gradient
            weight_gradient = weight_gradient.to(weight.dtype)
        if ctx.needs_input_grad[2]:
            bias_gradient = gradient.sum((0, 2, 3), dtype=torch.float32).to(ctx.bias_dtype)
        return planes_gradient, weight_gradient, bias_gradient, *[None] * 5


class _WeightGradient(torch.autograd.Function):
    """Correlation of input and output gradient at the lags of a kernel, linear in each of both."""

    @staticmethod
    def forward(
        ctx: Any, planes: Tensor, gradient: Tensor, height: int, width: int, *layout: int
    ) -> Tensor:
        ctx.save_for_backward(planes, gradient)
        ctx.layout = Layout(*layout)
        return _passes(planes).correlate(planes, gradient, height, width, ctx.layout)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        planes, gradient = ctx.saved_tensors
        kernel, layout = gradients[0].contiguous(), ctx.layout
        planes_gradient = gradient_gradient = None
        if ctx.needs_input_grad[0]:
            planes_gradient = _convolve(gradient, kernel, None, layout, turned=True)
        if ctx.needs_input_grad[1]:
            gradient_gradient = _convolve(planes, kernel, None, layout)
        return planes_gradient, gradient_gradient, *[None] * 5


def _is_channels_last(x: Tensor) -> bool:
    """Where one channel or cell makes both true, planes need no copy."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
