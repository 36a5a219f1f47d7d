"""What `depthwise_conv2d` is given: checked, and cast as autocast asks."""

import torch
from torch import Tensor

from dcls.errors import LayerArgumentError
from dcls.execution import is_autocast_enabled


def check_shapes(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Raise `LayerArgumentError` unless the shapes are those of a depthwise "same" convolution."""
    if x.ndim != 4:
        raise LayerArgumentError(
            f"depthwise_conv2d: the input has shape {tuple(x.shape)}, expected (N, C, H, W); "
            "for one image use x.unsqueeze(0)"
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


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The type in which an enabled autocast would let `conv2d` compute; None: as it is called."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if is_autocast_enabled(device) else None


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """As autocast does: numbers of 64 bits and whole ones stay as they are."""
    wanted = tensor.is_floating_point() and tensor.dtype != torch.float64
    return tensor.to(dtype) if wanted else tensor
