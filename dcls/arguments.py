"""Checks of the arguments that all layers share."""

import warnings
from collections.abc import Sequence

from dcls.errors import LayerArgumentError

Size = int | Sequence[int]
"""One number for all axes, or one per axis."""
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")

_warned_of_implicit_gemm = False


def per_axis(name: str, value: Size, ndim: int, minimum: int) -> tuple[int, ...]:
    """`value` as one number per axis, checked."""
    numbers = tuple(value) if isinstance(value, Sequence) else (value,) * ndim
    if len(numbers) != ndim:
        raise LayerArgumentError(
            f"{name}={value} has {len(numbers)} numbers; give one number, or {ndim}, one per axis"
        )
    if any(not isinstance(number, int) or number < minimum for number in numbers):
        raise LayerArgumentError(f"{name}={value}; every number must be an integer >= {minimum}")
    return numbers


def check_channels(in_channels: int, out_channels: int, groups: int) -> None:
    """Raise unless the channels are positive and divisible by `groups`."""
    for name, value in (
        ("in_channels", in_channels),
        ("out_channels", out_channels),
        ("groups", groups),
    ):
        if value < 1:
            raise LayerArgumentError(f"{name}={value}; set it to 1 or more")
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
        if value % groups:
            raise LayerArgumentError(
                f"{name}={value} is not divisible by groups={groups}; change one of them"
            )


def warn_of_implicit_gemm() -> None:
    """Say once per process that `use_implicit_gemm` has no effect."""
    global _warned_of_implicit_gemm
    if _warned_of_implicit_gemm:
        return
    _warned_of_implicit_gemm = True
    warnings.warn(
        "use_implicit_gemm is ignored: the fastest way to convolve is chosen by device and "
        "shape; leave the argument out",
        UserWarning,
        stacklevel=3,
    )


def check_padding_mode(padding_mode: str) -> None:
    """Raise unless `padding_mode` is one of `PADDING_MODES`."""
    if padding_mode not in PADDING_MODES:
        raise LayerArgumentError(
            f"padding_mode={padding_mode!r} is not known; use one of {', '.join(PADDING_MODES)}"
        )
