"""Depthwise "same" convolution, the one expensive operation of a large-kernel network.

A convolution of C channels with C kernels of their own, stride 1 and zero padding of half a kernel,
is what every block of a ConvNeXt runs. On a CPU `torch.nn.functional.conv2d` computes it well only
in one memory layout and for some kernel widths, and its weight gradient is 5 to 300 times slower
than it need be. Each of the three passes (output, input gradient, weight gradient) is therefore
written here as the forward convolution that PyTorch's CPU library (oneDNN) is quick at. Nothing is
approximated: the sums are those of `conv2d`, in another order.

What is chosen, and why (all figures: `benchmarks/README.md`):

| case | path |
| --- | --- |
| not CPU, no oneDNN, float64, traced, exported, under `torch.func` | `conv2d`, unchanged |
| map of one pixel | product with the centre of the kernel |
| contiguous, kernel at most 13 wide | `conv2d`; oneDNN reorders faster than PyTorch does |
| all else | `conv2d` in channels_last |
| weight gradient, at most 9 taps | PyTorch's own, which has a special kernel up to 3x3 |
| weight gradient, all else | channels of several samples as groups, output gradient as kernel |

A kernel is first cut to the central (2H - 1) x (2W - 1), all that an H x W map can meet. In
channels_last a width of 11 to 13 is then filled with zeros to 14 or 15: oneDNN takes up to 2.7
times longer per tap there than at any width from 14 on. float16 and bfloat16 are computed in
float32 and rounded once: float16 is up to 150 times slower otherwise, bfloat16 no faster.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dcls.errors import LayerArgumentError

NARROWEST_WIDE_KERNEL = 15
"""Contiguous kernels from this width on leave oneDNN's blocked kernel for a matrix product."""

SLOW_WIDTHS = (11, 12, 13)
"""Widths at which oneDNN's channels_last kernel is slow; they are padded past the last of them."""

SPECIAL_TAPS = 9
"""Up to 3x3 PyTorch's own weight gradient is a special kernel, and fast."""

CHUNK_ELEMENTS = 96 * 1024
"""Elements of input per grouped convolution of the weight gradient: about what a cache holds."""

FAST_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


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
    """A depthwise "same" convolution of learned dense kernels, computed by `depthwise_conv2d`.

    Its state dict is that of the equivalent `nn.Conv2d`.

    Args:
        channels: C, of input and output alike.
        kernel_size: odd side of the kernel, or (height, width).
        bias: whether to learn one bias per channel.
        device: where the parameters live.
        dtype: their type.

    Raises:
        LayerArgumentError: a kernel size is even.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int | tuple[int, int],
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        height, width = (
            (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        )
        _check_odd(height, width)
        super().__init__(
            channels,
            channels,
            (height, width),
            padding=(height // 2, width // 2),
            groups=channels,
            bias=bias,
            device=device,
            dtype=dtype,
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
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
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
        return _correlate(x, gradient, height, width)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
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
    dtype, memory_format = x.dtype, _memory_format(x)
    height = min(weight.shape[2], 2 * x.shape[2] - 1)
    width = min(weight.shape[3], 2 * x.shape[3] - 1)
    inner_format = torch.channels_last
    if memory_format == torch.contiguous_format and width < NARROWEST_WIDE_KERNEL:
        inner_format = torch.contiguous_format
    elif width in SLOW_WIDTHS:
        width = NARROWEST_WIDE_KERNEL
    with torch.autocast("cpu", enabled=False):
        y = _plain(
            x.to(torch.float32).contiguous(memory_format=inner_format),
            _resized(weight, height, width).to(torch.float32),
            None if bias is None else bias.to(torch.float32),
        )
    return y.contiguous(memory_format=memory_format).to(dtype)


def _correlate(x: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """Weight gradient (C, 1, height, width) of the convolution of `x`, given that of its output."""
    channels = x.shape[1]
    kernel = x.new_empty(()).expand(channels, 1, height, width)
    if height * width <= SPECIAL_TAPS and x.dtype == torch.float32:
        padding = [height // 2, width // 2]
        return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
            gradient,
            x,
            kernel,
            None,
            [1, 1],
            padding,
            [1, 1],
            False,
            [0, 0],
            channels,
            [False, True, False],
        )[1]
    size = max(1, CHUNK_ELEMENTS // max(1, x[0].numel()))
    lags = (min(height // 2, x.shape[2] - 1), min(width // 2, x.shape[3] - 1))
    with torch.autocast("cpu", enabled=False):
        total = torch.stack(
            [
                _correlate_chunk(part, part_gradient, lags)
                for part, part_gradient in zip(x.split(size), gradient.split(size), strict=True)
            ]
        ).sum(0)
    return _resized(total.unsqueeze(1), height, width).to(x.dtype)


def _correlate_chunk(x: Tensor, gradient: Tensor, lags: tuple[int, int]) -> Tensor:
    """Sum over samples of the correlations up to these lags: (C, 2 lags[0] + 1, 2 lags[1] + 1).

    Samples and channels are the groups of one convolution, and the output gradient is its kernel.
    """
    samples, channels, height, width = x.shape
    groups = samples * channels
    channels_last = x.to(torch.float32).permute(2, 3, 0, 1).reshape(1, height, width, groups)
    kernel = gradient.to(torch.float32).reshape(groups, 1, height, width)
    margin = (NARROWEST_WIDE_KERNEL - width) // 2 if width in SLOW_WIDTHS else 0
    if margin:
        kernel = functional.pad(kernel, (margin, margin))
    correlations = functional.conv2d(
        channels_last.permute(0, 3, 1, 2),
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


def _memory_format(x: Tensor) -> torch.memory_format:
    if x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def _is_fast(x: Tensor, weight: Tensor) -> bool:
    """Whether the paths of this file apply: elsewhere `conv2d` is the better or the only way."""
    return (
        x.device.type == "cpu"
        and x.dtype in FAST_DTYPES
        and x.dtype == weight.dtype
        and x.numel() > 0
        and torch.backends.mkldnn.is_available()
        and not torch.compiler.is_exporting()
        and not torch.jit.is_tracing()
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
