"""How much a program computes: what was quickest on an H200 (`benchmarks/README.md`)."""

from dataclasses import dataclass

import torch

from dcls.gpu.tiling import Tiling

LEAST = 16
"""The fewest rows, columns and terms of a product that matrix units take."""

MOST_TILES = 128
"""Groups of tiles of a program of the convolution."""

MOST_SUMS = 2**14
"""Sums of a program: 128 registers of each thread of 4 warps."""


@dataclass(frozen=True)
class Block:
    """The work of a program.

    Args:
        tiles: groups of tiles of the maps, a power of two; of the weight gradient: at a time.
        together: input rows at a time, a power of two.
        warps: of 32 threads.
        stages: loads are issued so many products ahead, less one.
    """

    tiles: int
    together: int
    warps: int
    stages: int = 3


def convolution_block(samples: int, tiling: Tiling, dtype: torch.dtype) -> Block:
    """The work of a program of the convolution."""
    alone, tiny = tiling.group == 1, tiling.columns == 8
    most = min(MOST_TILES, (2 if alone else 1) * MOST_SUMS // (tiling.cells * tiling.group))
    tiles = _tiles(samples * tiling.down, most)
    if dtype == torch.float32:  # twice the room, and the products take more registers
        return Block(min(tiles, 64), max(1, LEAST // tiling.columns), 8, 2)
    return Block(tiles, *((8, 4, 2) if tiny else (2, 8, 3) if alone else (2, 4, 3)))


def weight_gradient_block(samples: int, tiling: Tiling, dtype: torch.dtype) -> Block:
    """The work of a program of the weight gradient."""
    alone, tiny, wide = tiling.group == 1, tiling.columns == 8, dtype == torch.float32
    sums = MOST_SUMS // (2 if wide else 1)
    most = 1 << (max(1, sums // (tiling.cells * tiling.seen * tiling.columns)).bit_length() - 1)
    together = max(LEAST // tiling.columns, min(8 if tiny or not alone else 4, most))
    most = 16 if not alone else 32 if tiny or wide else 64
    tiles = _tiles(samples * tiling.down * tiling.across, most)
    return Block(tiles, together, 4, 2 if tiny or wide else 3)


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def _tiles(tiles: int, most: int) -> int:
    """Of a program, if there are so many in all."""
    return max(LEAST, min(most, _power_of_two(tiles)))
