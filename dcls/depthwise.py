"""Depthwise "same" convolution, the one expensive operation of a large-kernel network.

Every block of a ConvNeXt convolves C channels with C kernels of their own, at stride 1 and with
zero padding of half a kernel. On a CPU `torch.nn.functional.conv2d` does that well only in some
memory layouts and for some kernel widths, and its weight gradient takes tens of times as long as
the output. Here each of the three passes (output, input gradient, weight gradient) is written as
the one forward convolution that oneDNN, PyTorch's CPU library, is quick at. Nothing is
approximated: the sums are those of `conv2d`, in another order. `torch.compile` keeps these paths.

| case | path |
| --- | --- |
| not a CPU with oneDNN, float64, at most 9 taps, traced, exported, `torch.func` | `conv2d` as is |
| map of one pixel | product with the centre of the kernel |
| contiguous and narrow | `conv2d` with a cut kernel |
| contiguous and wide, or channels_last | `conv2d` in channels_last |
| input gradient | the same with the kernel turned round |
| weight gradient | channels of some samples as groups, output gradient as their kernels |

A cut kernel is the central (2H - 1) x (2W - 1), all that an H x W map can meet. float16 and
bfloat16 are computed in float32 and rounded once: float16 takes over 100 times longer otherwise,
and bfloat16 gains nothing. The constants below come from `benchmarks/README.md`.
"""

from typing import Any

import torch
from torch import Tensor, library, nn
from torch.nn import functional

from dcls.errors import LayerArgumentError

WIDEST_BLOCKED = 13 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 9
"""Contiguous kernels up to this width run in oneDNN's blocked layout, wider ones far slower."""

SLOW_WIDTHS = (12, 13)
"""Widths at which oneDNN's channels_last kernel takes 2.7 times longer per tap: filled with zeros
by 2 columns, to 14 or 15."""

WORTH_CUTTING = 3
"""In channels_last a kernel is cut if this many times fewer taps remain: oneDNN skips taps outside
the map by itself, and the cut is a copy."""

SPECIAL_TAPS = 9
"""Up to 3x3 PyTorch has special kernels for all passes."""

CHUNK_ELEMENTS = 96 * 1024
"""Elements of input per grouped convolution of the weight gradient: more and the caches overflow,
fewer and the calls cost."""

HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]

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
        return _plain(x, weight, bias)
    _check_shapes(x, weight, bias)
    x, weight, bias = _autocast(x, weight, bias)
    if not _is_fast(x, weight):
        return _plain(x, weight, bias)
    height, width = x.shape[2:]
    if height == width == 1:
        centre = weight[:, 0, weight.shape[2] // 2, weight.shape[3] // 2].view(1, -1, 1, 1)
        return x * centre if bias is None else torch.addcmul(bias.view(1, -1, 1, 1), x, centre)
    if torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)
    ):
        return _Convolution.apply(x, weight, bias)  # type: ignore[no-any-return]
    return _convolve(x, weight, bias)


class DepthwiseConv2d(nn.Conv2d):
    """An `nn.Conv2d` with odd kernel, depthwise and "same", computed by `depthwise_conv2d`.

    Arguments, parameters and state dict are those of `nn.Conv2d`.

    Raises:
        LayerArgumentError: the arguments ask for any other convolution than `depthwise_conv2d`
            computes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _check_odd(*self.kernel_size)
        same = tuple(cells // 2 for cells in self.kernel_size)
        for name, found, expected in (
            ("groups", self.groups, self.in_channels),
            ("out_channels", self.out_channels, self.in_channels),
            ("stride", self.stride, (1, 1)),
            ("dilation", self.dilation, (1, 1)),
            ("padding", same if self.padding == "same" else self.padding, same),
            ("padding_mode", self.padding_mode, "zeros"),
        ):
            if found != expected:
                raise LayerArgumentError(
                    f"DepthwiseConv2d: {name}={found!r}, expected {expected!r}; "
                    "for any other convolution use torch.nn.Conv2d"
                )

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H, W)."""
        return depthwise_conv2d(input, self.weight, self.bias)


class _Convolution(torch.autograd.Function):
    """Output of the convolution. Its input gradient is the same with the kernel turned round."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _convolve(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        ctx.memory_format = torch.channels_last if _is_channels_last(x) else torch.contiguous_format

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
    """Output of the convolution by the path that suits layout and width."""
    if x.dtype in HALF_DTYPES or torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            y = _convolve(_widened(x), _widened(weight), None if bias is None else _widened(bias))
        return y.to(x.dtype)
    channels_last = _is_channels_last(x)
    height = min(weight.shape[2], 2 * x.shape[2] - 1)
    width = min(weight.shape[3], 2 * x.shape[3] - 1)
    if not channels_last and width <= WIDEST_BLOCKED:
        return _plain(x.contiguous(), _resized(weight, height, width), bias)
    if WORTH_CUTTING * height * width > weight.shape[2] * weight.shape[3]:
        height, width = weight.shape[2:]
    if width in SLOW_WIDTHS:
        width += 2
    weight = _resized(weight, height, width)
    y = _plain(x.contiguous(memory_format=torch.channels_last), weight, bias)
    return y if channels_last else y.contiguous()


def _correlate(x: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """Weight gradient (C, 1, height, width) of the convolution of `x`, given that of its output."""
    size = max(1, CHUNK_ELEMENTS // x[0].numel())
    lags = (min(height // 2, x.shape[2] - 1), min(width // 2, x.shape[3] - 1))
    chunks = zip(torch.split(x, size), torch.split(gradient, size), strict=True)
    with torch.autocast("cpu", enabled=False):
        total = torch.stack([_correlate_chunk(*chunk, lags) for chunk in chunks]).sum(0)
    return _resized(total.unsqueeze(1), height, width).to(x.dtype)


@library.custom_op("dcls::depthwise_weight_gradient", mutates_args=())
def _correlate_opaque(x: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """`_correlate` as one node of a compiled graph: its loop would fix the batch size."""
    return _correlate(x, gradient, height, width)


@_correlate_opaque.register_fake
def _(x: Tensor, _gradient: Tensor, height: int, width: int) -> Tensor:
    return x.new_empty(x.shape[1], 1, height, width)


def _correlate_chunk(x: Tensor, gradient: Tensor, lags: tuple[int, int]) -> Tensor:
    """Sum over samples of the correlations up to these lags: (C, 2 lags[0] + 1, 2 lags[1] + 1).

    Samples and channels are the groups of one convolution, and the output gradient is its kernel.
    """
    samples, channels, height, width = x.shape
    groups = samples * channels
    merged = _widened(x).permute(2, 3, 0, 1).reshape(1, height, width, groups).permute(0, 3, 1, 2)
    kernel = _widened(gradient).reshape(groups, 1, height, width)
    margin = 1 if width in SLOW_WIDTHS else 0
    if margin:
        kernel = functional.pad(kernel, (margin, margin))
    correlations = functional.conv2d(
        merged.contiguous(memory_format=torch.channels_last),
        kernel,
        padding=(lags[0], lags[1] + margin),
        groups=groups,
    )
    return correlations.reshape(samples, channels, *correlations.shape[2:]).sum(0)


def _plain(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    return functional.conv2d(x, weight, bias, padding=padding, groups=weight.shape[0])


def _resized(kernel: Tensor, height: int, width: int) -> Tensor:
    """Cut to, or filled with zeros up to, a size of the same parity around the same centre."""
    rows, columns = (height - kernel.shape[2]) // 2, (width - kernel.shape[3]) // 2
    if rows == columns == 0:
        return kernel
    return functional.pad(kernel, (columns, columns, rows, rows))


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in HALF_DTYPES else tensor


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def _is_fast(x: Tensor, weight: Tensor) -> bool:
    """Whether the paths of this file apply: elsewhere `conv2d` is the better or the only way."""
    return (
        x.device.type == "cpu"
        and x.dtype in FAST_DTYPES
        and x.dtype == weight.dtype
        and x.numel() > 0
        and weight.shape[2] * weight.shape[3] > SPECIAL_TAPS
        and HAS_ONEDNN
        and not torch.compiler.is_exporting()
        and not torch._C._are_functorch_transforms_active()
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
    _check_odd(weight.shape[2], weight.shape[3])
    if bias is not None and bias.shape != (channels,):
        raise LayerArgumentError(
            f"depthwise_conv2d: the bias has shape {tuple(bias.shape)}, expected ({channels},)"
        )


def _check_odd(height: int, width: int) -> None:
    if height % 2 == 0 or width % 2 == 0:
        raise LayerArgumentError(
            f"a depthwise kernel of {height}x{width} has no centre: both sizes must be odd, "
            "set the next odd kernel_size"
        )
