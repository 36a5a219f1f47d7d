"""The three passes by PyTorch's own operators, each in the form that oneDNN is quick at.

On a CPU `torch.nn.functional.conv2d` does a depthwise convolution well only in some memory layouts
and for some kernel widths, and its weight gradient takes tens of times as long as the output.

| case | path |
| --- | --- |
| contiguous and narrow | `conv2d` with a cut kernel |
| contiguous and wide, or channels_last | `conv2d` in channels_last |
| weight gradient | channels of some samples as groups, output gradient as their kernels |

A cut kernel is the central (2H - 1) x (2W - 1), all that an H x W map can meet. The constants below
come from `benchmarks/README.md`.
"""

import torch
from torch import Tensor
from torch.nn import functional

from dcls.kernel import resized

WIDEST_BLOCKED = 13 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 9
"""Contiguous kernels up to this width run in oneDNN's blocked layout, wider ones far slower."""

SLOW_WIDTHS = (12, 13)
"""Widths at which oneDNN's channels_last kernel takes 2.7 times longer per tap: filled with zeros
by 2 columns, to 14 or 15."""

WORTH_CUTTING = 3
"""In channels_last a kernel is cut if this many times fewer taps remain: oneDNN skips taps outside
the map by itself, and the cut is a copy."""

CHUNK_ELEMENTS = 96 * 1024
"""Elements of input per grouped convolution of the weight gradient: more and the caches overflow,
fewer and the calls cost."""

HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def plain(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`conv2d` as it is."""
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    return functional.conv2d(x, weight, bias, padding=padding, groups=weight.shape[0])


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Output (N, C, H, W) by the path that suits layout and width.

    Args:
        x: (N, C, H, W), float32 or float64.
        weight: (C, 1, KH, KW), both sizes odd.
        bias: (C,) or None.
    """
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    height = min(weight.shape[2], 2 * x.shape[2] - 1)
    width = min(weight.shape[3], 2 * x.shape[3] - 1)
    if not channels_last and width <= WIDEST_BLOCKED:
        return plain(x.contiguous(), resized(weight, height, width), bias)
    if WORTH_CUTTING * height * width > weight.shape[2] * weight.shape[3]:
        height, width = weight.shape[2:]
    if width in SLOW_WIDTHS:
        width += 2
    weight = resized(weight, height, width)
    y = plain(x.contiguous(memory_format=torch.channels_last), weight, bias)
    return y if channels_last else y.contiguous()


def correlate(x: Tensor, gradient: Tensor, height: int, width: int) -> Tensor:
    """Weight gradient (C, 1, height, width), given that of the output, (N, C, H, W)."""
    size = max(1, CHUNK_ELEMENTS // x[0].numel())
    lags = (min(height // 2, x.shape[2] - 1), min(width // 2, x.shape[3] - 1))
    chunks = zip(torch.split(x, size), torch.split(gradient, size), strict=True)
    total = torch.stack([_correlate_chunk(*chunk, lags) for chunk in chunks]).sum(0)
    return resized(total.unsqueeze(1), height, width)


def _correlate_chunk(x: Tensor, gradient: Tensor, lags: tuple[int, int]) -> Tensor:
    """Sum over samples of the correlations up to these lags: (C, 2 lags[0] + 1, 2 lags[1] + 1).

    Samples and channels are the groups of one convolution, and the output gradient is its kernel.
    """
    samples, channels, height, width = x.shape
    groups = samples * channels
    merged = x.permute(2, 3, 0, 1).reshape(1, height, width, groups).permute(0, 3, 1, 2)
    kernel = gradient.reshape(groups, 1, height, width)
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
