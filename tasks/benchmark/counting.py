"""Parameters and multiply-adds."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

ON_META = "meta"


@dataclass(frozen=True)
class Counts:
    """Size of a model.

    Args:
        parameters: shared ones once.
        multiply_adds: of one forward pass of one image: those of convolutions and matrix products.
        counted_on: `meta`, or the device whose own ways of computing the count then contains.
    """

    parameters: int
    multiply_adds: int
    counted_on: str


def counted(model: nn.Module, image: Any, device: torch.device) -> Counts:
    """Count on the meta device; where the course depends on data, as in detection, on `device`.

    On the meta device `dcls.depthwise` is the plain convolution, so that every tap counts whatever
    path a processor would take. The construction of kernels, once per pass, counts too.

    Args:
        model: in evaluation mode.
        image: one, in a form that the model takes: a tensor (1, 3, H, W) or a list of (3, H, W).
        device: where the model and the image are.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    try:
        shadow = copy.deepcopy(model).to(ON_META)
        return Counts(parameters, multiply_adds(shadow, _on_meta(image)), ON_META)
    except (NotImplementedError, RuntimeError):  # an operator without a meta form, a data's value
        return Counts(parameters, multiply_adds(model, image), device.type)


def multiply_adds(model: nn.Module, image: Any) -> int:
    """Of a forward pass, in the mode that the model is in."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    return int(counter.get_total_flops()) // 2


def _on_meta(image: Any) -> Any:
    return [one.to(ON_META) for one in image] if isinstance(image, list) else image.to(ON_META)
