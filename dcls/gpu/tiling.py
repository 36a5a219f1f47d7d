"""How a convolution is cut into matrix products, for a map and a kernel of given sizes.

A row of a kernel slides along a row of a map. Written as a matrix (a Toeplitz matrix: constant
along its diagonals), it takes the input cells that can be seen to `columns` output cells. Stacking
such matrices, one below the other, gives `rows` output rows at once. So

    tile (rows x columns) = sum over the input rows it can see of cells (span) @ matrix (span, tile)

which the matrix units do for as many tiles of one channel at a time as there are. The price is
products with the zeros of the matrix; the choice below keeps it low.

Input cells are read in chunks as wide as a tile. Of a wide map, neighbouring tiles see the same
chunks, so they are computed together, in groups; a narrow map is one tile and one chunk wide.
"""

from functools import lru_cache
from typing import NamedTuple

LARGEST_KERNEL = 31
"""Rows and columns of a kernel."""

MOST_CELLS = 256
"""Output cells of a group of tiles: more and the sums of a program no longer fit its registers."""

FEWEST = 16
"""Output cells of a tile that matrix units take."""

LEAST_ROWS = 4
"""Of a tile of a high map: fewer and loading the cells takes longer than the products."""

NARROW_COLUMNS = (8, 16, 32)
"""Columns of the tile of a map no wider than that."""

WIDE_COLUMNS = 16
"""Columns of a tile of a wide map: the fewest terms of a product that matrix units take."""

ALIGNMENT = 8
"""Cells: with 16 bits each, 16 bytes, which a GPU loads at a time."""


class Tiling(NamedTuple):
    """A cut of maps into tiles.

    Args:
        rows: output rows of a tile, a power of two.
        columns: output columns of a tile, and input columns of a chunk: a power of two.
        seen: chunks that a tile sees.
        margin: columns of its first chunk that lie left of it.
        group: tiles side by side that belong together: 1, 2 or 4.
        chunks: that a group sees, without those that lie beside every map.
        first: the first input row that a tile reads, counted from the highest it can see.
        last: one more than the last one.
        down: tiles per column of tiles.
        across: groups per row of tiles.
    """

    rows: int
    columns: int
    seen: int
    margin: int
    group: int
    chunks: int
    first: int
    last: int
    down: int
    across: int

    @property
    def cells(self) -> int:
        """Output cells of a tile."""
        return self.rows * self.columns

    @property
    def products(self) -> int:
        """Multiply-adds per map and channel, those with zeros included."""
        seen = sum(min(self.seen, self.chunks - tile) for tile in range(self.group))
        terms = (self.last - self.first) * seen * self.columns
        return self.down * self.across * self.cells * terms


def meeting_size(height: int, width: int, kernel_height: int, kernel_width: int) -> tuple[int, int]:
    """How many rows and columns of a kernel can meet a map at all."""
    return min(kernel_height, 2 * height - 1), min(kernel_width, 2 * width - 1)


def columns_of(width: int, kernel_width: int) -> tuple[int, int, int]:
    """Of a tile or chunk, the chunks that a tile sees, and their columns left of it."""
    for columns in NARROW_COLUMNS:
        if width <= columns:
            return columns, 1, 0
    reach = kernel_width // 2
    margin = -(-reach // ALIGNMENT) * ALIGNMENT
    return WIDE_COLUMNS, -(-(margin + WIDE_COLUMNS + reach) // WIDE_COLUMNS), margin


@lru_cache(maxsize=1024)
def tiling_of(height: int, width: int, kernel_height: int, kernel_width: int) -> Tiling:
    """The cut that suits.

    Args:
        height: of the map.
        width: of the map.
        kernel_height: odd, at most twice the map's less one.
        kernel_width: odd, likewise.
    """
    fitting = [
        with_rows(rows, height, width, kernel_height, kernel_width) for rows in (1, 2, 4, 8, 16, 32)
    ]
    fitting = [t for t in fitting if t.cells >= FEWEST and t.cells * t.group <= MOST_CELLS]
    large = [t for t in fitting if t.rows >= LEAST_ROWS]
    enough = [t for t in fitting if t.down == 1]  # a low map needs no more rows than it has
    return min((enough[:1] + large) or fitting, key=lambda t: t.products)


@lru_cache(maxsize=1024)
def gradient_tiling_of(height: int, width: int, kernel_height: int, kernel_width: int) -> Tiling:
    """The cut that suits the weight gradient; arguments as for `tiling_of`.

    Of few rows: there, pairs of rows too far from each other are computed in vain, and adding up
    their diagonals takes longer than loading a row once more.
    """
    sizes = (height, width, kernel_height, kernel_width)
    tiling = tiling_of(*sizes)
    narrow = tiling.columns == NARROW_COLUMNS[0]
    return tiling if narrow else with_rows(min(tiling.rows, LEAST_ROWS), *sizes)


def with_rows(rows: int, height: int, width: int, kernel_height: int, kernel_width: int) -> Tiling:
    """The cut into tiles of so many rows."""
    down = -(-height // rows)
    # One tile for all rows of the map reads the rows of the map, and none beside it.
    half = kernel_height // 2
    first, last = (half, half + height) if down == 1 else (0, rows + kernel_height - 1)
    columns, seen, margin = columns_of(width, kernel_width)
    if width <= columns:
        return Tiling(rows, columns, seen, margin, 1, 1, first, last, down, 1)
    tiles = -(-width // columns)
    group = min((4, 2), key=lambda size: -(-tiles // size) * size)
    across = -(-tiles // group)
    chunks = group + seen - 1
    if across == 1:
        chunks = min(chunks, -(-(margin + width) // columns))
    return Tiling(rows, columns, seen, margin, group, chunks, first, last, down, across)
