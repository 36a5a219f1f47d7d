"""The Triton kernels of the convolution. Their launch, shapes and checks are in `launches.py`.

All offsets into a tensor are of 64 bits: it may have more than 2^31 cells. Sums are in float32 and
no two programs add to the same cell, so results repeat to the bit.

Maps are planes as `dcls.gpu.layout` describes them: the first cell of a row is ORIGIN cells right
of its start, and the next row starts a pitch later. A width or pitch is passed as so many units of
a power of two: so the compiler knows how wide its loads may be, and one compiled kernel serves maps
of all sizes. PADDED: what a program can see beside a row is zero.

WIDENED: multiply in float32 what is stored with 16 bits, for Triton's interpreter, which would take
the bits of bfloat16 for whole numbers (Triton's issue 11584).
"""

import triton
import triton.language as tl


@triton.jit
def toeplitz_kernel(
    weight,  # (C, FULL_HEIGHT, FULL_WIDTH)
    matrices,  # (C, KERNEL_HEIGHT + 2 ROWS - 2, SEEN COLUMNS, COLUMNS)
    elements,  # of matrices
    FULL_HEIGHT: tl.constexpr,
    FULL_WIDTH: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    SEEN: tl.constexpr,
    MARGIN: tl.constexpr,
    TURNED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The rows of kernels as matrices, between ROWS - 1 matrices of zeros above and below them.

    Of a kernel its central KERNEL_HEIGHT rows and KERNEL_WIDTH columns are taken. TURNED: by half
    a turn.
    """
    SPAN: tl.constexpr = SEEN * COLUMNS
    STORED: tl.constexpr = KERNEL_HEIGHT + 2 * ROWS - 2
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    column = (place % COLUMNS).to(tl.int32)
    seen = (place // COLUMNS % SPAN).to(tl.int32)
    row = (place // (COLUMNS * SPAN) % STORED).to(tl.int32) - (ROWS - 1)
    channel = place // (COLUMNS * SPAN * STORED)
    lag = seen - MARGIN - column + KERNEL_WIDTH // 2
    inside = (lag >= 0) & (lag < KERNEL_WIDTH) & (row >= 0) & (row < KERNEL_HEIGHT)
    if TURNED:
        row, lag = KERNEL_HEIGHT - 1 - row, KERNEL_WIDTH - 1 - lag
    row, lag = row + (FULL_HEIGHT - KERNEL_HEIGHT) // 2, lag + (FULL_WIDTH - KERNEL_WIDTH) // 2
    source = weight + channel * (FULL_HEIGHT * FULL_WIDTH) + row * FULL_WIDTH + lag
    value = tl.load(source, mask=inside & (place < elements), other=0.0)
    tl.store(matrices + place, value.to(matrices.dtype.element_ty), mask=place < elements)


@triton.jit
def _product(a, b, sums, PRECISION: tl.constexpr, WIDENED: tl.constexpr):
    """`sums + a @ b`."""
    if WIDENED:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, sums, input_precision=PRECISION)


@triton.jit
def _chunk(
    source,  # addresses of the cells of a tile's first chunk
    start,  # column of the first of them in the map
    inside,  # which rows and samples are there
    width,
    TOGETHER: tl.constexpr,
    PLACE: tl.constexpr,
    COLUMNS: tl.constexpr,
    PADDED: tl.constexpr,
):
    """Cells PLACE chunks to the right."""
    start += PLACE * COLUMNS
    if PADDED:
        inside &= start < width
    else:
        column = start + tl.arange(0, TOGETHER * COLUMNS) % COLUMNS
        inside &= ((column >= 0) & (column < width))[None, :]
    return tl.load(source + PLACE * COLUMNS, mask=inside, other=0.0)


@triton.jit
def _store(y, sums, row, left, height, limit, pitch, known, COLUMNS: tl.constexpr):
    """Write a tile: `y` is where its planes start, `row` the rows of its cells.

    `limit`: columns of a map, or, if PADDED, the pitch. What is written right of the map is for
    nobody, but a memory is quicker at whole sectors; it ends where the next row's map begins.
    """
    column = left + tl.arange(0, sums.shape[1]) % COLUMNS
    written = known & (row < height) & (column < limit)[None, :]
    tl.store(y + row * pitch + column[None, :], sums.to(y.dtype.element_ty), mask=written)


@triton.jit
def convolution_kernel(  # noqa: C901, PLR0915 - tiles are unrolled by hand
    x,  # planes (N, C, height, pitch)
    matrices,  # of toeplitz_kernel
    bias,  # (C,)
    y,  # as x
    samples,
    channels,
    height,
    width_units,
    pitch_units,
    down,
    across,
    blocks,  # of BLOCK groups of tiles, per channel and column of groups
    WIDTH_UNIT: tl.constexpr,
    PITCH_UNIT: tl.constexpr,
    ORIGIN: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
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
    BIASED: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDENED: tl.constexpr,
):
    """BLOCK groups of tiles of one channel, from the same columns of the maps of any samples.

    A group is GROUP (1, 2 or 4) tiles side by side. Chunks of COLUMNS input columns, CHUNKS in all,
    serve each all tiles that see them; a tile sees SEEN (1 to 3). TOGETHER input rows are terms of
    one product.
    """
    # Matrix r - y_row, of those that start with ROWS - 1 of zeros, stands beside input row r.
    STORED: tl.constexpr = KERNEL_HEIGHT + 2 * ROWS - 2
    STEP: tl.constexpr = SEEN * COLUMNS * COLUMNS  # from one matrix to the next
    NEXT: tl.constexpr = COLUMNS * COLUMNS  # from one chunk's part of a matrix to the next one's
    WHOLE: tl.constexpr = (LAST - FIRST) % TOGETHER == 0
    width, pitch = width_units * WIDTH_UNIT, pitch_units * PITCH_UNIT
    program = tl.program_id(0)
    channel = program // (blocks * across)
    left = program % across * (GROUP * COLUMNS)
    tile = program // across % blocks * BLOCK + tl.arange(0, BLOCK)
    sample = tile // down
    top = tile % down * ROWS
    known = (sample < samples)[:, None]
    plane = (sample.to(tl.int64) * channels + channel) * (height * pitch) + ORIGIN
    pair = tl.arange(0, TOGETHER * COLUMNS)
    x_row, start = pair // COLUMNS, left - MARGIN
    cell = tl.arange(0, ROWS * COLUMNS)
    y_row, y_column = cell // COLUMNS, cell % COLUMNS
    matrix = matrices + channel.to(tl.int64) * (STORED * STEP)
    matrix += (x_row * STEP + pair % COLUMNS * COLUMNS)[:, None]
    matrix += ((ROWS - 1 - y_row) * STEP + y_column)[None, :]
    source = x + (plane + (top - KERNEL_HEIGHT // 2) * pitch)[:, None]
    source += (x_row * pitch + start + pair % COLUMNS)[None, :]
    first_row = (top - KERNEL_HEIGHT // 2)[:, None] + x_row[None, :]
    sums = tl.zeros((BLOCK, ROWS * COLUMNS), tl.float32)
    if BIASED:
        sums += tl.load(bias + channel).to(tl.float32)
    sums_1 = sums
    sums_2 = sums
    sums_3 = sums
    for r in range(FIRST, LAST, TOGETHER):
        row = first_row + r
        inside = known & (row >= 0) & (row < height)
        used = (x_row + r < LAST)[:, None] if not WHOLE else None
        zero = 0.0 if not WHOLE else None
        if not WHOLE:
            inside &= (x_row + r < LAST)[None, :]
        cells = source + r * pitch
        a_0 = _chunk(cells, start, inside, width, TOGETHER, 0, COLUMNS, PADDED)
        if CHUNKS > 1:
            a_1 = _chunk(cells, start, inside, width, TOGETHER, 1, COLUMNS, PADDED)
        if CHUNKS > 2:
            a_2 = _chunk(cells, start, inside, width, TOGETHER, 2, COLUMNS, PADDED)
        if CHUNKS > 3:
            a_3 = _chunk(cells, start, inside, width, TOGETHER, 3, COLUMNS, PADDED)
        if CHUNKS > 4:
            a_4 = _chunk(cells, start, inside, width, TOGETHER, 4, COLUMNS, PADDED)
        if CHUNKS > 5:
            a_5 = _chunk(cells, start, inside, width, TOGETHER, 5, COLUMNS, PADDED)
        b = tl.load(matrix + r * STEP, mask=used, other=zero)
        sums = _product(a_0, b, sums, PRECISION, WIDENED)
        if (GROUP > 1) and (CHUNKS > 1):
            sums_1 = _product(a_1, b, sums_1, PRECISION, WIDENED)
        if (GROUP > 2) and (CHUNKS > 2):
            sums_2 = _product(a_2, b, sums_2, PRECISION, WIDENED)
        if (GROUP > 3) and (CHUNKS > 3):
            sums_3 = _product(a_3, b, sums_3, PRECISION, WIDENED)
        if SEEN > 1:
            b = tl.load(matrix + r * STEP + NEXT, mask=used, other=zero)
            if (GROUP > 0) and (CHUNKS > 1):
                sums = _product(a_1, b, sums, PRECISION, WIDENED)
            if (GROUP > 1) and (CHUNKS > 2):
                sums_1 = _product(a_2, b, sums_1, PRECISION, WIDENED)
            if (GROUP > 2) and (CHUNKS > 3):
                sums_2 = _product(a_3, b, sums_2, PRECISION, WIDENED)
            if (GROUP > 3) and (CHUNKS > 4):
                sums_3 = _product(a_4, b, sums_3, PRECISION, WIDENED)
        if SEEN > 2:
            b = tl.load(matrix + r * STEP + 2 * NEXT, mask=used, other=zero)
            if (GROUP > 0) and (CHUNKS > 2):
                sums = _product(a_2, b, sums, PRECISION, WIDENED)
            if (GROUP > 1) and (CHUNKS > 3):
                sums_1 = _product(a_3, b, sums_1, PRECISION, WIDENED)
            if (GROUP > 2) and (CHUNKS > 4):
                sums_2 = _product(a_4, b, sums_2, PRECISION, WIDENED)
            if (GROUP > 3) and (CHUNKS > 5):
                sums_3 = _product(a_5, b, sums_3, PRECISION, WIDENED)
    row = top[:, None] + y_row[None, :]
    target = y + plane[:, None]
    limit = pitch if PADDED else width
    _store(target, sums, row, left, height, limit, pitch, known, COLUMNS)
    if GROUP > 1:
        _store(target, sums_1, row, left + COLUMNS, height, limit, pitch, known, COLUMNS)
    if GROUP > 2:
        _store(target, sums_2, row, left + 2 * COLUMNS, height, limit, pitch, known, COLUMNS)
        _store(target, sums_3, row, left + 3 * COLUMNS, height, limit, pitch, known, COLUMNS)
