"""How a convolution is cut into matrix products, for a map and a kernel of given sizes.

A row of a kernel slides along a row of a map. Written as a matrix (a Toeplitz matrix: constant
along its diagonals), it takes `span` neighbouring input cells to `columns` output cells. Stacking
such matrices, one below the other, gives `rows` output rows at once. So

    tile (rows x columns) = sum over the input rows it can see of cells (span) @ matrix (span, tile)

which the matrix units do for as many tiles of one channel at a time as there are. The price is
products with the zeros of the matrix; the choice below keeps it least.
"""

from dataclasses import dataclass

LARGEST_KERNEL = 31
"""Rows and columns of a kernel."""

LARGEST_TILE = 256
"""Output cells of a tile: more and the sums of a program no longer fit its registers."""

SMALLEST_TILE = 64
"""Output cells of a tile of a large map: fewer and loading the cells takes longer than the
products."""

ALIGNMENT = 8
"""Cells: with 16 bits each, 16 bytes, which a GPU loads at a time."""

NARROW_COLUMNS = 16
"""Output columns of a tile of a wide map, the fewest that matrix units take."""


@dataclass(frozen=True)
class Tiling:
    """A cut of maps into tiles.

    Args:
        rows: output rows of a tile, a power of two.
        columns: output columns of a tile, a power of two.
        span: input columns that a tile can see, a power of two.
        margin: how many of them lie left of the tile.
        first: the first input row that a tile reads, counted from the highest it can see.
        last: one more than the last one.
        down: tiles per column of tiles.
        across: tiles per row of tiles.
    """

    rows: int
    columns: int
    span: int
    margin: int
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
        return self.down * self.across * self.cells * (self.last - self.first) * self.span


def tiling_of(height: int, width: int, kernel_height: int, kernel_width: int) -> Tiling:
    """The cut with the fewest products.

    Args:
        height: of the map.
        width: of the map.
        kernel_height: odd, at most twice the map's less one.
        kernel_width: odd, likewise.
    """
    columns, span, margin = _columns(width, kernel_width)
    fitting = [
        _of_rows(rows, columns, span, margin, height, width, kernel_height)
        for rows in (1, 2, 4, 8, 16)
        if rows * columns <= LARGEST_TILE
    ]
    large = [t for t in fitting if t.cells >= SMALLEST_TILE]
    enough = [t for t in fitting if t.down == 1]  # a low map needs no more rows than it has
    return min((enough[:1] + large) or fitting, key=lambda t: t.products)


def _columns(width: int, kernel_width: int) -> tuple[int, int, int]:
    """Output columns, input columns, and those left of the tile."""
    for whole in (16, 32):
        if width <= whole:
            return whole, whole, 0
    reach = kernel_width // 2
    margin = -(-reach // ALIGNMENT) * ALIGNMENT
    return NARROW_COLUMNS, _power_of_two(margin + NARROW_COLUMNS + reach), margin


def _of_rows(
    rows: int, columns: int, span: int, margin: int, height: int, width: int, kernel_height: int
) -> Tiling:
    down = -(-height // rows)
    # One tile for all rows of the map reads the rows of the map, and none beside it.
    first, last = (
        (kernel_height // 2, kernel_height // 2 + height)
        if down == 1
        else (0, rows + kernel_height - 1)
    )
    return Tiling(rows, columns, span, margin, first, last, down, -(-width // columns))


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
