"""`depthwise_conv2d` as a module."""

from typing import Any

from torch import Tensor, nn

from dcls.depthwise.arguments import check_odd
from dcls.depthwise.convolution import depthwise_conv2d
from dcls.errors import LayerArgumentError


class DepthwiseConv2d(nn.Conv2d):
    """An `nn.Conv2d` with odd kernel, depthwise and "same", computed by `depthwise_conv2d`.

    Arguments, parameters and state dict are those of `nn.Conv2d`.

    Raises:
        LayerArgumentError: the arguments ask for any other convolution than `depthwise_conv2d`
            computes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_odd(*self.kernel_size)
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
