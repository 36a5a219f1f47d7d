"""What the operators do: check what the kernels take for granted, and compute."""

from collections.abc import Callable

import torch
from torch import Tensor, library

from dcls.gpu import convolution
from dcls.gpu.layout import Layout


def _to_planes(x: Tensor, dtype: torch.dtype, pitch: int, origin: int) -> Tensor:
    _require(
        x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and x.numel() > 0,
        "maps (N, C, H, W) in channels_last, not empty",
    )
    width = x.shape[3]
    _require(0 <= origin <= pitch - width, f"room for {width} columns from {origin} on in {pitch}")
    return convolution.to_planes(x, dtype, Layout(width, pitch, origin))


def _from_planes(planes: Tensor, dtype: torch.dtype, width: int, origin: int) -> Tensor:
    return convolution.from_planes(planes, dtype, _layout(planes, width, origin))


def _convolve(
    planes: Tensor, weight: Tensor, bias: Tensor | None, width: int, origin: int, turned: bool
) -> Tensor:
    layout, channels = _layout(planes, width, origin), planes.shape[1]
    _require(
        weight.ndim == 4 and weight.shape[:2] == (channels, 1) and weight.device == planes.device,
        f"kernels ({channels}, 1, KH, KW) on {planes.device}",
    )
    if bias is not None:
        _require(
            bias.shape == (channels,) and bias.device == planes.device,
            f"biases ({channels},) on {planes.device}",
        )
        bias = bias.contiguous()
    return convolution.convolve(planes, weight.contiguous(), bias, layout, turned)


def _correlate(
    planes: Tensor, gradient: Tensor, size: tuple[int, int], width: int, origin: int
) -> Tensor:
    layout = _layout(planes, width, origin)
    _require(
        gradient.shape == planes.shape
        and gradient.dtype == planes.dtype
        and gradient.device == planes.device
        and gradient.is_contiguous(),
        "a gradient like the input",
    )
    return convolution.correlate(planes, gradient, size[0], size[1], layout)


def _layout(planes: Tensor, width: int, origin: int) -> Layout:
    _require(
        planes.ndim == 4 and planes.is_contiguous() and planes.numel() > 0,
        "planes (N, C, H, pitch), contiguous and not empty",
    )
    pitch = planes.shape[3]
    _require(0 <= origin <= pitch - width, f"room for {width} columns from {origin} on in {pitch}")
    return Layout(width, pitch, origin)


def _require(is_so: bool, expected: str) -> None:
    """What the kernels take for granted: they read memory."""
    if not is_so:
        raise RuntimeError(f"dcls Triton operator: expected {expected}")


IMPLEMENTATIONS: dict[str, Callable[..., object]] = {
    "triton_to_planes": _to_planes,
    "triton_from_planes": _from_planes,
    "triton_depthwise": _convolve,
    "triton_depthwise_weight_gradient": _correlate,
}
for name, implementation in IMPLEMENTATIONS.items():
    for device in ("CUDA", "CPU"):  # on the CPU, Triton's interpreter
        library.impl(f"dcls::{name}", device, implementation)
