"""The one ConvNeXt of classification, segmentation and detection (arXiv 2201.03545, 2112.03740)."""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from timm.layers.weight_init import trunc_normal_
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dcls.backbone import Backbone, FeatureInfo, LayerScheme
from dcls.blocks import EPS, Block, ChannelNorm, DepthwiseSpec, downsampling
from dcls.errors import BackboneArgumentError
from dcls.ndlayer import DclsNd
from dcls.stage_kernels import constructed_at_once

STAGES = 4
BLOCKS_PER_LAYER = 3
"""Consecutive blocks of the third stage that count as one layer."""


class ConvNeXt(Backbone):
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
        init_std: of the initial weights, 0.02 as published; None: 1 / sqrt(fan-in), from which
            small models and short runs learn faster.
        stem_stride: side of the stem's patches, 4 as published; less for small images.
        checkpoint_activations: recompute activations in the backward pass to save memory.

    Attributes:
        feature_info: channels and stride of each stage's map.
        num_features: channels of the last stage.
        num_classes: as given; 0 with `features`.
        classifier: prefixes of the names of the parameters that depend on the classes.
        share_positions: whether the blocks of a stage have one tensor of positions.

    Raises:
        BackboneArgumentError: settings that do not fit together.
    """

    classifier: tuple[str, ...] = ("head.",)

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
        init_std: float | None = 0.02,
        stem_stride: int = 4,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        check_stages(depths, dims)
        depthwise.check()
        self.depths = tuple(depths)
        self.num_classes = 0 if features else num_classes
        self.num_features = dims[-1]
        self.feature_info = tuple(FeatureInfo(c, stem_stride * 2**i) for i, c in enumerate(dims))
        self.has_stage_norms = features
        self.share_positions = depthwise.kernel_count is not None and depthwise.share_positions
        self.checkpoint_activations = checkpoint_activations
        self.downsample_layers = nn.ModuleList(downsampling(in_channels, dims, stem_stride))
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
        if self.share_positions:
            self._share_positions()
        self._initialise(head_init_scale, init_std)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Logits (N, num_classes) of images (N, in_channels, H, W); pooled features without a head.

        With `features`, what `forward_stages` gives: heads of dense tasks call their backbone so.
        """
        if self.has_stage_norms:
            return self.forward_stages(x)
        for index in range(STAGES):
            x = self._run_stage(index, x)
        logits: Tensor = self.head(self.norm(x.mean((-2, -1))))
        return logits

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The four normed feature maps (N, C_i, H / s_i, W / s_i) of images (N, in_channels, H, W).

        Without `features=True` the norms have no parameters, which is how trained ones start.
        """
        maps = []
        for index in range(STAGES):
            x = self._run_stage(index, x)
            maps.append(self._normed(index, x))
        return maps

    def layer_ids(self, scheme: LayerScheme, num_layers: int = 12) -> dict[str, int]:
        """Layer number of every parameter, for a rate that decays with depth.

        Args:
            scheme: `layer_wise` (arXiv 2201.03545, detection): three blocks of the third stage
                count as one layer; `stage_wise` (segmentation): a stage is a layer.
            num_layers: 6 for depths (3, 3, 9, 3), 12 for (3, 3, 27, 3).

        Returns:
            A number from 0 (the stem) to `num_layers` + 1 (everything behind the last stage), by
            every name of a parameter; a shared one has several.

        Raises:
            BackboneArgumentError: an unknown scheme, or fewer layers than the blocks make.
        """
        needed = {
            "layer_wise": STAGES - 1 + -(-self.depths[2] // BLOCKS_PER_LAYER),
            "stage_wise": STAGES,
        }
        if scheme not in needed:
            raise BackboneArgumentError(
                f"layer scheme {scheme!r} is not known; choose one of {', '.join(needed)}"
            )
        if num_layers < needed[scheme]:
            raise BackboneArgumentError(
                f"num_layers={num_layers} is too small: {scheme} numbering of depths "
                f"{self.depths} needs {needed[scheme]} or more"
            )
        names = [name for name, _ in self.named_parameters(remove_duplicate=False)]
        return {name: _layer_id(name, scheme, num_layers) for name in names}

    def _run_stage(self, index: int, x: Tensor) -> Tensor:
        x = self.downsample_layers[index](x)
        if not (self.checkpoint_activations and torch.is_grad_enabled()):
            with constructed_at_once([block.dwconv for block in self._blocks(index)]):
                result: Tensor = self.stages[index](x)
            return result
        for block in self._blocks(index):
            x = checkpoint(block, x, use_reentrant=False)
        return x

    def _normed(self, index: int, x: Tensor) -> Tensor:
        if self.has_stage_norms:
            normed: Tensor = getattr(self, f"norm{index}")(x)
            return normed
        cells = x.permute(0, 2, 3, 1)
        return F.layer_norm(cells, cells.shape[-1:], eps=EPS).permute(0, 3, 1, 2)

    def _share_positions(self) -> None:
        for index in range(STAGES):
            first, *others = (cast(DclsNd, block.dwconv) for block in self._blocks(index))
            for layer in others:
                layer.P, layer.SIG = first.P, first.SIG

    def _blocks(self, index: int) -> Iterable[Block]:
        return cast(Iterable[Block], self.stages[index])

    def _initialise(self, head_init_scale: float, init_std: float | None) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear, DclsNd)):
                fan_in = module.weight[0].numel()
                trunc_normal_(module.weight, std=init_std or fan_in**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        head = getattr(self, "head", None)
        if isinstance(head, nn.Linear):
            with torch.no_grad():
                head.weight.mul_(head_init_scale)


def check_stages(depths: Sequence[int], dims: Sequence[int]) -> None:
    """Raise `BackboneArgumentError` unless both hold a positive number per stage."""
    if len(depths) != STAGES or len(dims) != STAGES or min(*depths, *dims) < 1:
        raise BackboneArgumentError(
            f"depths={tuple(depths)} and dims={tuple(dims)}; give {STAGES} positive numbers each"
        )


def _layer_id(name: str, scheme: LayerScheme, num_layers: int) -> int:
    part, *rest = name.split(".")
    if part not in ("downsample_layers", "stages"):
        return num_layers + 1
    index = int(rest[0])
    if scheme == "stage_wise":
        return 0 if part == "downsample_layers" else index + 1
    if index == STAGES - 1:
        return num_layers
    if part == "downsample_layers":
        return (0, 2, 3)[index]
    return 3 + int(rest[1]) // BLOCKS_PER_LAYER if index == 2 else index + 1
