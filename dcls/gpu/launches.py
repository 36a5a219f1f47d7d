"""What is launched for tensors of given shapes: sizes of blocks, number of programs, constants."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

from dcls.gpu.blocks import Block
from dcls.gpu.gradient_kernels import weight_gradient_kernel
from dcls.gpu.kernels import convolution_kernel, toeplitz_kernel
from dcls.gpu.layout import Layout
from dcls.gpu.tiling import Tiling, gradient_tiling_of, meeting_size, tiling_of

INTERPRETED = isinstance(convolution_kernel, InterpretedFunction)
"""Whether the kernels run in Triton's interpreter, on the CPU: `TRITON_INTERPRET=1` did it."""

ENOUGH_PROGRAMS = 512
"""Of the weight gradient: more than a GPU runs at a time. A constant, for the split decides the
order of the sums, and a result must not depend on the card."""

ELEMENTS = 1024
"""Elements of a program that writes matrices."""

LONGEST_VECTOR = 16
"""Cells that a thread may load at once: more than enough for 16 bytes."""


@dataclass(frozen=True, eq=False)
class Launch:
    """A kernel with all it needs but the tensors.

    Args:
        kernel: one of Triton's.
        grid: how many programs run, along three axes.
        numbers: that change from shape to shape.
        constants: what the compiled code depends on, by the names of the kernel's parameters.
        options: warps and stages.
    """

    kernel: Any
    grid: tuple[int, int, int]
    numbers: tuple[int, ...]
    constants: dict[str, Any]
    options: dict[str, int]
    _launchers: dict[tuple[Any, ...], Any] = field(default_factory=dict, init=False)

    def run(self, *tensors: Tensor | None) -> None:
        """Queue it on the current stream of the current device.

        Finding the compiled code takes Triton longer than many a kernel runs, so it is kept, by all
        that it may depend on.
        """
        place = torch.cuda.current_device() if not INTERPRETED else None
        key = (place, *[None if t is None else (t.dtype, t.data_ptr() % 16) for t in tensors])
        launcher = self._launchers.get(key)
        if launcher is not None:
            launcher(*tensors, *self.numbers, *self.constants.values())
            return
        compiled = self.kernel[self.grid](*tensors, *self.numbers, **self.constants, **self.options)
        if not INTERPRETED:
            self._launchers[key] = compiled[self.grid]


class Case(NamedTuple):
    """What a convolution is computed of.

    Args:
        samples: N of the planes (N, C, H, pitch).
        channels: C.
        height: H.
        layout: of the planes.
        kernel_height: odd.
        kernel_width: odd.
    """

    samples: int
    channels: int
    height: int
    layout: Layout
    kernel_height: int
    kernel_width: int

    @property
    def size(self) -> tuple[int, int]:
        """How many rows and columns of a kernel can meet a map at all."""
        return meeting_size(self.height, self.layout.width, self.kernel_height, self.kernel_width)

    @property
    def tiling(self) -> Tiling:
        """The cut of the maps that suits the convolution."""
        return tiling_of(self.height, self.layout.width, *self.size)

    @property
    def gradient_tiling(self) -> Tiling:
        """The cut of the maps that suits the weight gradient."""
        return gradient_tiling_of(self.height, self.layout.width, *self.size)


def toeplitz_launch(case: Case, turned: bool, tiling: Tiling) -> Launch:
    """Writes kernels (C, 1, KH, KW) as matrices of the shape `matrices_shape`, or turned ones.

    Tensors: kernels, contiguous; matrices.
    """
    elements = math.prod(matrices_shape(case, tiling))
    constants = {
        "FULL_HEIGHT": case.kernel_height,
        "FULL_WIDTH": case.kernel_width,
        "KERNEL_HEIGHT": case.size[0],
        "KERNEL_WIDTH": case.size[1],
        "ROWS": tiling.rows,
        "COLUMNS": tiling.columns,
        "SEEN": tiling.seen,
        "MARGIN": tiling.margin,
        "TURNED": turned,
        "BLOCK": ELEMENTS,
    }
    grid = (ceil_div(elements, ELEMENTS), 1, 1)
    return Launch(toeplitz_kernel, grid, (elements,), constants, {"num_warps": 4})


def matrices_shape(case: Case, tiling: Tiling) -> tuple[int, ...]:
    """Of the matrices of a case's kernels."""
    stored = case.size[0] + 2 * tiling.rows - 2
    return case.channels, stored, tiling.seen * tiling.columns, tiling.columns


def convolution_launch(
    case: Case, dtype: torch.dtype, biased: bool, tiling: Tiling, block: Block
) -> Launch:
    """Writes the output of the convolution.

    Tensors: planes (N, C, H, pitch) in `dtype`; matrices; bias (C,) or None; output as the planes.
    """
    blocks = ceil_div(case.samples * tiling.down, block.tiles)
    return Launch(
        convolution_kernel,
        (case.channels * blocks * tiling.across, 1, 1),
        _numbers(case, tiling, blocks),
        _constants(convolution_kernel, case, dtype, tiling, block, BIASED=biased),
        _options(block),
    )


def weight_gradient_launch(
    case: Case, dtype: torch.dtype, tiling: Tiling, block: Block
) -> tuple[Launch, tuple[int, ...]]:
    """Writes sums over parts of the tiles, and the shape of these.

    Tensors: planes (N, C, H, pitch) in `dtype`; planes of the output's gradient; sums, float32. Of
    a map that is one tile high, sums that belong to rows beside it are not written.
    """
    blocks = ceil_div(case.samples * tiling.down * tiling.across, block.tiles)
    passes = ceil_div(tiling.last - tiling.first, block.together)
    parts = min(blocks, ceil_div(ENOUGH_PROGRAMS, case.channels * passes))
    launch = Launch(
        weight_gradient_kernel,
        (case.channels * passes * parts, 1, 1),
        (*_numbers(case, tiling, blocks), parts),
        _constants(weight_gradient_kernel, case, dtype, tiling, block),
        _options(block),
    )
    height, width = case.size
    return launch, (parts, case.channels, tiling.rows, tiling.rows + height - 1, width)


def unit_of(pitch: int) -> int:
    """The largest power of two that a pitch is a multiple of, as far as it helps."""
    return min(pitch & -pitch, LONGEST_VECTOR)


def ceil_div(cells: int, by: int) -> int:
    """As `triton.cdiv`, which takes 10 microseconds."""
    return -(-cells // by)


def _numbers(case: Case, tiling: Tiling, blocks: int) -> tuple[int, ...]:
    """What changes from call to call without a new compilation."""
    width, pitch, _ = case.layout
    units = width // unit_of(width), pitch // unit_of(pitch)
    return (case.samples, case.channels, case.height, *units, tiling.down, tiling.across, blocks)


def _constants(
    kernel: Any, case: Case, dtype: torch.dtype, tiling: Tiling, block: Block, **others: Any
) -> dict[str, Any]:
    """Those that the kernel has parameters for, in their order."""
    height, width = case.size
    known = {
        "WIDTH_UNIT": unit_of(case.layout.width),
        "PITCH_UNIT": unit_of(case.layout.pitch),
        "ORIGIN": case.layout.origin,
        "KERNEL_HEIGHT": height,
        "KERNEL_WIDTH": width,
        "FIRST": tiling.first,
        "LAST": tiling.last,
        "ROWS": tiling.rows,
        "COLUMNS": tiling.columns,
        "SEEN": tiling.seen,
        "MARGIN": tiling.margin,
        "GROUP": tiling.group,
        "CHUNKS": tiling.chunks,
        "PADDED": case.layout.is_padded,
        "TOGETHER": block.together,
        "BLOCK": block.tiles,
        # In three products of numbers of 11 bits: as exact as float32 but for the last bit or two.
        "PRECISION": "tf32x3" if dtype == torch.float32 else "tf32",
        "WIDENED": INTERPRETED and dtype == torch.bfloat16,
        **others,
    }
    return {name: known[name] for name in kernel.arg_names if name in known}


def _options(block: Block) -> dict[str, int]:
    return {"num_warps": block.warps, "num_stages": block.stages}
