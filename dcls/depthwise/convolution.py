"""The convolution with its gradients, of any order.

Nothing is approximated: the sums are those of `conv2d`, in another order. Only with infinite values
do cells of a kernel that are zero, or beside the map, make a difference: which of these products
are added (as not a number) depends on the path that `dcls.depthwise.paths` chooses.

The input gradient is the same convolution with the kernel turned round. On a CPU float16 and
bfloat16 are computed in float32 and rounded once: in oneDNN float16 takes over 100 times longer
otherwise, and bfloat16 gains nothing. `torch.compile` keeps the paths; what needs autocast to be
off is an operator there, because in a traced `autograd.Function` it would stay off for the rest of
the graph.
"""

from typing import Any

import torch
from torch import Tensor, library

import dcls.gpu.operators  # noqa: F401  counters of operations must know them before a call
from dcls.depthwise import onednn
from dcls.depthwise.arguments import autocast_dtype, cast, check_shapes
from dcls.depthwise.paths import HALF_DTYPES, ONEDNN_TAPS, is_native, path_of
from dcls.dtypes import widened
from dcls.native import depthwise as native


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve each channel with its own odd kernel, stride 1, zero padding of half a kernel.

    Equal to `conv2d(x, weight, bias, padding=(KH // 2, KW // 2), groups=C)` in value, in all
    gradients (of any order) and in its behaviour under autocast, but quicker on a CPU, and on GPUs
    where Triton kernels were measured to be (`dcls/gpu/wins.json`). The output follows the memory
    format of `x`; channels_last is the faster one on a CPU. The setting `dcls.depthwise.backend`
    ("auto", "torch" or "triton") says what may compute it.

    Args:
        x: (N, C, H, W), any N, H and W.
        weight: (C, 1, KH, KW), both sizes odd.
        bias: (C,) or None.

    Returns:
        (N, C, H, W).

    Raises:
        LayerArgumentError: the shapes do not fit together, a kernel size is even, or the setting
            asks for what cannot run here.
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return onednn.plain(x, weight, bias)
    check_shapes(x, weight, bias)
    dtype = autocast_dtype(x)
    path = path_of(x, weight, bias, dtype)
    if path == "triton":
        from dcls.gpu.autograd import depthwise  # late, for Triton is not everywhere

        return depthwise(x, weight, bias, dtype or x.dtype)
    if dtype is not None:
        x, weight = cast(x, dtype), cast(weight, dtype)
        bias = None if bias is None else cast(bias, dtype)
    if path == "conv2d":
        return onednn.plain(x, weight, bias)
    height, width = x.shape[2:]
    if height == width == 1:
        centre = weight[:, 0, weight.shape[2] // 2, weight.shape[3] // 2].view(1, -1, 1, 1)
        return x * centre if bias is None else torch.addcmul(bias.view(1, -1, 1, 1), x, centre)
    if torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)
    ):
        return _Convolution.apply(x, weight, bias)  # type: ignore[no-any-return]
    return _convolve(x, weight, bias)


class _Convolution(torch.autograd.Function):
    """Output of the convolution. Its input gradient is the same with the kernel turned round."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _convolve(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        ctx.memory_format = _memory_format(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=ctx.memory_format)
        x_gradient = weight_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = _Convolution.apply(gradient, weight.flip(2, 3), None)
        if ctx.needs_input_grad[1]:
            size = (weight.shape[2], weight.shape[3])
            weight_gradient = _WeightGradient.apply(x, gradient, *size)
        if ctx.needs_input_grad[2]:
            bias_gradient = gradient.sum((0, 2, 3))
        return x_gradient, weight_gradient, bias_gradient


class _WeightGradient(torch.autograd.Function):
    """Correlation of input and output gradient at the lags of a kernel.

    Linear in each of the two, and its derivatives are convolutions again: so the pair of functions
    can be differentiated any number of times.
    """

    @staticmethod
    def forward(x: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
        correlate = _correlate_opaque if torch.compiler.is_compiling() else _correlate
        return correlate(x, gradient, height, width)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], inputs[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, gradient = ctx.saved_tensors
        kernel = gradients[0]
        x_gradient = gradient_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = _Convolution.apply(gradient, kernel.flip(2, 3), None)
        if ctx.needs_input_grad[1]:
            gradient_gradient = _Convolution.apply(x, kernel, None)
        return x_gradient, gradient_gradient, None, None


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Output of the convolution, summed in float32 or more."""
    if x.dtype in HALF_DTYPES or torch.is_autocast_enabled("cpu"):
        if torch.compiler.is_compiling():
            return _convolve_opaque(x, weight, bias)  # type: ignore[no-any-return]
        with torch.autocast("cpu", enabled=False):
            wide_bias = None if bias is None else widened(bias)
            y = _convolve(widened(x), widened(weight), wide_bias)
        return y.to(x.dtype)
    taps = weight.shape[2] * weight.shape[3]
    if not is_native(x) or (taps <= ONEDNN_TAPS and onednn.HAS_ONEDNN):
        return onednn.convolve(x, weight, bias)
    return native.convolve(x if _is_channels_last(x) else x.contiguous(), weight, bias)


@library.custom_op("dcls::depthwise_by_onednn", mutates_args=())
def _convolve_opaque(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`_convolve` as one node of a compiled graph."""
    return _convolve(x, weight, bias)


@_convolve_opaque.register_fake
def _(x: Tensor, _weight: Tensor, _bias: Tensor | None) -> Tensor:
    return torch.empty_like(x, memory_format=_memory_format(x))


def _correlate(x: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """Weight gradient (C, 1, height, width) of the convolution of `x`, given that of its output."""
    dtype, format_ = x.dtype, _memory_format(x)
    x, gradient = (widened(t).contiguous(memory_format=format_) for t in (x, gradient))
    correlate = native.correlate if is_native(x) else onednn.correlate
    with torch.autocast("cpu", enabled=False):
        return correlate(x, gradient, height, width).to(dtype)


@library.custom_op("dcls::depthwise_weight_gradient_by_onednn", mutates_args=())
def _correlate_opaque(x: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """`_correlate` as one node of a compiled graph: oneDNN's loop would fix the batch size."""
    return _correlate(x, gradient, height, width)


@_correlate_opaque.register_fake
def _(x: Tensor, _gradient: Tensor, height: int, width: int) -> Tensor:
    return x.new_empty(x.shape[1], 1, height, width)


def _memory_format(x: Tensor) -> torch.memory_format:
    return torch.channels_last if _is_channels_last(x) else torch.contiguous_format


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)
