"""The kernels of the blocks of a stage, constructed at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from dcls.execution import is_plain_eager
from dcls.kernel import construct_kernel
from dcls.ndlayer import DclsNd


@contextmanager
def constructed_at_once(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Within, layers on a GPU that share their positions are given their kernels.

    The many small operations of a construction then wait once for a stage, not once for a block:
    a GPU would have less to do than Python. Elsewhere, and where a layer's kernel is kept or its
    parameters are not whole, each layer constructs its own.

    Args:
        modules: in which the layers are, or are not.
    """
    layers = [module for module in modules if isinstance(module, DclsNd)]
    if not _can_share(layers):
        yield
        return
    kernels = kernels_at_once(layers)
    try:
        for layer, kernel in zip(layers, kernels, strict=True):
            layer.given_kernel = kernel
        yield
    finally:
        for layer in layers:
            layer.given_kernel = None


def kernels_at_once(layers: Sequence[DclsNd]) -> tuple[Tensor, ...]:
    """What `construct_kernel()` of each of the layers gives, which share their positions."""
    first = layers[0]
    weights = torch.stack([layer.weight for layer in layers])
    positions = first.P.unsqueeze(1)
    widths = None if first.SIG is None else first.SIG.unsqueeze(1)
    size, version = first.dilated_kernel_size, first.version
    return construct_kernel(weights, positions, widths, size, version).unbind()


def _can_share(layers: Sequence[DclsNd]) -> bool:
    if len(layers) < 2 or not is_plain_eager():
        return False
    return all(_is_suitable(layer) for layer in layers) and all(
        a.P is b.P
        and a.SIG is b.SIG
        and a.weight.shape == b.weight.shape
        and a.dilated_kernel_size == b.dilated_kernel_size
        and a.version == b.version
        for a, b in pairwise(layers)
    )


def _is_suitable(layer: DclsNd) -> bool:
    """Whether the layer will construct, from whole parameters, and as all layers do."""
    own = [p for p in (layer.weight, layer.P, layer.SIG) if p is not None]
    whole = all(type(p) is nn.Parameter and p.dim() > 1 and not p.is_cpu for p in own)
    usual = type(layer).construct_kernel is DclsNd.construct_kernel
    return whole and usual and not layer.keeps_kernel(own) and own[0].shape[-1] == own[1].shape[-1]
