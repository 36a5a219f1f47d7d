"""What is launched for tensors of given shapes: arguments, sizes of blocks, number of programs."""

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

from dcls.gpu.kernels import convolution_kernel, toeplitz_kernel, weight_gradient_kernel
from dcls.gpu.tiling import Tiling

INTERPRETED = isinstance(convolution_kernel, InterpretedFunction)
"""Whether the kernels run in Triton's interpreter, on the CPU: `TRITON_INTERPRET=1` did it."""

LEAST_BLOCK = 16
"""The fewest rows, columns and terms of a product that matrix units take."""

MOST_BLOCK = 128
"""Tiles of a program of the convolution."""

GRADIENT_BLOCK = 32
"""Tiles at a time of a program of the weight gradient."""

MOST_SUMS = 128 * 128
"""Sums of a program: 64 registers of each thread of 8 warps."""

ENOUGH_PROGRAMS = 512
"""Of the weight gradient: more than a GPU runs at a time. A constant, for the split decides the
order of the sums, and a result must not depend on the card."""


@dataclass(frozen=True)
class Launch:
    """A kernel with all it needs.

    Args:
        kernel: a function of `dcls.gpu.kernels`.
        programs: how many run.
        arguments: tensors and numbers that change from call to call.
        constants: what the compiled code depends on.
        options: warps and stages.
    """

    kernel: Any
    programs: int
    arguments: dict[str, Any]
    constants: dict[str, Any]
    options: dict[str, int]

    def run(self) -> None:
        """Queue it on the current stream of the current device."""
        self.kernel[(self.programs,)](**self.arguments, **self.constants, **self.options)


def toeplitz_launch(weight: Tensor, matrices: Tensor, tiling: Tiling) -> Launch:
    """Writes the rows of kernels as matrices.

    Args:
        weight: (C, 1, KH, KW), contiguous.
        matrices: (C, KH + 2 rows - 2, span, columns), written.
        tiling: of the maps.
    """
    return Launch(
        toeplitz_kernel,
        matrices.shape[0] * matrices.shape[1],
        {"weight": weight, "matrices": matrices},
        _sizes(toeplitz_kernel, tiling, (weight.shape[2], weight.shape[3])),
        {"num_warps": 1},
    )


def convolution_launch(
    x: Tensor,
    matrices: Tensor,
    bias: Tensor | None,
    y: Tensor,
    tiling: Tiling,
    size: tuple[int, int],
) -> Launch:
    """Writes the output of the convolution.

    Args:
        x: (N, C, H, W), contiguous.
        matrices: of `toeplitz_launch`.
        bias: (C,) or None.
        y: as x, written.
        tiling: of the maps.
        size: of the kernel.
    """
    samples, channels = x.shape[:2]
    block, blocks = _blocks(samples * tiling.down, tiling, MOST_BLOCK)
    sizes = {"samples": samples, "channels": channels, "blocks": blocks}
    return Launch(
        convolution_kernel,
        channels * blocks * tiling.across,
        {"x": x, "matrices": matrices, "bias": bias, "y": y, **sizes},
        _sizes(convolution_kernel, tiling, size, x)
        | _arithmetic(x, block)
        | {"BIASED": bias is not None},
        _options(block * tiling.cells),
    )


def weight_gradient_launch(
    x: Tensor, gradient: Tensor, tiling: Tiling, size: tuple[int, int]
) -> Launch:
    """Writes sums over parts of the tiles into a new tensor, its argument `partial`.

    Args:
        x: (N, C, H, W), contiguous.
        gradient: as x.
        tiling: of the maps.
        size: of the kernel.
    """
    samples, channels = x.shape[:2]
    seen = tiling.last - tiling.first
    together = max(1, MOST_SUMS // (tiling.cells * tiling.span))
    together = min(together, triton.next_power_of_2(seen))
    block, blocks = _blocks(samples * tiling.down * tiling.across, tiling, GRADIENT_BLOCK)
    chunks = triton.cdiv(seen, together)
    parts = min(blocks, triton.cdiv(ENOUGH_PROGRAMS, channels * chunks))
    shape = (parts, channels, tiling.rows, tiling.rows + size[0] - 1, size[1])
    # Rows that no tile reads are not written: they stay zero.
    partial = torch.zeros(shape, dtype=torch.float32, device=x.device)
    sizes = {"samples": samples, "channels": channels, "blocks": blocks, "parts": parts}
    return Launch(
        weight_gradient_kernel,
        channels * chunks * parts,
        {"x": x, "gradient": gradient, "partial": partial, **sizes},
        _sizes(weight_gradient_kernel, tiling, size, x)
        | _arithmetic(x, block)
        | {"TOGETHER": together},
        _options(tiling.cells * together * tiling.span),
    )


def _blocks(tiles: int, tiling: Tiling, most: int) -> tuple[int, int]:
    """Tiles of a program, and how many programs these make."""
    fitting = min(most, MOST_SUMS // tiling.cells, triton.next_power_of_2(tiles))
    block = max(LEAST_BLOCK, fitting)
    return block, triton.cdiv(tiles, block)


def _sizes(
    kernel: Any, tiling: Tiling, size: tuple[int, int], x: Tensor | None = None
) -> dict[str, int]:
    """Those that the kernel has parameters for."""
    known = {
        "KERNEL_HEIGHT": size[0],
        "KERNEL_WIDTH": size[1],
        "FIRST": tiling.first,
        "LAST": tiling.last,
        "ROWS": tiling.rows,
        "COLUMNS": tiling.columns,
        "SPAN": tiling.span,
        "MARGIN": tiling.margin,
        "DOWN": tiling.down,
        "ACROSS": tiling.across,
    }
    if x is not None:
        known |= {"height": x.shape[2], "width": x.shape[3]}
    return {name: value for name, value in known.items() if name in kernel.arg_names}


def _arithmetic(x: Tensor, block: int) -> dict[str, Any]:
    return {
        "BLOCK": block,
        # In three products of numbers of 11 bits: as exact as float32 but for the last bit or two.
        "PRECISION": "tf32x3" if x.dtype == torch.float32 else "tf32",
        "WIDENED": INTERPRETED and x.dtype == torch.bfloat16,
    }


def _options(sums: int) -> dict[str, int]:
    return {"num_warps": 4 if 2 * sums <= MOST_SUMS else 8, "num_stages": 3}
