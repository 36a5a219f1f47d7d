"""A block's perceptron in inference, by matrix products and the compiled kernels around them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from dcls.native.kernels import native_library


@dataclass(frozen=True)
class PerceptronWeights:
    """Two layers with GELU between them, and a factor per channel.

    Args:
        first: (hidden, C), and its bias (hidden,) or None.
        second: (C, hidden), and its bias (C,) or None.
        scale: (C,) or None.
    """

    first: tuple[Tensor, Tensor | None]
    second: tuple[Tensor, Tensor | None]
    scale: Tensor | None

    def suit(self, cells: Tensor, residual: Tensor) -> bool:
        """Whether the kernels can read all this memory, (..., C) of both, outside autograd."""
        channels, hidden = cells.shape[-1], self.first[0].shape[0]
        shapes = (
            (self.first[0], (hidden, channels)),
            (self.first[1], (hidden,)),
            (self.second[0], (channels, hidden)),
            (self.second[1], (channels,)),
            (residual, cells.shape),
            (cells, cells.shape),
        )
        scale = () if self.scale is None else ((self.scale, (channels,)),)
        return all(
            tensor is not None and tensor.shape == shape and _is_readable(tensor)
            for tensor, shape in (*shapes, *scale)
        )


def _is_readable(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.dtype == torch.float32
        and tensor.is_cpu
        and tensor.is_contiguous()
        and not tensor.is_neg()
    )


def perceptron(cells: Tensor, residual: Tensor, weights: PerceptronWeights, rows: int) -> Tensor:
    """`residual` + scale * (second(gelu(first(cells)))), some rows after the other.

    Args:
        cells: (M, C), float32, contiguous, without gradient.
        residual: likewise.
        weights: for which `suit` holds.
        rows: how many are computed at a time.

    Returns:
        (M, C).
    """
    kernels, threads = native_library(), torch.get_num_threads()
    (first, first_bias), (second, second_bias) = weights.first, weights.second
    assert kernels is not None, "asked for without native_library()"
    assert first_bias is not None, "asked for without suit()"
    assert second_bias is not None, "asked for without suit()"
    result = torch.empty_like(residual)
    for part, own, to in zip(
        *(torch.split(t, rows) for t in (cells, residual, result)), strict=True
    ):
        hidden = functional.linear(part, first)
        kernels.dcls_bias_gelu(hidden.data_ptr(), first_bias.data_ptr(), *hidden.shape, threads)
        values = functional.linear(hidden, second)
        kernels.dcls_scaled_residual(
            values.data_ptr(),
            second_bias.data_ptr(),
            None if weights.scale is None else weights.scale.data_ptr(),
            own.data_ptr(),
            to.data_ptr(),
            *values.shape,
            threads,
        )
    return result
