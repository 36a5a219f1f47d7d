"""How a point at a real position spreads over the cells of one kernel axis.

A point's weights on an N-dimensional grid are the outer product of N one-dimensional weights, so
everything that distinguishes the versions of the layer is one-dimensional and lives here:

| version | weight of cell i for a point at p           | normalised | source                      |
|---------|---------------------------------------------|------------|-----------------------------|
| `v0`    | linear between floor(p) and floor(p) + 1    | no         | arXiv 2112.03740, bilinear  |
| `v1`    | relu(1 - abs(i - p))                        | yes        | arXiv 2112.03740, bilinear  |
| `max`   | relu(1 + abs(width) - abs(i - p))           | yes        | arXiv 2306.00817, triangle  |
| `gauss` | exp(-((i - p) / (0.27 + abs(width)))^2 / 2) | yes        | arXiv 2306.00817, Gaussian  |

A position is an offset in cells from the centre cell `size // 2`. The same point may be seen by
`v0` and `v1` alike away from the border; they differ in the gradient at integers (`v0`: from the
right, `v1`: zero) and where a point reaches over the border (`v0` drops that part, `v1` gives the
rest its full weight back).
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from dcls.errors import LayerArgumentError

Version = Literal["v0", "v1", "max", "gauss"]
VERSIONS: tuple[str, ...] = get_args(Version)
WIDTH_VERSIONS = frozenset({"max", "gauss"})
"""Versions whose points have a learned width (the parameter `SIG`)."""
NORMALISED_VERSIONS = frozenset({"v1", "max", "gauss"})
"""Versions whose weights are divided by their sum over the grid."""
INITIAL_WIDTH = {"max": 0.0, "gauss": 0.23}
"""Start value of `SIG`: with it a triangle is bilinear and a Gaussian has sigma 0.5."""
MIN_TRIANGLE = 1.0
MIN_SIGMA = 0.27
GAUSS_CUT = -40.0
"""Gaussian weights of exp(-40) and less are zero: far below float32 digits beside 1e-7."""

# The order in which the rows of P address the kernel axes is part of the released weights.
_ROW_AXES_V0 = {1: (0,), 2: (0, 1), 3: (0, 2, 1)}
_ROW_AXES_OTHERS = {1: (0,), 2: (1, 0), 3: (2, 1, 0)}


def check_version(version: str) -> None:
    """Raise `LayerArgumentError` unless `version` is one of `VERSIONS`."""
    if version not in VERSIONS:
        raise LayerArgumentError(
            f"version={version!r} is not known; set version to one of {', '.join(VERSIONS)}"
        )


def row_axes(version: str, ndim: int) -> tuple[int, ...]:
    """Kernel axis on which each row of `P` (and `SIG`) acts, for an `ndim`-dimensional kernel."""
    check_version(version)
    table = _ROW_AXES_V0 if version == "v0" else _ROW_AXES_OTHERS
    if ndim not in table:
        raise LayerArgumentError(f"{ndim} learned axes are not supported; use 1, 2 or 3")
    return table[ndim]


def position_limits(version: str, size: tuple[int, ...]) -> tuple[int, ...]:
    """Largest absolute position of each row of `P`: half the size of the axis it acts on."""
    return tuple(size[axis] // 2 for axis in row_axes(version, len(size)))


def axis_weights(positions: Tensor, widths: Tensor | None, size: int, version: str) -> Tensor:
    """Weights of `size` cells for points at `positions` along one axis.

    Args:
        positions: offsets in cells from the centre cell, any shape (...).
        widths: raw learned widths of the same shape; needed by `max` and `gauss` only.
        size: number of cells K.
        version: one of `VERSIONS`.

    Returns:
        Tensor (..., K), not normalised; cells outside the grid are simply absent.
    """
    if version == "v0":
        left, rest = bilinear_taps(positions, size)
        left, rest = left.unsqueeze(-1), rest.unsqueeze(-1)
        cells = torch.arange(size, device=positions.device)
        zero = torch.zeros_like(rest)
        at_left = torch.where(cells == left, 1 - rest, zero)
        return at_left + torch.where(cells == left + 1, rest, zero)
    points = _grid_points(positions, size).unsqueeze(-1)
    distance = torch.arange(size, device=points.device, dtype=points.dtype) - points
    if version == "v1":
        return (1 - distance.abs()).relu()
    assert widths is not None
    spread = widths.unsqueeze(-1).abs()
    if version == "max":
        return (MIN_TRIANGLE + spread - distance.abs()).relu()
    exponent = distance.square() * (-0.5 / (MIN_SIGMA + spread).square())
    # exp() and all that follows is several times slower on subnormal numbers than on zeros.
    return F.threshold(exponent, GAUSS_CUT, -float("inf")).exp()


def bilinear_taps(positions: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The two cells between which a `v0` point lies, and how it is divided between them.

    Returns:
        left: int64 (...), the lower cell, limited to -2 and `size`: from there on neither `left`
            nor `left + 1` is a cell of the grid, so how far outside a point lies is immaterial.
        rest: (...), the share of `left + 1`; the share of `left` is `1 - rest`.
    """
    points = _grid_points(positions, size)
    # floor() of the detached points: constant, so the gradient at an integer is the right one.
    floor = points.detach().floor()
    # A position that became NaN has to end in a NaN loss, not in an index error.
    left = floor.nan_to_num(nan=0.0).clamp(-2, size).long()
    return left, points - floor


def _grid_points(positions: Tensor, size: int) -> Tensor:
    """Positions counted from cell 0.

    The centre is added before any floor or difference, in the order of the original: otherwise
    rounding sends one point in millions to the neighbouring cell.
    """
    return positions + size // 2
