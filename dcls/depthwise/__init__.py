"""Depthwise "same" convolution, the one expensive operation of a large-kernel network."""

from dcls.depthwise.convolution import depthwise_conv2d
from dcls.depthwise.module import DepthwiseConv2d
from dcls.depthwise.paths import Backend

__all__ = ["Backend", "DepthwiseConv2d", "backend", "depthwise_conv2d"]

backend: Backend = "auto"
"""What may compute the convolution, to be set as `dcls.depthwise.backend = ...` at any time.

"auto": the quickest that was measured; "torch": PyTorch's own operators alone; "triton": the Triton
kernels wherever they apply, or an error that says why they cannot run here.
"""
