"""A constructed kernel, kept as long as what it was made of stays as it is."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dcls.execution import is_plain_eager


class _Source(NamedTuple):
    """A parameter as it was.

    On the CPU `value` is a copy, and values are compared: not every change is counted (a fused
    optimizer's, another process's). Elsewhere that would wait for the device; there `value` shares
    the parameter's memory, so that nothing else can come to lie at its address.
    """

    parameter: Tensor
    value: Tensor
    version: int

    @classmethod
    def of(cls, parameter: Tensor) -> "_Source":
        value = parameter.detach()
        return cls(parameter, value.clone() if value.is_cpu else value, parameter._version)

    def is_still(self, tensor: Tensor) -> bool:
        old = self.value
        if (tensor.dtype, tensor.device, tensor.shape) != (old.dtype, old.device, old.shape):
            return False
        if old.is_cpu:
            return torch.equal(tensor, old)
        same = tensor is self.parameter and tensor.data_ptr() == old.data_ptr()
        return same and tensor._version == self.version


class _Kept(NamedTuple):
    sources: tuple[_Source, ...]
    kernel: Tensor

    def serves(self, parameters: Sequence[Tensor], dtype: torch.dtype) -> bool:
        return (
            self.kernel.dtype == dtype
            and len(parameters) == len(self.sources)
            and all(s.is_still(p) for s, p in zip(self.sources, parameters, strict=True))
        )


class KernelCache:
    """Keeps the last kernel made outside autograd.

    It is made anew as soon as a parameter has another value, type or device. On other devices than
    the CPU a change is seen only if PyTorch counts it: after a fused optimizer's step, or writing
    through ``parameter.data``, call `train()` and `eval()` of the layer.
    """

    def __init__(self) -> None:
        self._kept: _Kept | None = None  # one attribute: threads may share a layer

    def clear(self) -> None:
        """Forget the kernel."""
        self._kept = None

    def kernel(
        self, parameters: Sequence[Tensor], dtype: torch.dtype, construct: Callable[[], Tensor]
    ) -> Tensor:
        """The kernel in `dtype`, from `construct` unless nothing has changed since.

        Args:
            parameters: what `construct` reads, for which `can_be_kept` holds.
            dtype: of the result.
            construct: makes the kernel.
        """
        kept = self._kept
        if kept is not None and kept.serves(parameters, dtype):
            return kept.kernel
        # Not an inference tensor: it must serve calls outside inference mode, too.
        with torch.inference_mode(False), torch.no_grad():
            sources = tuple(_Source.of(p) for p in parameters)  # before they are read
            kernel = construct().to(dtype)
        self._kept = _Kept(sources, kernel)
        return kernel


def can_be_kept(parameters: Sequence[Tensor]) -> bool:
    """Whether the kernel has no gradient, is a real tensor, and a change would be seen."""
    if not is_plain_eager():
        return False
    graph = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in parameters)
    plain = all(type(t) in (Tensor, torch.nn.Parameter) and not t.is_meta for t in parameters)
    return plain and not graph and not any(tensor.is_inference() for tensor in parameters)
