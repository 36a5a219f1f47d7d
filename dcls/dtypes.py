"""Types of numbers."""

import torch
from torch import Tensor


def widened(tensor: Tensor) -> Tensor:
    """The tensor in float32, or as it is if it is float64."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
