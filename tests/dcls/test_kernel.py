"""Properties of the kernel construction, for every version."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, library

from dcls import product
from dcls.errors import LayerArgumentError
from dcls.interpolation import (
    VERSIONS,
    WIDTH_VERSIONS,
    axis_weights,
    position_limits,
    row_axes,
)
from dcls.kernel import NORMALISATION_EPS, construct_kernel

quick = settings(deadline=None, max_examples=25)
BILINEAR = ("v0", "v1")
# A triangle of width 0 and the two bilinear versions put a point at an integer in one cell.
EXACT_AT_INTEGERS = ("v0", "v1", "max")


def rows(version: str, offsets: Tensor) -> Tensor:
    """Positions in the order of the kernel's axes, arranged as the rows of P."""
    return torch.stack([offsets[axis] for axis in row_axes(version, len(offsets))])


def widths_for(version: str, positions: Tensor, value: float = 0.0) -> Tensor | None:
    return torch.full_like(positions, value) if version in WIDTH_VERSIONS else None


def one_point(version: str, *offsets: float, size: tuple[int, ...]) -> Tensor:
    """Kernel of a single point of weight 1, in float64."""
    positions = rows(version, torch.tensor(offsets, dtype=torch.float64).unsqueeze(-1))
    weight = torch.ones(1, dtype=torch.float64)
    return construct_kernel(weight, positions, widths_for(version, positions), size, version)


def random_points(version: str, ndim: int, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    """Weights (3, 2, 4), positions over and beyond a kernel of 5 cells, and widths."""
    weight = torch.randn(3, 2, 4, **kwargs)
    positions = 2 * torch.randn(ndim, 3, 2, 4, **kwargs)
    widths = torch.randn(ndim, 3, 2, 4, **kwargs) if version in WIDTH_VERSIONS else None
    return weight, positions, widths


@pytest.mark.parametrize("version", EXACT_AT_INTEGERS)
@given(data=st.data())
@quick
def test_integer_positions_give_the_dense_kernel(version: str, data: st.DataObject) -> None:
    size = tuple(data.draw(st.lists(st.sampled_from([3, 4, 5, 7]), min_size=1, max_size=3)))
    cells = st.tuples(*[st.integers(0, n - 1) for n in size])
    taps = data.draw(st.dictionaries(cells, st.integers(-8, 8).map(float), min_size=1, max_size=6))
    dense = torch.zeros(size)
    for cell, value in taps.items():
        dense[cell] = value
    offsets = torch.tensor(
        [[float(i - n // 2) for i, n in zip(c, size, strict=True)] for c in taps]
    )
    positions = rows(version, offsets.T)
    kernel = construct_kernel(
        torch.tensor(list(taps.values())), positions, widths_for(version, positions), size, version
    )
    # The others are divided by 1 + epsilon.
    torch.testing.assert_close(kernel, dense, rtol=0.0 if version == "v0" else 1e-6, atol=0.0)


@pytest.mark.parametrize("version", BILINEAR)
@given(
    start=st.tuples(st.integers(-3, 2), st.integers(-3, 2)),
    axis=st.integers(0, 1),
    share=st.floats(0, 1),
)
@quick
def test_moving_a_point_moves_its_mass_linearly(
    version: str, start: tuple[int, int], axis: int, share: float
) -> None:
    step = (1, 0) if axis == 0 else (0, 1)
    here, there = (
        one_point(version, *(s + t * d for s, d in zip(start, step, strict=True)), size=(7, 7))
        for t in (0.0, 1.0)
    )
    moved = one_point(
        version, *(s + share * d for s, d in zip(start, step, strict=True)), size=(7, 7)
    )
    torch.testing.assert_close(moved, (1 - share) * here + share * there, rtol=0, atol=1e-6)


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("size", [6, 7])
@given(beyond=st.floats(0, 3))
@quick
def test_mass_beyond_the_border(size: int, side: int, beyond: float) -> None:
    border = size - 1 - size // 2 if side > 0 else -(size // 2)
    kept = max(0.0, 1 - beyond)
    masses = {v: one_point(v, border + side * beyond, size=(size,)).sum().item() for v in BILINEAR}
    # v0 drops what is outside; v1 gives what is left its full weight, to a limit set by epsilon.
    assert masses["v0"] == pytest.approx(kept, abs=1e-12)
    assert masses["v1"] == pytest.approx(kept / (kept + NORMALISATION_EPS), abs=1e-6)


def test_gauss_keeps_an_outside_point_near_the_border() -> None:
    kernel = one_point("gauss", 3.0, size=(6,))  # cell 6, one beyond the last
    assert kernel.argmax() == 5
    assert kernel.sum().item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_kernel_is_the_sum_of_outer_products(version: str, ndim: int) -> None:
    """The definition, written cell by cell, against the scattered and the matrix form."""
    torch.manual_seed(ndim)
    size = (5, 4, 6)[:ndim]
    weight, positions, widths = random_points(version, ndim, dtype=torch.float64)
    tables = []
    for axis, cells in enumerate(size):
        row = row_axes(version, ndim).index(axis)
        width = None if widths is None else widths[row]
        tables.append(axis_weights(positions[row], width, cells, version))
    grids = [
        table.reshape(*table.shape[:-1], *(cells if axis == a else 1 for a in range(ndim)))
        for axis, (table, cells) in enumerate(zip(tables, size, strict=True))
    ]
    spread = torch.ones((), dtype=torch.float64)
    for grid in grids:
        spread = spread * grid
    if version != "v0":
        last = tuple(range(-ndim, 0))
        spread = spread / (spread.sum(last, keepdim=True) + NORMALISATION_EPS)
    expected = (weight.reshape(*weight.shape, *[1] * ndim) * spread).sum(2)
    kernel = construct_kernel(weight, positions, widths, size, version)
    torch.testing.assert_close(kernel, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_gradients_in_double_precision(version: str, ndim: int) -> None:
    torch.manual_seed(ndim)
    size = (5, 4, 3)[:ndim]
    weight = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    # Away from integers, where bilinear weights have a kink, and up to a cell beyond the border.
    whole = torch.randint(-3, 3, (ndim, 2, 3))
    positions = (whole + 0.2 + 0.6 * torch.rand(ndim, 2, 3, dtype=torch.float64)).requires_grad_()
    widths = None
    if version in WIDTH_VERSIONS:
        widths = (0.3 + torch.rand(ndim, 2, 3, dtype=torch.float64)).requires_grad_()

    def build(*arguments: Tensor) -> Tensor:
        return construct_kernel(
            arguments[0], arguments[1], arguments[2] if widths is not None else None, size, version
        )

    inputs = (weight, positions) if widths is None else (weight, positions, widths)
    assert torch.autograd.gradcheck(build, inputs)


@pytest.mark.parametrize(("version", "slope"), [("v0", [0.0, -1.0, 1.0]), ("v1", [0.0, 0.0, 0.0])])
def test_gradient_at_an_integer(version: str, slope: list[float]) -> None:
    """v0 has the slope to the right, v1 none: as released."""
    for cell in range(3):
        positions = torch.zeros(1, 1, requires_grad=True)
        kernel = construct_kernel(torch.ones(1), positions, None, (3,), version)
        (gradient,) = torch.autograd.grad(kernel[cell], positions)
        assert gradient.item() == slope[cell]


@pytest.mark.parametrize("version", ["v1", "max", "gauss"])
def test_non_square_kernel_is_centred_on_each_axis(version: str) -> None:
    """Rows are (x, y) here; x is counted from the middle of W, y from the middle of H."""
    widths = torch.zeros(2, 1) if version in WIDTH_VERSIONS else None
    positions = torch.tensor([[-3.0], [1.0]])
    kernel = construct_kernel(torch.ones(1), positions, widths, (5, 9), version)
    assert divmod(int(kernel.argmax()), 9) == (2 + 1, 4 - 3)
    assert position_limits(version, (5, 9)) == (4, 2)
    assert position_limits("v0", (5, 9)) == (2, 4)


def test_rows_of_three_axes() -> None:
    assert row_axes("v0", 3) == (0, 2, 1)
    assert row_axes("gauss", 3) == (2, 1, 0)
    assert position_limits("v0", (3, 5, 7)) == (1, 3, 2)
    assert position_limits("gauss", (3, 5, 7)) == (3, 2, 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_kernel_is_float32_for_half_parameters_and_inside_autocast(version: str) -> None:
    torch.manual_seed(0)
    weight, positions, widths = random_points(version, 2)
    outside = construct_kernel(weight, positions, widths, (5, 5), version)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = construct_kernel(weight, positions, widths, (5, 5), version)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)
    half = [None if t is None else t.bfloat16() for t in (weight, positions, widths)]
    kernel = construct_kernel(half[0], half[1], half[2], (5, 5), version)  # type: ignore[arg-type]
    assert kernel.dtype == torch.float32


@pytest.mark.parametrize("version", ["v0", "v1", "gauss"])
@pytest.mark.parametrize("ndim", [1, 2])
def test_compiled_under_autocast_the_gradients_are_float32_too(version: str, ndim: int) -> None:
    """A compiled backward pass runs under the autocast of the forward pass, an eager one not."""
    torch.manual_seed(0)
    torch.compiler.reset()
    size = (7,) * ndim

    def kernel(*points: Tensor) -> Tensor:
        return construct_kernel(points[0], points[1], points[2], size, version)

    points = [torch.randn(4, 1, 5), torch.randn(ndim, 4, 1, 5), torch.rand(ndim, 4, 1, 5)]
    needed = [tensor.requires_grad_() for tensor in points[: 3 if version == "gauss" else 2]]
    compiled = torch.compile(kernel, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        eager, got = kernel(*points), compiled(*points)
    torch.testing.assert_close(got, eager)
    weights = torch.randn_like(eager)
    for a, b in zip(
        torch.autograd.grad(got, needed, weights),
        torch.autograd.grad(eager, needed, weights),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    torch.compiler.reset()


def test_the_compiled_product_is_a_sound_operator() -> None:
    left, right = torch.randn(3, 1, 4, 5), torch.randn(3, 1, 5, 6)
    library.opcheck(product._opaque_matmul, (left, right))


def test_lost_positions_show_as_nan_and_far_ones_as_nothing() -> None:
    weight = torch.ones(1)
    lost = construct_kernel(weight, torch.full((2, 1), math.nan), None, (5, 5), "v0")
    assert lost.isnan().any()
    far = construct_kernel(weight, torch.full((2, 1), -1e12), None, (5, 5), "v0")
    assert not far.any()


def test_unknown_version_and_too_many_axes() -> None:
    with pytest.raises(LayerArgumentError, match="set version to one of v0, v1, max, gauss"):
        row_axes("v2", 2)
    with pytest.raises(LayerArgumentError, match="4 learned axes"):
        row_axes("v0", 4)
