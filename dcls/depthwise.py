"""Depthwise "same" convolution, the one expensive operation of a large-kernel network."""

import torch
from torch import Tensor
from torch.nn import functional

from dcls.errors import LayerArgumentError


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve each channel of `x` (N, C, H, W) with its kernel of `weight` (C, 1, KH, KW)."""
    if x.ndim != 4 or weight.ndim != 4:
        raise LayerArgumentError(f"expected 4-D input and weight, found {x.ndim}-D, {weight.ndim}-D")
    padding = (weight.shape[-2] // 2, weight.shape[-1] // 2)
    return functional.conv2d(x, weight, bias, 1, padding, 1, weight.shape[0])


class DepthwiseConv2d(torch.nn.Conv2d):
    """A depthwise "same" convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        return depthwise_conv2d(x, self.weight, self.bias)
