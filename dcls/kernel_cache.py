"""A constructed kernel, kept as long as what it was made of stays as it is."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class _Source(NamedTuple):
    """A parameter as it was.

    `alias` shares the memory, so that no other tensor can come to lie at its address.
    """

    alias: Tensor
    version: int

    def is_still(self, tensor: Tensor) -> bool:
        return (
            tensor.data_ptr() == self.alias.data_ptr()
            and tensor._version == self.version
            and tensor.dtype == self.alias.dtype
            and tensor.device == self.alias.device
            and tensor.shape == self.alias.shape
            and tensor.stride() == self.alias.stride()
        )


class KernelCache:
    """Keeps the last kernel made outside autograd.

    It is made anew as soon as a parameter is another tensor, lies elsewhere, has another type, or
    was changed in place, which PyTorch counts. It does not count what is written through
    ``parameter.data``: call `train()` and `eval()` of the layer after that.
    """

    def __init__(self) -> None:
        self._sources: tuple[_Source, ...] = ()
        self._dtype: torch.dtype | None = None
        self._kernel: Tensor | None = None

    def clear(self) -> None:
        """Forget the kernel."""
        self._sources, self._dtype, self._kernel = (), None, None

    def kernel(
        self, parameters: Sequence[Tensor], dtype: torch.dtype, construct: Callable[[], Tensor]
    ) -> Tensor:
        """The kernel in `dtype`, from `construct` unless nothing has changed since.

        Args:
            parameters: what `construct` reads, for which `can_be_kept` holds.
            dtype: of the result.
            construct: makes the kernel.
        """
        known = self._kernel
        if known is not None and self._dtype == dtype and self._is_current(parameters):
            return known
        # Not an inference tensor: it must serve calls outside inference mode, too.
        with torch.inference_mode(False), torch.no_grad():
            kernel = construct().to(dtype)
            self._sources = tuple(_Source(p.detach(), p._version) for p in parameters)
        self._dtype, self._kernel = dtype, kernel
        return kernel

    def _is_current(self, parameters: Sequence[Tensor]) -> bool:
        return len(parameters) == len(self._sources) and all(
            source.is_still(tensor)
            for source, tensor in zip(self._sources, parameters, strict=True)
        )


def can_be_kept(parameters: Sequence[Tensor]) -> bool:
    """Whether the kernel has no gradient, is a real tensor, and a change would be seen."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return False
    if torch._C._are_functorch_transforms_active():
        return False
    graph = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in parameters)
    plain = all(type(t) in (Tensor, torch.nn.Parameter) and not t.is_meta for t in parameters)
    return plain and not graph and not any(tensor.is_inference() for tensor in parameters)
