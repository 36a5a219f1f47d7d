"""The kernels as PyTorch operators: opaque to `torch.compile`, known to its tools."""

import torch
from torch import Tensor, library
from torch.utils.flop_counter import register_flop_formula

from dcls.gpu import convolution
from dcls.operator_flops import convolution_flops, weight_gradient_flops

library.define("dcls::triton_depthwise", "(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
library.define(
    "dcls::triton_depthwise_weight_gradient",
    "(Tensor x, Tensor gradient, SymInt[2] size) -> Tensor",
)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Output (N, C, H, W) of the "same" convolution, contiguous.

    Args:
        x: (N, C, H, W), contiguous, of a 16-bit or 32-bit type, not empty.
        weight: (C, 1, KH, KW), of the same type, both sizes odd.
        bias: (C,) or None.
    """
    y: Tensor = torch.ops.dcls.triton_depthwise(x, weight, bias)
    return y


def correlate(x: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """Weight gradient (C, 1, height, width), given that of the output, (N, C, H, W)."""
    total: Tensor = torch.ops.dcls.triton_depthwise_weight_gradient(x, gradient, (height, width))
    return total


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    _check(x, weight, *(() if bias is None else (bias,)))
    torch._check(weight.ndim == 4 and weight.shape[:2] == (x.shape[1], 1))
    torch._check(bias is None or bias.shape == (x.shape[1],))
    return convolution.convolve(x, weight, bias if bias is None else bias.contiguous())


def _correlate(x: Tensor, gradient: Tensor, size: tuple[int, int]) -> Tensor:
    _check(x, gradient)
    torch._check(x.shape == gradient.shape and gradient.is_contiguous())
    return convolution.correlate(x, gradient, *size)


def _check(x: Tensor, *others: Tensor) -> None:
    """What the kernels take for granted: they read memory."""
    torch._check(
        x.ndim == 4 and x.is_contiguous() and x.numel() > 0,
        lambda: "expected (N, C, H, W), contiguous and not empty",
    )
    torch._check(
        all(t.dtype == x.dtype and t.device == x.device for t in others),
        lambda: "expected tensors of one type on one device",
    )


register_flop_formula(torch.ops.dcls.triton_depthwise)(convolution_flops)
register_flop_formula(torch.ops.dcls.triton_depthwise_weight_gradient)(weight_gradient_flops)
for device in ("CUDA", "CPU"):  # on the CPU, Triton's interpreter
    library.impl("dcls::triton_depthwise", device, _convolve)
    library.impl("dcls::triton_depthwise_weight_gradient", device, _correlate)


@library.register_fake("dcls::triton_depthwise")  # type: ignore[untyped-decorator]
def _(x: Tensor, _weight: Tensor, _bias: Tensor | None) -> Tensor:
    return torch.empty_like(x)


@library.register_fake("dcls::triton_depthwise_weight_gradient")  # type: ignore[untyped-decorator]
def _(x: Tensor, _gradient: Tensor, size: tuple[int, int]) -> Tensor:
    return x.new_empty(x.shape[1], 1, *size)
