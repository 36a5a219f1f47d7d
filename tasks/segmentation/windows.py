"""Logits of large images, a few windows and a few rows at a time."""

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest

import torch
from torch import Tensor
from torch.nn import functional as F

BAND_ROWS = 64
"""Rows that are given away at a time: few, since each is a copy with all classes."""

Size = tuple[int, int]
LogitsOf = Callable[[Tensor], Tensor]


def window_starts(length: int, crop: int, stride: int) -> list[int]:
    """Where windows begin along an axis; the last one is shifted back inside.

    An axis shorter than a window has one, from its beginning and as long as the axis.
    """
    count = max(length - crop + stride - 1, 0) // stride + 1
    return [max(min(i * stride, length - crop), 0) for i in range(count)]


def slide_bands(
    logits_of: LogitsOf, images: Tensor, crop: int, stride: int, window_batch: int
) -> Iterator[Tensor]:
    """Mean logits of overlapping windows, as bands of rows from the top.

    Windows are computed `window_batch` at a time, and rows are given away as soon as no later
    window reaches them, so that memory follows the windows and the width, never the height.

    Args:
        logits_of: from (N, 3, h, w) to logits (N, C, h, w).
        images: (N, 3, H, W).
        crop: side of a window.
        stride: step from one window to the next, at most `crop`.
        window_batch: windows of each image that are computed at a time.

    Yields:
        (N, C, rows, W), at most `BAND_ROWS` rows; the rows of all bands together are H.
    """
    height, width = images.shape[2:]
    tall, wide = min(crop, height), min(crop, width)
    tops, lefts = window_starts(height, crop, stride), window_starts(width, crop, stride)
    covered = _coverage(tops, tall, height, images)[:, None] * _coverage(lefts, wide, width, images)
    chunks = _chunks(tops, lefts, window_batch)
    held = max(chunk[-1][0] - chunk[0][0] for chunk in chunks) + tall
    sums: Tensor | None = None
    for chunk, following in zip_longest(chunks, chunks[1:]):
        first = chunk[0][0]  # the row of the image at which `sums` begins
        windows = [images[:, :, top : top + tall, left : left + wide] for top, left in chunk]
        parts = torch.split(logits_of(torch.cat(windows)), len(images))
        if sums is None:
            sums = _zeros(parts[0], held, width)
        for (top, left), part in zip(chunk, parts, strict=True):
            sums[:, :, top - first : top - first + tall, left : left + wide] += part
        del parts
        done = following[0][0] - first if following else height - first
        for start in range(0, done, BAND_ROWS):
            rows = slice(start, min(done, start + BAND_ROWS))
            yield sums[:, :, rows] / covered[first:][rows]
        _move_up(sums, done)


def resized_bands(bands: Iterable[Tensor], size: Size, target: Size) -> Iterator[Tensor]:
    """Bands of rows of an image, resized bilinearly (corners not aligned) as they come.

    Args:
        bands: (N, C, rows, W) from the top.
        size: H and W of the whole.
        target: height and width of the whole result.

    Yields:
        (N, C, rows, target width); together what `interpolate` gives for the whole, to rounding.
    """
    if size == target:
        yield from bands
        return
    place = (torch.arange(target[0], dtype=torch.float64) + 0.5) * (size[0] / target[0]) - 0.5
    place = place.clamp(min=0)
    upper = place.floor().long().clamp(max=size[0] - 1)
    lower = (upper + 1).clamp(max=size[0] - 1)
    share = (place - upper).clamp(max=1)
    held: Tensor | None = None
    first = done = 0  # first row held of the source, first row missing of the result
    for band in bands:
        wide = _widened(band, target[1])
        held = wide if held is None else torch.cat([held, wide], 2)
        ready = int((lower < first + held.shape[2]).sum())
        if ready > done:
            rows = slice(done, ready)
            weights = share[rows].to(held)[:, None]
            top, bottom = (held[:, :, (i[rows] - first).to(held.device)] for i in (upper, lower))
            yield torch.lerp(top, bottom, weights)
            done = ready
        end = first + held.shape[2]
        keep = min(end, int(upper[done])) if done < target[0] else end
        held, first = held[:, :, keep - first :], keep


def _widened(band: Tensor, width: int) -> Tensor:
    if band.shape[3] == width:
        return band
    # The rows keep their number, so that only columns are interpolated.
    return F.interpolate(band, (band.shape[2], width), mode="bilinear", align_corners=False)


def _chunks(tops: list[int], lefts: list[int], most: int) -> list[list[tuple[int, int]]]:
    """Corners of the windows to compute together, at most so many, in reading order.

    Where a row of windows fills a batch, none reaches into the next row: that would hold both.
    """
    rows = [[(top, left) for left in lefts] for top in tops]
    lines = rows if len(lefts) >= most else [[corner for row in rows for corner in row]]
    return [line[start : start + most] for line in lines for start in range(0, len(line), most)]


def _coverage(starts: list[int], crop: int, length: int, like: Tensor) -> Tensor:
    """How many windows cover each place of an axis."""
    covered = torch.zeros(length, dtype=torch.float32, device=like.device)
    for start in starts:
        covered[start : start + crop] += 1
    return covered


def _zeros(like: Tensor, height: int, width: int) -> Tensor:
    """Zeros (N, C, height, width) in the memory layout of (N, C, h, w): adding is then quick."""
    last = like.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    shape = (*like.shape[:2], height, width)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout).zero_()


def _move_up(sums: Tensor, rows: int) -> None:
    """Drop so many rows from the top, in place and without a copy of the rest; zeros follow."""
    kept = sums.shape[2] - rows
    if rows == 0:
        return
    for start in range(0, kept, rows):
        end = min(kept, start + rows)  # source and target of one step do not overlap
        sums[:, :, start:end] = sums[:, :, start + rows : end + rows]
    sums[:, :, max(kept, 0) :] = 0
