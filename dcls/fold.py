"""From a trained model with learned positions to one of plain convolutions."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from dcls.depthwise import DepthwiseConv2d
from dcls.kernel import symmetric_crop
from dcls.ndlayer import DclsNd
from dcls.surgery import swap_modules

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
_CONVOLUTIONS: dict[int, Callable[..., Convolution]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def fold(model: nn.Module, inplace: bool = False) -> nn.Module:
    """Replace every layer with learned positions by a plain convolution with its kernel.

    Outputs stay the same (to rounding), the parameters `P` and `SIG` are gone and no kernel is
    constructed any more. Kernels are cropped to the cells in use as far as an equal crop on both
    sides, taken from the padding, allows; that is exact for every stride and padding mode.
    Layers that share positions become independent.

    Args:
        model: any module, also a single layer.
        inplace: change `model` itself instead of a copy.

    Returns:
        The folded model; a new module if `model` is itself a layer.
    """
    if not inplace:
        model = copy.deepcopy(model)
    layers = [layer for layer in model.modules() if isinstance(layer, DclsNd)]
    return swap_modules(model, {layer: fold_layer(layer) for layer in layers})


def fold_layer(layer: DclsNd) -> Convolution:
    """Plain convolution that computes what `layer` does now; it keeps the layer's bias."""
    with torch.no_grad():
        whole = layer.construct_kernel().to(layer.weight.dtype)
        kernel = symmetric_crop(whole, layer.padding)
    crop = [(a - b) // 2 for a, b in zip(whole.shape[2:], kernel.shape[2:], strict=True)]
    make = _CONVOLUTIONS[layer.spatial_ndim]
    if layer.is_same_depthwise:
        make = DepthwiseConv2d
    convolution = make(
        layer.in_channels,
        layer.out_channels,
        tuple(kernel.shape[2:]),
        stride=layer.stride,
        padding=tuple(have - less for have, less in zip(layer.padding, crop, strict=True)),
        groups=layer.groups,
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
        device="meta",  # no memory and no random numbers for weights that are replaced at once
    )
    convolution.weight = nn.Parameter(kernel.contiguous(), layer.weight.requires_grad)
    if layer.bias is not None:
        convolution.bias = layer.bias
    return convolution.train(layer.training)
