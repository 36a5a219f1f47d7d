"""The one ConvNeXt of classification, segmentation and detection (arXiv 2201.03545, 2112.03740)."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dcls.depthwise import DepthwiseConv2d
from dcls.errors import DclsError
from dcls.layers import Dcls2d
from dcls.ndlayer import DclsNd

LayerScheme = Literal["layer_wise", "stage_wise"]
EPS = 1e-6
BLOCKS_PER_LAYER = 3  # consecutive blocks of the third stage that count as one layer


class FeatureInfo(NamedTuple):
    """One feature map of a backbone: its channels, and input pixels per cell."""

    channels: int
    stride: int


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

    def build(self, channels: int) -> nn.Module:
        """A depthwise convolution that keeps the size of its input."""
        reach = self.dilation * (self.kernel_size - 1)
        if self.kernel_count is not None:
            return Dcls2d(
                channels,
                channels,
                kernel_count=self.kernel_count,
                padding=reach // 2,
                dilated_kernel_size=self.kernel_size,
                groups=channels,
                version=self.version,
            )
        if self.dilation == 1:
            return DepthwiseConv2d(channels, self.kernel_size)
        return nn.Conv2d(
            channels,
            channels,
            self.kernel_size,
            padding=reach // 2,
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
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = (
            None if layer_scale is None else nn.Parameter(torch.full((channels,), layer_scale))
        )
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        cells = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        cells = self.pwconv2(self.act(self.pwconv1(cells)))
        if self.gamma is not None:
            cells = self.gamma * cells
        result: Tensor = x + self.drop_path(cells.permute(0, 3, 1, 2))
        return result


class ConvNeXt(nn.Module):
    """ConvNeXt with plain or DCLS depthwise convolutions.

    State-dict keys are those of the released checkpoints: classification models end in `norm` and
    `head`; with `features` they have `norm0` to `norm3` instead, as in segmentation and detection.

    Args:
        depths: blocks per stage.
        dims: channels per stage.
        depthwise: the large convolution of every block.
        num_classes: outputs of the head; 0 gives pooled features.
        features: build for dense tasks, with a norm per stage and no head.
        in_channels: of the images.
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0.
        layer_scale: initial layer scale, or None.
        head_init_scale: factor on the head's initial weights.
        stem_stride: side of the stem's patches, 4 as published; less for small images.
        checkpoint_activations: recompute activations in the backward pass to save memory.

    Attributes:
        feature_info: channels and stride of each stage's map.
        num_features: channels of the last stage.
        num_classes: as given.
    """

    def __init__(
        self,
        depths: Sequence[int],
        dims: Sequence[int],
        depthwise: DepthwiseSpec,
        num_classes: int = 1000,
        features: bool = False,
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        layer_scale: float | None = 1e-6,
        head_init_scale: float = 1.0,
        stem_stride: int = 4,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        self.depths = tuple(depths)
        self.num_classes = 0 if features else num_classes
        self.num_features = dims[-1]
        self.feature_info = tuple(FeatureInfo(c, stem_stride * 2**i) for i, c in enumerate(dims))
        self.share_positions = depthwise.kernel_count is not None and depthwise.share_positions
        self.checkpoint_activations = checkpoint_activations
        self.downsample_layers = nn.ModuleList(_downsampling(in_channels, dims, stem_stride))
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(c, depthwise, next(rates), layer_scale) for _ in range(depth)))
            for c, depth in zip(dims, depths, strict=True)
        )
        if features:
            for i, channels in enumerate(dims):
                self.add_module(f"norm{i}", ChannelNorm(channels, eps=EPS))
        else:
            self.norm = nn.LayerNorm(dims[-1], eps=EPS)
            self.head = nn.Linear(dims[-1], num_classes) if num_classes else nn.Identity()
        self._share_positions()
        self._initialise(head_init_scale)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, in_channels, H, W); pooled features without a head.

        Raises:
            DclsError: if the model was built with `features=True`.
        """
        if hasattr(self, "norm0"):
            raise DclsError(
                "This backbone was built with features=True and has no head: call "
                "forward_stages(x), or build it with features=False."
            )
        for x in self._stage_outputs(x):  # noqa: B007 - the last one is what remains
            pass
        logits: Tensor = self.head(self.norm(x.mean((-2, -1))))
        return logits

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The four normed feature maps (N, C_i, H / s_i, W / s_i) of images (N, in_channels, H, W).

        Without `features=True` the norms have no parameters, which is how trained ones start.
        """
        return [self._stage_norm(i, y) for i, y in enumerate(self._stage_outputs(x))]

    def layer_ids(self, scheme: LayerScheme, num_layers: int = 12) -> dict[str, int]:
        """Layer number of every parameter, for a rate that decays with depth.

        Args:
            scheme: `layer_wise` (arXiv 2201.03545, detection): three blocks of the third stage
                count as one layer; `stage_wise` (segmentation): a stage is a layer.
            num_layers: 6 for depths (3, 3, 9, 3), 12 for (3, 3, 27, 3).

        Returns:
            A number from 0 (the stem) to `num_layers` + 1 (everything behind the last stage).
        """
        names = [name for name, _ in self.named_parameters(remove_duplicate=False)]
        return {name: _layer_id(name, scheme, num_layers) for name in names}

    def _stage_outputs(self, x: Tensor) -> Iterator[Tensor]:
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = downsample(x)
            for block in stage:
                if self.checkpoint_activations and torch.is_grad_enabled():
                    x = checkpoint(block, x, use_reentrant=False)
                else:
                    x = block(x)
            yield x

    def _stage_norm(self, index: int, x: Tensor) -> Tensor:
        if hasattr(self, "norm0"):
            normed: Tensor = getattr(self, f"norm{index}")(x)
            return normed
        cells = x.permute(0, 2, 3, 1)
        return F.layer_norm(cells, cells.shape[-1:], eps=EPS).permute(0, 3, 1, 2)

    def _share_positions(self) -> None:
        if not self.share_positions:
            return
        for stage in self.stages:
            first = stage[0].dwconv
            for block in stage:
                block.dwconv.P, block.dwconv.SIG = first.P, first.SIG

    def _initialise(self, head_init_scale: float) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear, DclsNd)):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        head = getattr(self, "head", None)
        if isinstance(head, nn.Linear):
            with torch.no_grad():
                head.weight.mul_(head_init_scale)


def _downsampling(in_channels: int, dims: Sequence[int], stride: int) -> Iterator[nn.Module]:
    yield nn.Sequential(
        nn.Conv2d(in_channels, dims[0], stride, stride), ChannelNorm(dims[0], eps=EPS)
    )
    for before, after in zip(dims, dims[1:], strict=False):
        yield nn.Sequential(ChannelNorm(before, eps=EPS), nn.Conv2d(before, after, 2, 2))


def _layer_id(name: str, scheme: LayerScheme, num_layers: int) -> int:
    part, *rest = name.split(".")
    if part not in ("downsample_layers", "stages"):
        return num_layers + 1
    index = int(rest[0])
    if scheme == "stage_wise":
        return 0 if part == "downsample_layers" else index + 1
    if index == 3:
        return num_layers
    if part == "downsample_layers":
        return (0, 2, 3)[index]
    return 3 + int(rest[1]) // BLOCKS_PER_LAYER if index == 2 else index + 1
