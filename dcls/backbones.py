"""Backbones by name."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import timm

from dcls.backbone import Backbone
from dcls.blocks import DepthwiseSpec
from dcls.convnext import ConvNeXt, check_stages
from dcls.errors import BackboneArgumentError, UnknownBackboneError
from dcls.interpolation import WIDTH_VERSIONS
from dcls.replace import Convolution, replace_convs
from dcls.timm_backbone import TimmBackbone

TIMM_PREFIX = "timm/"


@dataclass(frozen=True)
class Size:
    """Blocks and channels of the four stages."""

    depths: tuple[int, ...]
    dims: tuple[int, ...]


SIZES = {
    "yocto": Size((1, 1, 2, 1), (40, 80, 160, 320)),
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
"""Sizes from arXiv 2201.03545 (tiny to xlarge) and timm (atto to nano); yocto, half of atto's
blocks for small images and short runs, is ours."""

_DENSE = {"": (7, 1), "_dil2": (7, 2), "_ker17": (17, 1)}
_VARIANTS_OF_TINY = ("_dil2", "_ker17")
_TAPS = 49  # of the 7x7 kernel whose parameters a DCLS kernel matches


Builder = Callable[..., Backbone]
"""Called with name, num_classes, features and the settings, by keyword but for the name."""
_registered: dict[str, Builder] = {}


def register_backbone(*names: str) -> Callable[[Builder], Builder]:
    """A decorator for a function that builds the backbones of these names.

    The function is called as ``build(name, num_classes=..., features=..., **settings)`` and returns
    a `Backbone`. A module that registers backbones must be imported before they are asked for, such
    as by the setting ``plugins=[my_module]`` of ``python -m tasks.run``.

    Args:
        *names: that `create_backbone` gives to the function.

    Raises:
        BackboneArgumentError: a name that another function has.
    """

    def register(build: Builder) -> Builder:
        taken = [name for name in names if _registered.get(name, build) is not build]
        if taken:
            raise BackboneArgumentError(
                f"{', '.join(taken)} is registered already; choose another name"
            )
        _registered.update(dict.fromkeys(names, build))
        return build

    return register


def list_backbones() -> list[str]:
    """Names that `create_backbone` knows, beside `timm/<name>` for every timm model."""
    return list(_registered)


def list_convnexts() -> list[str]:
    """Names of the ConvNeXts, with dense kernels or learnable spacings."""
    plain = [f"convnext_{size}" for size in SIZES]
    dcls = [f"convnext_dcls_{size}" for size in SIZES]
    return [*plain, *(f"convnext_tiny{v}" for v in _VARIANTS_OF_TINY), *dcls]


def create_backbone(
    name: str, num_classes: int = 1000, features: bool = False, **settings: Any
) -> Backbone:
    """Build a backbone with fresh weights.

    Args:
        name: one of `list_backbones()`, or `timm/<name>`. `convnext_tiny_dil2` and
            `convnext_tiny_ker17` are the paper's comparisons (7x7 dilated by 2; dense 17x17).
            `resnet50` is timm's; in `resnet50_dcls` its 3x3 convolutions are 7x7 DCLS ones of 3
            points, which is equal parameters. That size and the count are ours: the paper's
            figures for ResNet were not found.
        num_classes: outputs of the head; 0 gives pooled features.
        features: build for dense tasks: calling the module gives the maps of `forward_stages`; a
            ConvNeXt then has a norm per stage and no head.
        **settings: for a ConvNeXt, arguments of `ConvNeXt`, `depths` and `dims` included, and of
            `DepthwiseSpec` (`kernel_size`, `dilation`, `kernel_count`, `version`,
            `share_positions`); for timm's models those of `timm.create_model`, and `in_channels`.

    Returns:
        The backbone; training mode, fresh weights.

    Raises:
        UnknownBackboneError: naming the nearest names.
        BackboneArgumentError: settings that the backbone does not have, or that do not fit.
    """
    if name.startswith(TIMM_PREFIX):
        return _create_timm(name.removeprefix(TIMM_PREFIX), num_classes, features, settings)
    if name not in _registered:
        raise UnknownBackboneError(_unknown(name))
    return _registered[name](name, num_classes=num_classes, features=features, **settings)


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


def default_points(
    depths: Sequence[int], dims: Sequence[int], version: str, shared: bool
) -> tuple[int, int]:
    """Kernel size and points of a DCLS-ConvNeXt whose settings say nothing of them."""
    has_widths = version in WIDTH_VERSIONS
    count = equal_parameter_count(depths, dims, 4 if has_widths else 2, shared)
    return 23 if has_widths else 17, count


@register_backbone(*list_convnexts())
def _create_convnext(name: str, num_classes: int, features: bool, **settings: Any) -> ConvNeXt:
    """A ConvNeXt by what follows `convnext_` in its name: `dcls_<size>` or `<size>[_<kind>]`."""
    variant = name.removeprefix("convnext_")
    learned = variant.startswith("dcls_")
    size_name, underscore, kind = variant.removeprefix("dcls_").partition("_")
    size = SIZES[size_name]
    depths = tuple(settings.pop("depths", size.depths))
    dims = tuple(settings.pop("dims", size.dims))
    check_stages(depths, dims)
    own = {key: settings.pop(key) for key in DepthwiseSpec._fields if key in settings}
    if learned:
        depthwise = _learned(depths, dims, own)
    else:
        kernel_size, dilation = _DENSE[underscore + kind]
        depthwise = _dense({"kernel_size": kernel_size, "dilation": dilation} | own)
    known = set(signature(ConvNeXt).parameters)
    if unknown := sorted(set(settings) - known):
        raise BackboneArgumentError(
            f"a ConvNeXt has no setting {', '.join(unknown)}; it has "
            f"{', '.join(sorted(known.union(DepthwiseSpec._fields) - {'depthwise'}))}"
        )
    return ConvNeXt(depths, dims, depthwise, num_classes, features, **settings)


def _learned(depths: Sequence[int], dims: Sequence[int], own: dict[str, Any]) -> DepthwiseSpec:
    given = DepthwiseSpec(**own)
    size, count = default_points(depths, dims, given.version, given.share_positions)
    return given._replace(
        kernel_size=size if own.get("kernel_size") is None else given.kernel_size,
        kernel_count=count if given.kernel_count is None else given.kernel_count,
    )


def _dense(own: dict[str, Any]) -> DepthwiseSpec:
    given = DepthwiseSpec(**own)
    if given.kernel_count is not None:
        raise BackboneArgumentError(
            f"kernel_count={given.kernel_count} belongs to learned positions; choose a "
            "convnext_dcls_* backbone, or leave it out"
        )
    return given


@register_backbone("resnet50", "resnet50_dcls")
def _create_resnet(name: str, num_classes: int, features: bool, **settings: Any) -> TimmBackbone:
    """Timm's ResNet-50, or the one with learnable spacings in place of its 3x3 convolutions."""
    backbone = _create_timm("resnet50", num_classes, features, settings)
    if name == "resnet50_dcls":
        replace_convs(backbone, kernel_size=7, which=_is_3x3, inplace=True)
    return backbone


def _is_3x3(name: str, convolution: Convolution) -> bool:  # noqa: ARG001 - a name is offered
    return convolution.kernel_size == (3, 3)


def _create_timm(
    name: str, num_classes: int, features: bool, settings: dict[str, Any]
) -> TimmBackbone:
    if not timm.is_model(name):
        raise UnknownBackboneError(_unknown(TIMM_PREFIX + name))
    settings = {"in_chans" if key == "in_channels" else key: settings[key] for key in settings}
    classes = 0 if features else num_classes
    try:
        model = timm.create_model(name, pretrained=False, num_classes=classes, **settings)
    except TypeError as error:
        raise BackboneArgumentError(
            f"timm's {name} does not take these settings ({error}); leave out or rename one of "
            f"{', '.join(sorted(settings))}"
        ) from error
    return TimmBackbone(model, features)


def _unknown(name: str) -> str:
    if name.startswith(TIMM_PREFIX):
        known = [TIMM_PREFIX + model for model in timm.list_models()]
    else:
        known = list_backbones()
    near = difflib.get_close_matches(name, known, n=4, cutoff=0.4)
    if name in timm.list_models():
        near = [TIMM_PREFIX + name, *near[:3]]
    hint = f"Nearest: {', '.join(near)}. " if near else ""
    return (
        f"No backbone is called {name!r}. {hint}dcls.list_backbones() names all of ours; "
        "any timm model is timm/<name>."
    )
