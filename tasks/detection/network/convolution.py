"""The convolution of which a detector's parts are made."""

import torch
from torch import Tensor, nn


class Convolution(nn.Module):
    """A convolution that keeps the size, perhaps with batch norm and ReLU.

    Names of parameters (`conv`, `bn`) are mmdetection's.

    Args:
        inputs: channels.
        outputs: channels.
        size: of the kernel, odd.
        norm: batch norm in place of the bias.
        active: ReLU behind it.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, norm: bool = False, active: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=not norm)
        self.bn = nn.BatchNorm2d(outputs) if norm else None
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        x = self.conv(x)
        if isinstance(self.bn, nn.BatchNorm2d) and not len(x):
            # No region in the whole batch, which it refuses; its parameters stay in the graph.
            x = x + 0 * sum(parameter.sum() for parameter in self.bn.parameters())
        elif self.bn is not None:
            x = self.bn(x)
        return torch.relu(x) if self.active else x
