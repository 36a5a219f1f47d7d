"""The Triton kernel of the weight gradient; what `kernels.py` says holds here, too."""

import triton
import triton.language as tl

from dcls.gpu.kernels import _product


@triton.jit
def _cells(
    planes,
    row,
    start,
    offset,
    known,
    height,
    width,
    pitch,
    PLACE: tl.constexpr,
    PADDED: tl.constexpr,
):
    """Cells PLACE columns to the right of those at `start + offset`."""
    start += PLACE
    column = start + offset
    inside = known & (row >= 0) & (row < height)
    if PADDED:
        inside &= start < width
    else:
        inside &= (column >= 0) & (column < width)
    return tl.load(planes + row * pitch + column, mask=inside, other=0.0)


@triton.jit
def _diagonal(pairs, diagonal, lag):
    """Sums along a diagonal of (ROWS, COLUMNS, TOGETHER, COLUMNS), as (ROWS, TOGETHER)."""
    return tl.sum(tl.sum(tl.where(diagonal == lag, pairs, 0.0), 3), 1)


@triton.jit
def weight_gradient_kernel(  # noqa: PLR0915 - as the other kernel
    x,  # planes (N, C, height, pitch)
    gradient,  # as x, of the output
    partial,  # (parts, C, ROWS, ROWS + KERNEL_HEIGHT - 1, KERNEL_WIDTH), float32
    samples,
    channels,
    height,
    width_units,
    pitch_units,
    down,
    across,
    blocks,  # of BLOCK groups of tiles, per channel
    parts,  # that the blocks are split into
    WIDTH_UNIT: tl.constexpr,
    PITCH_UNIT: tl.constexpr,
    ORIGIN: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SEEN: tl.constexpr,
    MARGIN: tl.constexpr,
    GROUP: tl.constexpr,
    CHUNKS: tl.constexpr,
    PADDED: tl.constexpr,
    TOGETHER: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDENED: tl.constexpr,
):
    """Products of TOGETHER input rows with all rows of the tiles, summed over a part of the tiles.

    The sums are over pairs of an input and an output cell; each kernel column is a diagonal of
    them, which is added up before it is written. Adding up the diagonals of the rows, and the
    parts, is left to the caller.
    """
    ALIKE: tl.constexpr = PADDED and SEEN == 1  # tiles are chunks, with zeros beside the map
    PASSES: tl.constexpr = (LAST - FIRST + TOGETHER - 1) // TOGETHER
    width, pitch = width_units * WIDTH_UNIT, pitch_units * PITCH_UNIT
    program = tl.program_id(0)
    channel = program // (PASSES * parts)
    part = program // PASSES % parts
    start = FIRST + program % PASSES * TOGETHER
    pair = tl.arange(0, TOGETHER * COLUMNS)
    x_row, x_column = start + pair // COLUMNS - KERNEL_HEIGHT // 2, (pair % COLUMNS)[None, :]
    cell = tl.arange(0, ROWS * COLUMNS)
    y_row, y_column = cell // COLUMNS, (cell % COLUMNS)[None, :]
    sums = tl.zeros((ROWS * COLUMNS, TOGETHER * COLUMNS), tl.float32)
    sums_1 = sums
    sums_2 = sums
    for block in range(part, blocks, parts):
        tile = block * BLOCK + tl.arange(0, BLOCK)
        sample = tile // (down * across)
        known = (sample < samples)[:, None]
        top, left = tile // across % down * ROWS, tile % across * (GROUP * COLUMNS)
        plane = (sample.to(tl.int64) * channels + channel) * (height * pitch) + ORIGIN
        xs, ys = x + plane[:, None], gradient + plane[:, None]
        row, first = top[:, None] + x_row[None, :], left[:, None] - MARGIN
        out_row, left = top[:, None] + y_row[None, :], left[:, None]
        a = _cells(xs, row, first, x_column, known, height, width, pitch, 0, PADDED)
        for t in tl.static_range(GROUP):
            g = _cells(ys, out_row, left, y_column, known, height, width, pitch, t * COLUMNS, ALIKE)
            g = tl.trans(g)
            sums = _product(g, a, sums, PRECISION, WIDENED)
            if t + 1 < CHUNKS:
                a = _cells(
                    xs, row, first, x_column, known, height, width, pitch, (t + 1) * COLUMNS, PADDED
                )
                if SEEN > 1:
                    sums_1 = _product(g, a, sums_1, PRECISION, WIDENED)
            if (SEEN > 2) and (t + 2 < CHUNKS):
                c = _cells(
                    xs, row, first, x_column, known, height, width, pitch, (t + 2) * COLUMNS, PADDED
                )
                sums_2 = _product(g, c, sums_2, PRECISION, WIDENED)
    SHAPE: tl.constexpr = (ROWS, COLUMNS, TOGETHER, COLUMNS)
    step = tl.arange(0, COLUMNS)[None, :] - tl.arange(0, COLUMNS)[:, None] - MARGIN
    diagonal = (step + KERNEL_WIDTH // 2)[None, :, None, :]
    VISIBLE: tl.constexpr = ROWS + KERNEL_HEIGHT - 1
    y_row = tl.arange(0, ROWS)[:, None]
    x_row = start + tl.arange(0, TOGETHER)[None, :]
    target = partial + (part.to(tl.int64) * channels + channel) * (ROWS * VISIBLE * KERNEL_WIDTH)
    target += (y_row * VISIBLE + x_row) * KERNEL_WIDTH
    sums = tl.reshape(sums, SHAPE)
    sums_1 = tl.reshape(sums_1, SHAPE)
    sums_2 = tl.reshape(sums_2, SHAPE)
    for lag in range(KERNEL_WIDTH):
        total = _diagonal(sums, diagonal, lag)
        if SEEN > 1:
            total += _diagonal(sums_1, diagonal + COLUMNS, lag)
        if SEEN > 2:
            total += _diagonal(sums_2, diagonal + 2 * COLUMNS, lag)
        tl.store(target + lag, total, mask=(x_row < LAST) & (y_row >= 0))
