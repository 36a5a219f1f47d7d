"""Depthwise "same" convolution, the one expensive operation of a large-kernel network."""

from dcls.depthwise.convolution import depthwise_conv2d
from dcls.depthwise.module import DepthwiseConv2d

__all__ = ["DepthwiseConv2d", "depthwise_conv2d"]
