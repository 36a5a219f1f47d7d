"""The passes as PyTorch operators: opaque to `torch.compile`, known to its tools.

What is said here needs no Triton: a counter of operations must know their formulas before the
first call. `dcls.gpu.implementations` computes.
"""

import torch
from torch import Tensor, library
from torch.utils.flop_counter import register_flop_formula

from dcls.gpu.layout import Layout
from dcls.operator_flops import planes_convolution_flops, planes_weight_gradient_flops

OPERATORS = torch.ops.dcls
PLACE = "SymInt width, SymInt origin"
SCHEMAS = {
    "triton_to_planes": "(Tensor x, ScalarType dtype, SymInt pitch, SymInt origin) -> Tensor",
    "triton_from_planes": f"(Tensor planes, ScalarType dtype, {PLACE}) -> Tensor",
    "triton_depthwise": f"(Tensor planes, Tensor weight, Tensor? bias, {PLACE}, bool turned)"
    " -> Tensor",
    "triton_depthwise_weight_gradient": f"(Tensor planes, Tensor gradient, SymInt[2] size, {PLACE})"
    " -> Tensor",
}
for name, schema in SCHEMAS.items():
    library.define(f"dcls::{name}", schema)

register_flop_formula(OPERATORS.triton_depthwise)(planes_convolution_flops)
register_flop_formula(OPERATORS.triton_depthwise_weight_gradient)(planes_weight_gradient_flops)


@library.register_fake("dcls::triton_to_planes")  # type: ignore[untyped-decorator]
def _(x: Tensor, dtype: torch.dtype, pitch: int, _origin: int) -> Tensor:
    return x.new_empty(*x.shape[:3], pitch, dtype=dtype)


@library.register_fake("dcls::triton_from_planes")  # type: ignore[untyped-decorator]
def _(planes: Tensor, dtype: torch.dtype, width: int, _origin: int) -> Tensor:
    x = planes.new_empty(*planes.shape[:3], width, dtype=dtype)
    return torch.empty_like(x, memory_format=torch.channels_last)


@library.register_fake("dcls::triton_depthwise")  # type: ignore[untyped-decorator]
def _(planes: Tensor, *_: object) -> Tensor:
    return torch.empty_like(planes)


@library.register_fake("dcls::triton_depthwise_weight_gradient")  # type: ignore[untyped-decorator]
def _(planes: Tensor, _gradient: Tensor, size: tuple[int, int], *_: object) -> Tensor:
    return planes.new_empty(planes.shape[1], 1, *size, dtype=torch.float32)


def to_planes(x: Tensor, dtype: torch.dtype, layout: Layout) -> Tensor:
    """As `dcls.gpu.convolution.to_planes`, as are the following."""
    planes: Tensor = OPERATORS.triton_to_planes(x, dtype, layout.pitch, layout.origin)
    return planes


def from_planes(planes: Tensor, dtype: torch.dtype, layout: Layout) -> Tensor:
    """Maps of planes."""
    x: Tensor = OPERATORS.triton_from_planes(planes, dtype, layout.width, layout.origin)
    return x


def convolve(
    planes: Tensor, weight: Tensor, bias: Tensor | None, layout: Layout, turned: bool = False
) -> Tensor:
    """Output of the convolution."""
    width, _, origin = layout
    y: Tensor = OPERATORS.triton_depthwise(planes, weight, bias, width, origin, turned)
    return y


def correlate(planes: Tensor, gradient: Tensor, height: int, width: int, layout: Layout) -> Tensor:
    """Weight gradient."""
    total: Tensor = OPERATORS.triton_depthwise_weight_gradient(
        planes, gradient, (height, width), layout.width, layout.origin
    )
    return total
