"""The three Triton kernels. Their launch, shapes and checks are in `launch.py`.

All offsets into a tensor are of 64 bits: it may have more than 2^31 cells. Sums are in float32 and
no two programs add to the same cell, so results repeat to the bit.

WIDENED: multiply in float32 what is stored with 16 bits, for Triton's interpreter, which would take
the bits of bfloat16 for whole numbers (Triton's issue 11584).
"""

import triton
import triton.language as tl


@triton.jit
def toeplitz_kernel(
    weight,  # (C, KERNEL_HEIGHT, KERNEL_WIDTH)
    matrices,  # (C, KERNEL_HEIGHT + 2 ROWS - 2, SPAN, COLUMNS)
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SPAN: tl.constexpr,
    MARGIN: tl.constexpr,
):
    """One row of one kernel as a matrix; ROWS - 1 rows of zeros lie above and below them."""
    STORED: tl.constexpr = KERNEL_HEIGHT + 2 * ROWS - 2
    program = tl.program_id(0).to(tl.int64)
    channel = program // STORED
    row = (program % STORED).to(tl.int32) - (ROWS - 1)
    seen = tl.arange(0, SPAN)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    lag = seen - MARGIN - column + KERNEL_WIDTH // 2
    inside = (lag >= 0) & (lag < KERNEL_WIDTH) & (row >= 0) & (row < KERNEL_HEIGHT)
    source = weight + (channel * KERNEL_HEIGHT + row) * KERNEL_WIDTH
    value = tl.load(source + lag, mask=inside, other=0.0)
    tl.store(matrices + program * (SPAN * COLUMNS) + seen * COLUMNS + column, value)


@triton.jit
def convolution_kernel(
    x,  # (N, C, height, width)
    matrices,  # of toeplitz_kernel
    bias,  # (C,)
    y,  # (N, C, height, width)
    samples,
    channels,
    blocks,  # of BLOCK tiles, per channel and column of tiles
    height: tl.constexpr,
    width: tl.constexpr,
    DOWN: tl.constexpr,
    ACROSS: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SPAN: tl.constexpr,
    MARGIN: tl.constexpr,
    BLOCK: tl.constexpr,
    BIASED: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDENED: tl.constexpr,
):
    """BLOCK tiles of one channel, out of the same column of tiles of the maps of any samples."""
    program = tl.program_id(0)
    channel = program // (blocks * ACROSS)
    left = program % ACROSS * COLUMNS
    tile = program // ACROSS % blocks * BLOCK + tl.arange(0, BLOCK)
    sample = tile // DOWN
    top = tile % DOWN * ROWS
    plane = (sample.to(tl.int64) * channels + channel) * (height * width)
    column = left - MARGIN + tl.arange(0, SPAN)
    cell = tl.arange(0, ROWS * COLUMNS)
    y_row, y_column = cell // COLUMNS, cell % COLUMNS
    # Matrix r - y_row, of those that start with ROWS - 1 of zeros, stands beside input row r.
    STORED: tl.constexpr = KERNEL_HEIGHT + 2 * ROWS - 2
    matrix = matrices + channel.to(tl.int64) * (STORED * SPAN * COLUMNS)
    matrix += tl.arange(0, SPAN)[:, None] * COLUMNS
    matrix += (ROWS - 1 - y_row)[None, :] * (SPAN * COLUMNS) + y_column[None, :]
    seen = (sample < samples)[:, None] & ((column >= 0) & (column < width))[None, :]
    source = x + plane[:, None] + column[None, :]
    sums = tl.zeros((BLOCK, ROWS * COLUMNS), tl.float32)
    for r in range(FIRST, LAST):
        row = top + r - KERNEL_HEIGHT // 2
        inside = seen & ((row >= 0) & (row < height))[:, None]
        cells = tl.load(source + row[:, None] * width, mask=inside, other=0.0)
        factors = tl.load(matrix + r * (SPAN * COLUMNS))
        if WIDENED:
            cells, factors = cells.to(tl.float32), factors.to(tl.float32)
        sums = tl.dot(cells, factors, sums, input_precision=PRECISION)
    if BIASED:
        sums += tl.load(bias + channel).to(tl.float32)
    row, column = top[:, None] + y_row[None, :], left + y_column
    written = (sample < samples)[:, None] & (row < height) & (column < width)[None, :]
    target = y + plane[:, None] + row * width + column[None, :]
    tl.store(target, sums.to(y.dtype.element_ty), mask=written)


@triton.jit
def weight_gradient_kernel(
    x,  # (N, C, height, width)
    gradient,  # (N, C, height, width), of the output
    partial,  # (parts, C, ROWS, ROWS + KERNEL_HEIGHT - 1, KERNEL_WIDTH), float32
    samples,
    channels,
    blocks,  # of BLOCK tiles, per channel
    parts,  # that the blocks are split into
    height: tl.constexpr,
    width: tl.constexpr,
    DOWN: tl.constexpr,
    ACROSS: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SPAN: tl.constexpr,
    MARGIN: tl.constexpr,
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
    CHUNKS: tl.constexpr = (LAST - FIRST + TOGETHER - 1) // TOGETHER
    program = tl.program_id(0)
    channel = program // (CHUNKS * parts)
    part = program // CHUNKS % parts
    chunk = FIRST + program % CHUNKS * TOGETHER
    pair = tl.arange(0, TOGETHER * SPAN)
    x_row, x_column = chunk + pair // SPAN - KERNEL_HEIGHT // 2, pair % SPAN - MARGIN
    cell = tl.arange(0, ROWS * COLUMNS)
    y_row, y_column = cell // COLUMNS, cell % COLUMNS
    sums = tl.zeros((ROWS * COLUMNS, TOGETHER * SPAN), tl.float32)
    for block in range(part, blocks, parts):
        tile = block * BLOCK + tl.arange(0, BLOCK)
        sample = tile // (DOWN * ACROSS)
        known = (sample < samples)[:, None]
        top, left = tile // ACROSS % DOWN * ROWS, tile % ACROSS * COLUMNS
        plane = (sample.to(tl.int64) * channels + channel) * (height * width)
        row, column = top[:, None] + x_row[None, :], left[:, None] + x_column[None, :]
        inside = known & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        inputs = tl.load(x + plane[:, None] + row * width + column, mask=inside, other=0.0)
        row, column = top[:, None] + y_row[None, :], left[:, None] + y_column[None, :]
        inside = known & (row < height) & (column < width)
        outputs = tl.load(gradient + plane[:, None] + row * width + column, mask=inside, other=0.0)
        if WIDENED:
            inputs, outputs = inputs.to(tl.float32), outputs.to(tl.float32)
        sums = tl.dot(tl.trans(outputs), inputs, sums, input_precision=PRECISION)
    pairs = tl.reshape(sums, (ROWS, COLUMNS, TOGETHER, SPAN))
    step = tl.arange(0, SPAN)[None, :] - MARGIN - tl.arange(0, COLUMNS)[:, None]
    diagonal = (step + KERNEL_WIDTH // 2)[None, :, None, :]
    SEEN: tl.constexpr = ROWS + KERNEL_HEIGHT - 1
    row = chunk + tl.arange(0, TOGETHER)[None, :]
    target = partial + (part.to(tl.int64) * channels + channel) * (ROWS * SEEN * KERNEL_WIDTH)
    target += (tl.arange(0, ROWS)[:, None] * SEEN + row) * KERNEL_WIDTH
    for lag in range(KERNEL_WIDTH):
        total = tl.sum(tl.sum(tl.where(diagonal == lag, pairs, 0.0), 3), 1)
        tl.store(target + lag, total, mask=(row < LAST) & (tl.arange(0, ROWS)[:, None] >= 0))
