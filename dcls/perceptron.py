"""The perceptron of a block in inference: some cells after the other, in memory that stays near."""

from typing import NamedTuple

import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as module_globals

from dcls.execution import is_plain_eager
from dcls.native import perceptron as native
from dcls.native.kernels import native_library

HIDDEN_BYTES = 8 * 2**20
"""Hidden values that one thread computes at a time (see `benchmarks/README.md`): more leave the
caches, and above 32 MiB every tensor is new memory from the system."""

MOST_HIDDEN_BYTES = 24 * 2**20
"""The same for all threads together."""


class PerceptronLayers(NamedTuple):
    """Two layers with an activation between them, a factor per channel, and stochastic depth."""

    first: nn.Module
    act: nn.Module
    second: nn.Module
    scale: nn.Parameter | None
    drop_path: nn.Module

    @property
    def are_stock(self) -> bool:
        """Whether the layers compute the usual thing, and nobody watches them by hooks."""
        modules = (self.first, self.act, self.second, self.drop_path)
        if any(m._forward_hooks or m._forward_pre_hooks for m in modules):
            return False
        if any("forward" in m.__dict__ for m in modules):  # exchanged on the object itself
            return False
        if module_globals._global_forward_hooks or module_globals._global_forward_pre_hooks:
            return False
        asleep = type(self.drop_path) is DropPath and not self.drop_path.training
        return (
            type(self.first) is nn.Linear
            and type(self.second) is nn.Linear
            and type(self.act) is nn.GELU
            and self.act.approximate == "none"
            and (asleep or type(self.drop_path) is nn.Identity)
        )


def perceptron_in_parts(cells: Tensor, residual: Tensor, layers: PerceptronLayers) -> Tensor | None:
    """A block's output, `residual` plus the perceptron of `cells`, for inference on a CPU.

    Args:
        cells: (N, H, W, C), normed.
        residual: (N, H, W, C), what the perceptron's output is added to.
        layers: of the block.

    Returns:
        (N, H, W, C); None where the block is to be computed in the plain way, layer by layer.
    """
    if type(cells) is not Tensor or not cells.is_cpu or torch.is_grad_enabled():
        return None
    if not is_plain_eager() or not layers.are_stock or cells.numel() == 0:
        return None
    first, second = layers.first, layers.second
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    flat, rows = cells.flatten(0, 2), _rows_at_a_time(first, cells.element_size())
    if not torch.is_autocast_enabled("cpu"):
        weights = native.PerceptronWeights(
            (first.weight, first.bias), (second.weight, second.bias), layers.scale
        )
        if weights.suit(cells, residual) and native_library() is not None:
            return native.perceptron(flat, residual.flatten(0, 2), weights, rows).view_as(cells)
    parts = []
    for part in torch.split(flat, rows):
        values = second(functional.gelu(first(part)))
        parts.append(values if layers.scale is None else layers.scale * values)
    return residual + torch.cat(parts).view(cells.shape)


def _rows_at_a_time(first: nn.Linear, element_size: int) -> int:
    size = min(MOST_HIDDEN_BYTES, HIDDEN_BYTES * torch.get_num_threads())
    return max(1, size // (first.out_features * element_size))
