"""The convolution with its gradients, of any order, and the choice between the ways to compute it.

Nothing is approximated: the sums are those of `conv2d`, in another order. Only with infinite values
do cells of a kernel that are zero, or beside the map, make a difference: which of these products
are added (as not a number) depends on the path.

| case | path |
| --- | --- |
| not a CPU, float64, mixed types, nothing in it, at most 9 taps | `conv2d` as is |
| traced, exported, `torch.func`, forward-mode derivatives | `conv2d` as is |
| map of one pixel | product with the centre of the kernel |
| a compiler is there | kernels of `dcls.native`; up to 7x7, and on maps below 7x7, `onednn` |
| else, with oneDNN | the forms of `onednn` |

The input gradient is the same convolution with the kernel turned round. float16 and bfloat16 are
computed in float32 and rounded once: in oneDNN float16 takes over 100 times longer otherwise, and
bfloat16 gains nothing. `torch.compile` keeps these paths.
"""

from typing import Any

import torch
from torch import Tensor, library

from dcls.depthwise import onednn
from dcls.errors import LayerArgumentError
from dcls.execution import is_transformed
from dcls.native import depthwise as native

SPECIAL_TAPS = 9
"""Up to 3x3 PyTorch has special kernels for all passes."""

ONEDNN_TAPS = 49
"""Up to 7x7, oneDNN's kernels are as fast as the native one, which copies."""

NATIVE_SIDE = 7
"""On smaller maps the vectors of the native kernels are mostly empty: oneDNN is quicker there."""

HALF_DTYPES = (torch.bfloat16, torch.float16)
FAST_DTYPES = (torch.float32, *HALF_DTYPES)


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve each channel with its own odd kernel, stride 1, zero padding of half a kernel.

    Equal to `conv2d(x, weight, bias, padding=(KH // 2, KW // 2), groups=C)` in value, in all
    gradients (of any order) and in its behaviour under autocast, but quicker on a CPU. The output
    follows the memory format of `x`; channels_last is the faster one.

    Args:
        x: (N, C, H, W), any N, H and W.
        weight: (C, 1, KH, KW), both sizes odd.
        bias: (C,) or None.

    Returns:
        (N, C, H, W).

    Raises:
        LayerArgumentError: the shapes do not fit together, or a kernel size is even.
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return onednn.plain(x, weight, bias)
    _check_shapes(x, weight, bias)
    x, weight, bias = _autocast(x, weight, bias)
    if not _is_fast(x, weight, bias):
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
            weight_gradient = _WeightGradient.apply(x, gradient, weight.shape[2], weight.shape[3])
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
    """Output of the convolution, computed in float32 or more."""
    if x.dtype in HALF_DTYPES or torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            y = _convolve(_widened(x), _widened(weight), None if bias is None else _widened(bias))
        return y.to(x.dtype)
    taps = weight.shape[2] * weight.shape[3]
    if not _is_native(x) or (taps <= ONEDNN_TAPS and onednn.HAS_ONEDNN):
        return onednn.convolve(x, weight, bias)
    return native.convolve(x if _is_channels_last(x) else x.contiguous(), weight, bias)


def _correlate(x: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """Weight gradient (C, 1, height, width) of the convolution of `x`, given that of its output."""
    dtype, format_ = x.dtype, _memory_format(x)
    x, gradient = (_widened(t).contiguous(memory_format=format_) for t in (x, gradient))
    correlate = native.correlate if _is_native(x) else onednn.correlate
    with torch.autocast("cpu", enabled=False):
        return correlate(x, gradient, height, width).to(dtype)


@library.custom_op("dcls::depthwise_weight_gradient_by_onednn", mutates_args=())
def _correlate_opaque(x: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """`_correlate` as one node of a compiled graph: oneDNN's loop would fix the batch size."""
    return _correlate(x, gradient, height, width)


@_correlate_opaque.register_fake
def _(x: Tensor, _gradient: Tensor, height: int, width: int) -> Tensor:
    return x.new_empty(x.shape[1], 1, height, width)


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in HALF_DTYPES else tensor


def _memory_format(x: Tensor) -> torch.memory_format:
    return torch.channels_last if _is_channels_last(x) else torch.contiguous_format


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def _is_native(x: Tensor) -> bool:
    if x.dtype != torch.float32 or not native.is_available():
        return False
    return min(x.shape[2], x.shape[3]) >= NATIVE_SIDE or not onednn.HAS_ONEDNN


def _is_fast(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the paths of this file apply: elsewhere `conv2d` is the better or the only way."""
    return (
        x.device.type == "cpu"
        and x.dtype in FAST_DTYPES
        and x.dtype == weight.dtype
        and (bias is None or (bias.dtype == x.dtype and bias.device == x.device))
        and weight.device == x.device
        and x.numel() > 0
        and weight.shape[2] * weight.shape[3] > SPECIAL_TAPS
        and not torch.compiler.is_exporting()
        and not is_transformed()
        and (onednn.HAS_ONEDNN or _is_native(x))
    )


def _autocast(
    x: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The arguments as `conv2d` would see them: in the type of an enabled autocast."""
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return x, weight, bias
    dtype = torch.get_autocast_dtype("cpu")

    def cast(tensor: Tensor) -> Tensor:
        wanted = tensor.is_floating_point() and tensor.dtype != torch.float64
        return tensor.to(dtype) if wanted else tensor

    return cast(x), cast(weight), None if bias is None else cast(bias)


def _check_shapes(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if x.ndim != 4:
        raise LayerArgumentError(
            f"depthwise_conv2d: the input has shape {tuple(x.shape)}, expected (N, C, H, W); "
            "for one picture use x.unsqueeze(0)"
        )
    channels = x.shape[1]
    if weight.ndim != 4 or weight.shape[:2] != (channels, 1):
        raise LayerArgumentError(
            f"depthwise_conv2d: the weight has shape {tuple(weight.shape)}, expected "
            f"({channels}, 1, KH, KW) for an input of {channels} channels; for any other grouping "
            "use torch.nn.functional.conv2d"
        )
    check_odd(weight.shape[2], weight.shape[3])
    if bias is not None and bias.shape != (channels,):
        raise LayerArgumentError(
            f"depthwise_conv2d: the bias has shape {tuple(bias.shape)}, expected ({channels},)"
        )


def check_odd(height: int, width: int) -> None:
    """Raise `LayerArgumentError` for a kernel without a centre."""
    if height % 2 == 0 or width % 2 == 0:
        raise LayerArgumentError(
            f"a depthwise kernel of {height}x{width} has no centre: both sizes must be odd, "
            "set the next odd kernel_size"
        )
