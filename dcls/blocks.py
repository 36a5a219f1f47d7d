"""The parts that a ConvNeXt is made of (arXiv 2201.03545)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn

from dcls.depthwise import DepthwiseConv2d
from dcls.errors import BackboneArgumentError
from dcls.layers import Dcls2d
from dcls.perceptron import PerceptronLayers, perceptron_in_parts

EPS = 1e-6
"""Added to the variance in every layer norm."""


EXPANSION = 4
"""Hidden values of a perceptron per channel."""


class DepthwiseSpec(NamedTuple):
    """The large convolution of every block.

    A `kernel_count` of None is a dense kernel (with `dilation`); otherwise a DCLS kernel of that
    many points, whose positions are shared by the blocks of a stage if `share_positions`.
    """

    kernel_size: int = 7
    dilation: int = 1
    kernel_count: int | None = None
    version: str = "v0"
    share_positions: bool = True

    def check(self) -> None:
        """Raise `BackboneArgumentError` unless the settings describe a size-keeping convolution."""
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise BackboneArgumentError(
                f"kernel_size={self.kernel_size} cannot keep the size of a feature map; set it to "
                "an odd number"
            )
        if self.kernel_count is not None and self.dilation != 1:
            raise BackboneArgumentError(
                f"dilation={self.dilation} does not go with learned positions; leave it at 1, or "
                "choose a plain ConvNeXt"
            )

    def build(self, channels: int) -> nn.Module:
        """A depthwise convolution that keeps the size of its input."""
        padding = self.dilation * (self.kernel_size - 1) // 2
        if self.kernel_count is not None:
            return Dcls2d(
                channels,
                channels,
                kernel_count=self.kernel_count,
                padding=padding,
                dilated_kernel_size=self.kernel_size,
                groups=channels,
                version=self.version,
            )
        kind = DepthwiseConv2d if self.dilation == 1 else nn.Conv2d
        return kind(
            channels,
            channels,
            kernel_size=self.kernel_size,
            padding=padding,
            dilation=self.dilation,
            groups=channels,
        )


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W); no copy if the memory is channels-last."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each cell."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Depthwise convolution, norm, and a two-layer perceptron per cell, added to the input.

    Args:
        channels: C of the input (N, C, H, W) and of the output.
        depthwise: the large convolution.
        drop_path: probability that a sample skips the block in training.
        layer_scale: initial factor per channel, or None for no factor.
    """

    def __init__(
        self, channels: int, depthwise: DepthwiseSpec, drop_path: float, layer_scale: float | None
    ) -> None:
        super().__init__()
        self.dwconv = depthwise.build(channels)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.pwconv1 = nn.Linear(channels, EXPANSION * channels)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(EXPANSION * channels, channels)
        self.gamma = (
            None if layer_scale is None else nn.Parameter(torch.full((channels,), layer_scale))
        )
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        cells = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        done = perceptron_in_parts(
            cells,
            x.permute(0, 2, 3, 1),
            PerceptronLayers(self.pwconv1, self.act, self.pwconv2, self.gamma, self.drop_path),
        )
        if done is not None:
            return done.permute(0, 3, 1, 2)
        cells = self.pwconv2(self.act(self.pwconv1(cells)))
        if self.gamma is not None:
            cells = self.gamma * cells
        result: Tensor = x + self.drop_path(cells.permute(0, 3, 1, 2))
        return result


def downsampling(in_channels: int, dims: Sequence[int], stem_stride: int) -> Iterator[nn.Module]:
    """The stem, which cuts the image into patches, and the halving before each further stage."""
    yield nn.Sequential(
        nn.Conv2d(in_channels, dims[0], stem_stride, stem_stride), ChannelNorm(dims[0], eps=EPS)
    )
    for before, after in pairwise(dims):
        yield nn.Sequential(ChannelNorm(before, eps=EPS), nn.Conv2d(before, after, 2, 2))
