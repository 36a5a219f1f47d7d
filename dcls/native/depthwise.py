"""The compiled convolution as PyTorch operators: opaque to `torch.compile`, known to its tools."""

import ctypes

import torch
from torch import Tensor, library
from torch.utils.flop_counter import register_flop_formula

from dcls.native.kernels import NUMBER, native_library
from dcls.operator_flops import convolution_flops, weight_gradient_flops

library.define("dcls::depthwise", "(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
library.define(
    "dcls::depthwise_weight_gradient", "(Tensor x, Tensor gradient, SymInt[2] size) -> Tensor"
)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def is_available() -> bool:
    """Whether the kernels can be used; the first call may build them."""
    return native_library() is not None


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Output (N, C, H, W) of the "same" convolution, in the memory format of `x`.

    Args:
        x: (N, C, H, W), float32 on the CPU, contiguous or channels_last.
        weight: (C, 1, KH, KW), both sizes odd.
        bias: (C,) or None.
    """
    y: Tensor = torch.ops.dcls.depthwise(x, weight, bias)
    return y


def correlate(x: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """Weight gradient (C, 1, height, width), given that of the output, (N, C, H, W)."""
    total: Tensor = torch.ops.dcls.depthwise_weight_gradient(x, gradient, (height, width))
    return total


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    _check(x, weight, *(() if bias is None else (bias,)))
    torch._check(weight.ndim == 4 and weight.shape[:2] == (x.shape[1], 1))
    torch._check(bias is None or bias.shape == (x.shape[1],))
    y = torch.empty_like(x)
    weight, bias = weight.contiguous(), None if bias is None else bias.contiguous()
    _kernels().dcls_depthwise(
        x.data_ptr(),
        weight.data_ptr(),
        None if bias is None else bias.data_ptr(),
        y.data_ptr(),
        _shape(x, weight.shape[2], weight.shape[3]),
        torch.get_num_threads(),
    )
    return y


def _correlate(x: Tensor, gradient: Tensor, size: tuple[int, int]) -> Tensor:
    _check(x, gradient)
    torch._check(x.shape == gradient.shape and x.is_contiguous() == gradient.is_contiguous())
    total = x.new_empty(x.shape[1], 1, *size)
    _kernels().dcls_depthwise_weight_gradient(
        x.data_ptr(),
        gradient.data_ptr(),
        total.data_ptr(),
        _shape(x, *size),
        torch.get_num_threads(),
    )
    return total


register_flop_formula(torch.ops.dcls.depthwise)(convolution_flops)
register_flop_formula(torch.ops.dcls.depthwise_weight_gradient)(weight_gradient_flops)
library.impl("dcls::depthwise", "CPU", _convolve)
library.impl("dcls::depthwise_weight_gradient", "CPU", _correlate)


@library.register_fake("dcls::depthwise")  # type: ignore[untyped-decorator]
def _(x: Tensor, _weight: Tensor, _bias: Tensor | None) -> Tensor:
    return torch.empty_like(x)


@library.register_fake("dcls::depthwise_weight_gradient")  # type: ignore[untyped-decorator]
def _(x: Tensor, _gradient: Tensor, size: tuple[int, int]) -> Tensor:
    return x.new_empty(x.shape[1], 1, *size)


def _check(x: Tensor, *others: Tensor) -> None:
    """What the kernels take for granted: they read memory."""
    dense = x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)
    torch._check(x.ndim == 4 and dense, lambda: "expected (N, C, H, W), in one piece")
    same = all(t.dtype == torch.float32 and t.is_cpu for t in (x, *others))
    torch._check(same, lambda: "expected float32 on the CPU")


def _kernels() -> ctypes.CDLL:
    kernels = native_library()
    assert kernels is not None, "asked for without is_available()"
    return kernels


def _shape(x: Tensor, height: int, width: int) -> "ctypes.Array[ctypes.c_int64]":
    # A map of one cell per channel is both; then either reading is right.
    last = not x.is_contiguous()
    return (NUMBER * 7)(*x.shape, height, width, last)
