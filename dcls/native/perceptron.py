"""A block's perceptron in inference, by matrix products and the compiled kernels around them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dcls.native.library import native_library


@dataclass(frozen=True)
class PerceptronWeights:
    """Two layers with GELU between them, and a factor per channel.

    Args:
        first: (hidden, C), and its bias (hidden,).
        second: (C, hidden), and its bias (C,).
        scale: (C,) or None.
    """

    first: tuple[Tensor, Tensor]
    second: tuple[Tensor, Tensor]
    scale: Tensor | None

    def suits(self, cells: Tensor) -> bool:
        """Whether the kernels can be used for these values, outside autograd."""
        tensors = [cells, *self.first, *self.second, *(() if self.scale is None else (self.scale,))]
        return all(
            type(t) in (Tensor, torch.nn.Parameter)
            and t.dtype == torch.float32
            and t.device.type == "cpu"
            and t.is_contiguous()
            for t in tensors
        )


def perceptron(cells: Tensor, residual: Tensor, weights: PerceptronWeights, rows: int) -> Tensor:
    """`residual` + scale * (second(gelu(first(cells)))), some rows after the other.

    Args:
        cells: (M, C), float32, contiguous, without gradient.
        residual: likewise.
        weights: for which `suits` holds.
        rows: how many are computed at a time.

    Returns:
        (M, C).
    """
    kernels, threads = native_library(), torch.get_num_threads()
    assert kernels is not None, "asked for without native_library()"
    result = torch.empty_like(residual)
    for part, own, to in zip(
        *(torch.split(t, rows) for t in (cells, residual, result)), strict=True
    ):
        hidden = functional.linear(part, weights.first[0])
        kernels.dcls_bias_gelu(
            hidden.data_ptr(), weights.first[1].data_ptr(), *hidden.shape, threads
        )
        values = functional.linear(hidden, weights.second[0])
        kernels.dcls_scaled_residual(
            values.data_ptr(),
            weights.second[1].data_ptr(),
            None if weights.scale is None else weights.scale.data_ptr(),
            own.data_ptr(),
            to.data_ptr(),
            *values.shape,
            threads,
        )
    return result
