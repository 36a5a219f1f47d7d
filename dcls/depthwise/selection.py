"""Which implementations may compute depthwise convolutions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from dcls.errors import LayerArgumentError

Backend = Literal["auto", "torch", "triton"]
"""`auto`: the quickest that was measured; `torch`: PyTorch's own operators alone; `triton`: the
Triton kernels wherever they apply, or an error that says why they cannot run here."""
DEFAULT: Backend = "auto"

_chosen: list[Backend] = [DEFAULT]


def get_backend() -> Backend:
    """The backend of this process."""
    return _chosen[0]


def set_backend(backend: Backend) -> None:
    """Set the backend of this process; it counts from the next convolution on.

    Raises:
        LayerArgumentError: there is no such backend.
    """
    if backend not in get_args(Backend):
        raise LayerArgumentError(
            f"dcls.depthwise.backend is {backend!r}, expected one of {', '.join(get_args(Backend))}"
        )
    _chosen[0] = backend


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Set the backend, and the one before again on leaving.

    Raises:
        LayerArgumentError: there is no such backend.
    """
    before = get_backend()
    set_backend(backend)
    try:
        yield
    finally:
        set_backend(before)
