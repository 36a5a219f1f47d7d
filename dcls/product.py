"""The matrix product at full precision, whatever autocast asks for."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, library

from dcls.execution import is_autocast_enabled


def full_precision_matmul(left: Tensor, right: Tensor) -> Tensor:
    """`torch.matmul` in the type of its arguments, inside an enabled autocast too.

    In eager mode autocast is switched off around the product. A compiled graph gets an operator
    of its own instead, because `torch.compile` runs the backward pass under the autocast of the
    forward pass, where the gradients would be rounded to half precision.

    Args:
        left: (*lead, m, k).
        right: (*lead, k, n), of the same type and the same `lead`.

    Returns:
        (*lead, m, n).
    """
    enabled = is_autocast_enabled(left.device.type)
    if enabled and torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        return _opaque_matmul(left, right)  # type: ignore[no-any-return]
    with torch.autocast(left.device.type, enabled=False) if enabled else nullcontext():
        return torch.matmul(left, right)


@library.custom_op("dcls::full_precision_matmul", mutates_args=())
def _opaque_matmul(left: Tensor, right: Tensor) -> Tensor:
    """`full_precision_matmul` as one node of a compiled graph."""
    return full_precision_matmul(left, right)


@_opaque_matmul.register_fake
def _(left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty(*left.shape[:-1], right.shape[-1])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
    left, right = ctx.saved_tensors
    return _opaque_matmul(gradient, right.mT), _opaque_matmul(left.mT, gradient)


_opaque_matmul.register_autograd(_gradients, setup_context=_save)
