"""Logits of large images, a few windows and a few rows at a time."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

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

    Windows are computed `window_batch` at a time, and a band is given away as soon as no later
    window reaches it, so that memory follows the windows and the width, never the height.

    Args:
        logits_of: from (N, 3, h, w) to logits (N, C, h, w).
        images: (N, 3, H, W).
        crop: side of a window.
        stride: step from one window to the next, at most `crop`.
        window_batch: windows of each image that are computed at a time.

    Yields:
        (N, C, rows, W); the rows of all bands together are H.
    """
    height, width = images.shape[2:]
    tall, wide = min(crop, height), min(crop, width)
    corners = [
        (top, left)
        for top in window_starts(height, crop, stride)
        for left in window_starts(width, crop, stride)
    ]
    covered = _coverage(height, window_starts(height, crop, stride), tall, images)
    covered = covered[:, None] * _coverage(width, window_starts(width, crop, stride), wide, images)
    sums: Tensor | None = None
    first = 0  # the row of the image at which `sums` begins
    for start in range(0, len(corners), window_batch):
        chunk = corners[start : start + window_batch]
        windows = [images[:, :, top : top + tall, left : left + wide] for top, left in chunk]
        parts = torch.split(logits_of(torch.cat(windows)), len(images))
        sums = _with_rows(sums, chunk[-1][0] + tall - first, parts[0], width)
        for (top, left), part in zip(chunk, parts, strict=True):
            sums[:, :, top - first : top - first + tall, left : left + wide] += part
        following = start + window_batch
        done = corners[following][0] if following < len(corners) else height
        if done > first:
            yield sums[:, :, : done - first] / covered[first:done]
            sums, first = sums[:, :, done - first :], done


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


def _coverage(length: int, starts: list[int], crop: int, like: Tensor) -> Tensor:
    """How many windows cover each place of an axis."""
    covered = torch.zeros(length, dtype=torch.float32, device=like.device)
    for start in starts:
        covered[start : start + crop] += 1
    return covered


def _with_rows(sums: Tensor | None, rows: int, like: Tensor, width: int) -> Tensor:
    """The sums with zeros below, up to a number of rows."""
    if sums is None:
        return like.new_zeros(len(like), like.shape[1], rows, width)
    if rows <= sums.shape[2]:
        return sums
    return F.pad(sums, (0, 0, 0, rows - sums.shape[2]))
