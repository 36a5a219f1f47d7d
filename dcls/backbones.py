"""Backbones by name."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import timm
from torch import Tensor, nn

from dcls.convnext import ConvNeXt, DepthwiseSpec, FeatureInfo, LayerScheme
from dcls.errors import UnknownBackboneError
from dcls.interpolation import WIDTH_VERSIONS
from dcls.replace import replace_convs
from dcls.timm_backbone import TimmBackbone

TIMM_PREFIX = "timm/"


class Backbone(Protocol):
    """What every backbone of `create_backbone` offers, beside being an `nn.Module`."""

    feature_info: tuple[FeatureInfo, ...]
    num_features: int
    num_classes: int

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes), or pooled features (N, num_features) if num_classes is 0."""

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Four feature maps, finest first."""

    def layer_ids(self, scheme: LayerScheme, num_layers: int = 12) -> dict[str, int]:
        """Layer number of every parameter by name, 0 to `num_layers` + 1."""


@dataclass(frozen=True)
class Size:
    """Blocks and channels of the four stages."""

    depths: tuple[int, ...]
    dims: tuple[int, ...]


SIZES = {
    "atto": Size((2, 2, 6, 2), (40, 80, 160, 320)),
    "femto": Size((2, 2, 6, 2), (48, 96, 192, 384)),
    "pico": Size((2, 2, 6, 2), (64, 128, 256, 512)),
    "nano": Size((2, 2, 8, 2), (80, 160, 320, 640)),
    "tiny": Size((3, 3, 9, 3), (96, 192, 384, 768)),
    "small": Size((3, 3, 27, 3), (96, 192, 384, 768)),
    "base": Size((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": Size((3, 3, 27, 3), (192, 384, 768, 1536)),
    "xlarge": Size((3, 3, 27, 3), (256, 512, 1024, 2048)),
}
"""Sizes from arXiv 2201.03545 (tiny to xlarge) and timm (atto to nano)."""

_DENSE = {"": (7, 1), "_dil2": (7, 2), "_ker17": (17, 1)}
_VARIANTS_OF_TINY = ("_dil2", "_ker17")
_TAPS = 49  # of the 7x7 kernel whose parameters a DCLS kernel matches
_RESNETS = ("resnet50", "resnet50_dcls")


def list_backbones() -> list[str]:
    """Names that `create_backbone` knows, beside `timm/<name>` for every timm model."""
    plain = [f"convnext_{size}" for size in SIZES]
    dcls = [f"convnext_dcls_{size}" for size in SIZES]
    return [*plain, *(f"convnext_tiny{v}" for v in _VARIANTS_OF_TINY), *dcls, *_RESNETS]


def create_backbone(
    name: str, num_classes: int = 1000, features: bool = False, **settings: Any
) -> nn.Module:
    """Build a backbone with fresh weights.

    Args:
        name: one of `list_backbones()`, or `timm/<name>`. `convnext_tiny_dil2` and
            `convnext_tiny_ker17` are the paper's comparisons (7x7 dilated by 2; dense 17x17).
            `resnet50_dcls` has 3x3 convolutions replaced by 7x7 DCLS ones at equal parameters;
            that size is ours, as the paper's was not found.
        num_classes: outputs of the head; 0 gives pooled features.
        features: build for dense tasks (a norm per stage, no head).
        **settings: for a ConvNeXt, arguments of `ConvNeXt`, `depths` and `dims` included, and of
            `DepthwiseSpec` (`kernel_size`, `dilation`, `kernel_count`, `version`,
            `share_positions`); for timm's models those of `timm.create_model`.

    Returns:
        A module that satisfies `Backbone`.

    Raises:
        UnknownBackboneError: naming the nearest names.
    """
    if name.startswith(TIMM_PREFIX) or name in _RESNETS:
        return _create_timm(name, num_classes, features, settings)
    if name not in list_backbones():
        raise UnknownBackboneError(_unknown(name))
    size_name, variant = name.removeprefix("convnext_").removeprefix("dcls_"), ""
    if size_name not in SIZES:
        size_name, underscore, rest = size_name.partition("_")
        variant = underscore + rest
    size = SIZES[size_name]
    depths = tuple(settings.pop("depths", size.depths))
    dims = tuple(settings.pop("dims", size.dims))
    own = {key: settings.pop(key) for key in DepthwiseSpec._fields if key in settings}
    if name.startswith("convnext_dcls_"):
        depthwise = _learned(depths, dims, own)
    else:
        kernel_size, dilation = _DENSE[variant]
        depthwise = DepthwiseSpec(**({"kernel_size": kernel_size, "dilation": dilation} | own))
    return ConvNeXt(depths, dims, depthwise, num_classes, features, **settings)


def equal_parameter_count(
    depths: Sequence[int], dims: Sequence[int], rows: int, shared: bool = True
) -> int:
    """Points per DCLS kernel with as many parameters as 7x7 kernels have, rounded down.

    A stage of `d` blocks and `c` channels has `d * c` kernels and, if shared, `c` times `rows`
    position and width values per point. Gives the published counts: 34 (T) and 40 (S, B) for the
    two rows of `v0` (arXiv 2112.03740), 26 (T) for the four of `gauss` (arXiv 2306.00817).
    """
    kernels = sum(depth * dim for depth, dim in zip(depths, dims, strict=True))
    holders = sum(dims) if shared else kernels
    return max(1, _TAPS * kernels // (kernels + rows * holders))


def _learned(depths: Sequence[int], dims: Sequence[int], own: dict[str, Any]) -> DepthwiseSpec:
    has_widths = own.get("version", "v0") in WIDTH_VERSIONS
    if own.get("kernel_size") is None:
        own["kernel_size"] = 23 if has_widths else 17
    if own.get("kernel_count") is None:
        shared = own.get("share_positions", True)
        own["kernel_count"] = equal_parameter_count(depths, dims, 4 if has_widths else 2, shared)
    return DepthwiseSpec(**own)


def _create_timm(
    name: str, num_classes: int, features: bool, settings: dict[str, Any]
) -> nn.Module:
    timm_name = name.removeprefix(TIMM_PREFIX).removesuffix("_dcls")
    if name.startswith(TIMM_PREFIX):
        timm_name = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(timm_name):
        raise UnknownBackboneError(_unknown(name))
    model = timm.create_model(
        timm_name, pretrained=False, num_classes=0 if features else num_classes, **settings
    )
    if name == "resnet50_dcls":
        model = replace_convs(
            model, kernel_size=7, which=lambda _, conv: conv.kernel_size == (3, 3), inplace=True
        )
    return TimmBackbone(model)


def _unknown(name: str) -> str:
    if name.startswith(TIMM_PREFIX):
        known = [TIMM_PREFIX + model for model in timm.list_models()]
    else:
        known = list_backbones()
    near = difflib.get_close_matches(name, known, n=4, cutoff=0.4)
    hint = f"Nearest: {', '.join(near)}. " if near else ""
    return (
        f"No backbone is called {name!r}. {hint}dcls.list_backbones() names all of ours; "
        "any timm model is timm/<name>."
    )
