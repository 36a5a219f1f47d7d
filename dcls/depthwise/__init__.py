"""Depthwise "same" convolution, the one expensive operation of a large-kernel network.

`dcls.depthwise.backend` is the backend of this process, to be read and set at any time; the same as
`get_backend` and `set_backend`. `use_backend` sets it for a block.
"""

import sys
from types import ModuleType

from dcls.depthwise.convolution import depthwise_conv2d
from dcls.depthwise.module import DepthwiseConv2d
from dcls.depthwise.selection import DEFAULT, Backend, get_backend, set_backend, use_backend

__all__ = [
    "Backend",
    "DepthwiseConv2d",
    "depthwise_conv2d",
    "get_backend",
    "set_backend",
    "use_backend",
]


backend: Backend


class _WithBackend(ModuleType):
    """A module whose attribute `backend` is what `get_backend` says."""

    @property
    def backend(self) -> Backend:
        return get_backend()

    @backend.setter
    def backend(self, backend: Backend) -> None:
        set_backend(backend)

    @backend.deleter
    def backend(self) -> None:
        set_backend(DEFAULT)


sys.modules[__name__].__class__ = _WithBackend
