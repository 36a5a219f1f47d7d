"""What training does to learned positions beside the gradient step.

Clamping, the repulsive loss and the declaration of optimizer groups ask each layer, so no caller
has to recognise parameters by their names.
"""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from dcls.errors import LayerArgumentError


class ParameterRole(NamedTuple):
    """How the optimizer should treat a parameter: learning-rate factor and weight decay."""

    lr_scale: float = 5.0
    weight_decay: bool = False


class PositionedLayer(nn.Module):
    """Base class of layers with learned positions `P` (rows, *lead, n).

    A base class and not a protocol: from Python 3.12 on, `isinstance` with a protocol does not
    find the parameters of an `nn.Module`, so that positions would be trained as plain weights.

    Attributes:
        P: the positions.
        special_parameters: how the optimizer should treat `P` and the like, by attribute name.
    """

    P: nn.Parameter
    special_parameters: ClassVar[dict[str, ParameterRole]]

    def clamp_positions(self) -> None:
        """Move positions outside the kernel back to its border."""
        raise NotImplementedError


def parameter_roles(module: nn.Module) -> dict[str, ParameterRole]:
    """Roles of the special parameters of `module`, by full parameter name.

    A parameter shared by several layers appears once, under the name that
    `module.named_parameters()` gives it.

    Raises:
        LayerArgumentError: a layer declares special parameters without being a `PositionedLayer`.
    """
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    roles: dict[str, ParameterRole] = {}
    for layer in _positioned_layers(module):
        for local_name, role in layer.special_parameters.items():
            parameter = getattr(layer, local_name)
            if parameter is not None:
                roles.setdefault(names[id(parameter)], role)
    return roles


def clamp_positions(module: nn.Module) -> None:
    """Clamp every position in `module` to its kernel, in place (call it after each step)."""
    for layer in _positioned_layers(module):
        layer.clamp_positions()


def repulsive_loss(module: nn.Module) -> Tensor:
    """How much points crowd each other: 0 if all pairs are at least one cell apart, at most 1.

    The mean of relu(1 - distance) over all pairs of points of a kernel and over all kernels of a
    position tensor, averaged over the distinct position tensors of `module`. A task adds the
    square of it to its loss (arXiv 2112.03740, appendix on the repulsive loss).

    Returns:
        A scalar; 0 for a module without pairs of points.
    """
    distinct = {id(layer.P): layer.P for layer in _positioned_layers(module)}
    if not distinct:
        some = next(module.parameters(), None)
        return torch.zeros((), device=None if some is None else some.device)
    return torch.stack([_crowding(positions) for positions in distinct.values()]).mean()


def _crowding(positions: Tensor) -> Tensor:
    """Mean of relu(1 - distance) over pairs, for positions (rows, *lead, n)."""
    count = positions.shape[-1]
    points = positions.to(torch.promote_types(positions.dtype, torch.float32))
    if count < 2:
        return points.new_zeros(())
    first, second = torch.triu_indices(count, count, offset=1, device=points.device)
    distance = torch.linalg.vector_norm(points[..., first] - points[..., second], dim=0)
    crowding: Tensor = (1 - distance).relu().mean()
    return crowding


def _positioned_layers(module: nn.Module) -> list[PositionedLayer]:
    found = []
    for layer in module.modules():
        if isinstance(layer, PositionedLayer):
            found.append(layer)
        elif hasattr(type(layer), "special_parameters"):
            raise LayerArgumentError(
                f"{type(layer).__name__} declares special_parameters but is no PositionedLayer, "
                "so its positions would be trained as plain weights; derive the class from "
                "dcls.positions.PositionedLayer"
            )
    return found
