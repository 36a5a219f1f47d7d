"""What training does to positions: groups, clamp, repulsion."""

import math
from typing import ClassVar

import pytest
import torch
from torch import nn

from dcls.errors import LayerArgumentError
from dcls.layers import Dcls1d, Dcls2d
from dcls.ndlayer import DclsNd
from dcls.positions import (
    ParameterRole,
    PositionedLayer,
    clamp_positions,
    parameter_roles,
    repulsive_loss,
)

POSITIONS = ParameterRole(lr_scale=5.0, weight_decay=False)


def layer(version: str = "v0", count: int = 3) -> Dcls2d:
    return Dcls2d(2, 2, count, padding=2, dilated_kernel_size=5, groups=2, version=version)


def with_shared_positions() -> tuple[nn.Module, list[Dcls2d]]:
    """A model and its three layers; the first and the last share positions."""
    layers = [layer(), layer("gauss"), layer()]
    layers[2].P = layers[0].P
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.Sequential(layers[2])), layers


def test_roles_name_each_special_parameter_once() -> None:
    model, _ = with_shared_positions()
    assert parameter_roles(model) == {"0.P": POSITIONS, "2.P": POSITIONS, "2.SIG": POSITIONS}
    assert set(parameter_roles(model)) <= dict(model.named_parameters()).keys()
    assert parameter_roles(layer("max")) == {"P": POSITIONS, "SIG": POSITIONS}
    assert parameter_roles(nn.Conv2d(1, 1, 3)) == {}


def test_roles_use_the_name_of_the_model_for_positions_held_by_a_parent() -> None:
    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = layer()
            self.positions = self.block.P

    assert parameter_roles(Stage()) == {"positions": POSITIONS}


def test_a_layer_that_only_looks_like_one_with_positions_is_refused() -> None:
    class Alike(nn.Module):
        special_parameters: ClassVar = {"P": POSITIONS}

        def __init__(self) -> None:
            super().__init__()
            self.P = nn.Parameter(torch.zeros(2, 1, 1, 3))

    assert PositionedLayer in DclsNd.__mro__, "not only by what it offers"
    for ask in (parameter_roles, clamp_positions, repulsive_loss):
        with pytest.raises(LayerArgumentError, match=r"Alike .* PositionedLayer"):
            ask(nn.Sequential(layer(), Alike()))


def test_clamp_reaches_every_layer() -> None:
    model, layers = with_shared_positions()
    for parameter in model.parameters():
        nn.init.constant_(parameter, -7.5)
    clamp_positions(model)
    assert [module.P.min().item() for module in layers] == [-2.0] * 3
    assert layers[0].weight.min() == -7.5


def loss_by_loops(positions: torch.Tensor) -> float:
    """2 * sum over pairs of relu(1 - distance) / (k (k - 1) * out * in)."""
    _, outs, ins, count = positions.shape
    total = 0.0
    for o in range(outs):
        for i in range(ins):
            for a in range(count):
                for b in range(a + 1, count):
                    difference = (positions[:, o, i, a] - positions[:, o, i, b]).tolist()
                    total += max(0.0, 1 - math.hypot(*difference))
    return 2 * total / (count * (count - 1) * outs * ins)


def test_repulsive_loss_is_the_mean_over_distinct_positions() -> None:
    torch.manual_seed(0)
    model, layers = with_shared_positions()
    expected = [loss_by_loops(module.P.detach()) for module in layers[:2]]
    assert min(expected) > 0
    assert repulsive_loss(model).item() == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_repulsive_loss_pushes_points_apart() -> None:
    module = Dcls1d(1, 1, 2, dilated_kernel_size=5, version="v0")
    module.P.data = torch.tensor([0.0, 0.25]).reshape(1, 1, 1, 2)
    loss = repulsive_loss(module)
    assert loss.item() == pytest.approx(0.75)
    (gradient,) = torch.autograd.grad(loss, module.P)
    assert gradient.flatten().tolist() == pytest.approx([1.0, -1.0])


@pytest.mark.parametrize("where", [0.0, 1.5])
def test_coinciding_points_give_a_finite_gradient(where: float) -> None:
    module = layer()
    nn.init.constant_(module.P, where)
    loss = repulsive_loss(module)
    assert loss.item() == pytest.approx(1.0)
    (gradient,) = torch.autograd.grad(loss, module.P)
    assert gradient.isfinite().all()


def test_repulsive_loss_without_pairs_is_zero() -> None:
    assert repulsive_loss(layer(count=1)).item() == 0.0
    assert repulsive_loss(nn.Conv2d(1, 1, 3)).item() == 0.0
    assert repulsive_loss(nn.ReLU()).item() == 0.0


def test_repulsive_loss_of_half_precision_positions_is_float32() -> None:
    module = layer().bfloat16()
    assert repulsive_loss(module).dtype == torch.float32
