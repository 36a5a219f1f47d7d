"""Layers with learned positions in place of the convolutions of any model."""

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeGuard

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized

from dcls.depthwise import DepthwiseConv2d
from dcls.errors import LayerArgumentError
from dcls.interpolation import WIDTH_VERSIONS, check_version
from dcls.layers import Dcls1d, Dcls2d, Dcls3d
from dcls.ndlayer import DclsNd
from dcls.surgery import swap_modules

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Choice = Literal["depthwise", "all"] | Callable[[str, Convolution], bool]
_LAYERS: dict[int, type[DclsNd]] = {1: Dcls1d, 2: Dcls2d, 3: Dcls3d}

# Subclasses with a forward pass of their own compute something else.
_PLAIN_FORWARDS = {cls.forward for cls in (nn.Conv1d, nn.Conv2d, nn.Conv3d, DepthwiseConv2d)}


class Replacement(NamedTuple):
    """What happens to one convolution of a model."""

    name: str
    """Full module name; empty if the model is itself the convolution."""
    convolution: Convolution
    kernel_size: tuple[int, ...]
    """Dense size of the new kernel."""
    padding: tuple[int, ...]
    kernel_count: int
    """Points per kernel."""


def replace_convs(
    model: nn.Module,
    kernel_size: int = 17,
    kernel_count: int | None = None,
    version: str = "v0",
    which: Choice = "depthwise",
    share_positions: bool = False,
    inplace: bool = False,
) -> nn.Module:
    """Turn convolutions of `model` into layers with learned positions.

    Stride, groups, bias, padding mode, dtype, device and the sizes of all outputs stay. A dilated
    convolution becomes a kernel that covers at least its field. Biases are copied; weights are
    drawn anew and scaled by the energy (sum of squares) of the old ones, so that the variance of
    outputs stays about the same: retrain afterwards.

    To see beforehand, or afterwards, what is replaced, call `plan_replacement` with the same
    arguments.

    Args:
        model: any module: timm's, torchvision's, your own, also a single convolution.
        kernel_size: cells of the new kernel along each axis. One less where the old kernel is
            even, and more where the old field is larger: otherwise sizes would change.
        kernel_count: points per kernel. None gives as many as the old kernels had parameters for,
            positions and widths counted (at least 1): 7x7 gives 16 points in `v0`, or 34 with
            the positions shared as in ConvNeXt-T.
        version: interpolation, "v0", "v1", "max" or "gauss".
        which: "depthwise", "all" (every kernel larger than one cell), or a function of a
            convolution's name and module.
        share_positions: whether layers with the same channels, groups, kernel size and count
            share one tensor of positions (and one of widths), as arXiv 2112.03740 does in stages.
        inplace: change `model` itself instead of a copy.

    Returns:
        The changed model; a new module if `model` is itself a convolution.

    Raises:
        LayerArgumentError: a bad argument, or nothing to replace.
    """
    if not inplace:
        model = copy.deepcopy(model)
    plan = plan_replacement(model, kernel_size, kernel_count, version, which, share_positions)
    layers: dict[nn.Module, nn.Module] = {}
    shared: dict[tuple[object, ...], DclsNd] = {}
    for item in plan:
        layer = _make_layer(item, version)
        if share_positions:
            first = shared.setdefault(_sharing_key(item), layer)
            layer.P, layer.SIG = first.P, first.SIG
        _match_energy(layer, item.convolution)
        layers[item.convolution] = layer
    return swap_modules(model, layers)


def plan_replacement(
    model: nn.Module,
    kernel_size: int = 17,
    kernel_count: int | None = None,
    version: str = "v0",
    which: Choice = "depthwise",
    share_positions: bool = False,
) -> list[Replacement]:
    """What `replace_convs` with these arguments would replace, in the order of the modules.

    Left alone in any case: convolutions of one cell, lazy ones, and those of a class with a
    forward pass of its own (timm's `Conv2dSame` or `StdConv2d`, for example).

    Raises:
        LayerArgumentError: a bad argument, or nothing to replace.
    """
    check_version(version)
    if kernel_size < 1:
        raise LayerArgumentError(f"kernel_size={kernel_size}; set it to 1 or more")
    if kernel_count is not None and kernel_count < 1:
        raise LayerArgumentError(
            f"kernel_count={kernel_count}; set it to 1 or more, or to None for equal parameters"
        )
    convolutions = {
        name: module
        for name, module in model.named_modules()
        if _is_plain_convolution(module) and _is_chosen(which, name, module)
    }
    if not convolutions:
        others = sum(_is_plain_convolution(module) for module in model.modules())
        raise LayerArgumentError(
            f"which={which!r} selects none of the {others} convolutions of "
            f"{type(model).__name__} that could be replaced; set which to 'depthwise', 'all', or "
            "a function of name and module"
        )
    plan = []
    for name, convolution in convolutions.items():
        cells, padding = _geometry(convolution, kernel_size)
        plan.append(Replacement(name, convolution, cells, padding, kernel_count or 1))
    return plan if kernel_count else _with_equal_parameters(plan, version, share_positions)


def _is_plain_convolution(module: nn.Module) -> TypeGuard[Convolution]:
    """Whether `module` computes what `nn.ConvNd` does, with more than one cell per kernel."""
    if not isinstance(module, Convolution) or isinstance(module, LazyModuleMixin):
        return False
    if type(module).forward not in _PLAIN_FORWARDS or is_parametrized(module):
        return False
    if math.prod(module.kernel_size) == 1:
        return False
    # "same" around an even field pads one side more than the other, which our layers cannot.
    return module.padding != "same" or all(field % 2 for field in _fields(module))


def _is_chosen(which: Choice, name: str, convolution: Convolution) -> bool:
    if callable(which):
        return which(name, convolution)
    if which == "depthwise":
        return convolution.groups == convolution.in_channels > 1
    if which == "all":
        return True
    raise LayerArgumentError(
        f"which={which!r} is not known; set which to 'depthwise', 'all', or a function of name "
        "and module"
    )


def _fields(convolution: Convolution) -> list[int]:
    """Cells that the dilated kernel covers along each axis."""
    pairs = zip(convolution.dilation, convolution.kernel_size, strict=True)
    return [dilation * (size - 1) + 1 for dilation, size in pairs]


def _geometry(
    convolution: Convolution, kernel_size: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Cells and padding of the new kernel, chosen so that output sizes stay."""
    fields = _fields(convolution)
    if convolution.padding == "same":
        old_padding: Sequence[int] = [field // 2 for field in fields]
    elif isinstance(convolution.padding, str):
        old_padding = [0] * len(fields)
    else:
        old_padding = convolution.padding
    cells, paddings = [], []
    for field, padding in zip(fields, old_padding, strict=True):
        # An axis of one cell stays so: (1, 7) becomes (1, 17).
        size = 1 if field == 1 else max(kernel_size, field)
        size -= (size - field) % 2
        cells.append(size)
        paddings.append(padding + (size - field) // 2)
    return tuple(cells), tuple(paddings)


def _with_equal_parameters(
    plan: list[Replacement], version: str, share_positions: bool
) -> list[Replacement]:
    """The plan with as many points as the old kernels pay for.

    One count for all kernels of the same number of old taps: their parameters together buy n
    points of one weight each, and the distinct position (and width) tensors n numbers per axis.
    """
    kinds: dict[tuple[int, int], list[Replacement]] = defaultdict(list)
    for item in plan:
        size = item.convolution.kernel_size
        kinds[len(size), math.prod(size)].append(item)
    counts: dict[tuple[int, int], int] = {}
    for (ndim, taps), items in kinds.items():
        kernels = [item.convolution.weight.shape[:2].numel() for item in items]
        placed = kernels
        if share_positions:
            placed = list(dict(zip(map(_sharing_key, items), kernels, strict=True)).values())
        rows = ndim * (2 if version in WIDTH_VERSIONS else 1)
        counts[ndim, taps] = max(1, sum(kernels) * taps // (sum(kernels) + rows * sum(placed)))
    return [
        item._replace(kernel_count=counts[len(size), math.prod(size)])
        for item in plan
        for size in [item.convolution.kernel_size]
    ]


def _sharing_key(item: Replacement) -> tuple[object, ...]:
    """Equal for layers whose positions have the same shape and meaning."""
    conv = item.convolution
    return (conv.out_channels, conv.in_channels, conv.groups, item.kernel_size, item.kernel_count)


def _make_layer(item: Replacement, version: str) -> DclsNd:
    old = item.convolution
    layer = _LAYERS[len(item.kernel_size)](
        old.in_channels,
        old.out_channels,
        item.kernel_count,
        stride=old.stride,
        padding=item.padding,
        dilated_kernel_size=item.kernel_size,
        groups=old.groups,
        bias=old.bias is not None,
        padding_mode=old.padding_mode,
        version=version,
    )
    layer = layer.to(device=old.weight.device, dtype=old.weight.dtype).train(old.training)
    if isinstance(old.bias, nn.Parameter):
        layer.bias = old.bias
    return layer


@torch.no_grad()
def _match_energy(layer: DclsNd, old: Convolution) -> None:
    """Scale the weights so that the variance of outputs stays about what it was.

    Independent weights give outputs a variance in proportion to the energy of the kernel where
    neighbouring inputs are uncorrelated, and to that of the points' weights where they are equal
    (a point spread over several cells then loses nothing). Features lie between: take the mean.
    """
    kernel = layer.construct_kernel()
    energy = (kernel.square().sum() + layer.weight.to(kernel.dtype).square().sum()) / 2
    wanted = old.weight.to(kernel.dtype).square().sum()
    layer.weight.mul_((wanted / energy.clamp(min=torch.finfo(kernel.dtype).tiny)).sqrt())
