"""Maps as planes: a row after the other, one channel after the other.

Planes made of maps in channels_last have rows of whole groups of cells that a GPU loads at once,
and zeros on the left as far as a kernel reaches. Right of a row that is no multiple are zeros, too.
What the kernels *write* as planes is not defined beside the map.
"""

from typing import NamedTuple

from dcls.gpu.tiling import columns_of, meeting_size


class Layout(NamedTuple):
    """Where the cells of a map are in its plane.

    Args:
        width: of the map.
        pitch: cells from one row to the next.
        origin: cells of a row left of the map.
    """

    width: int
    pitch: int
    origin: int

    @property
    def is_padded(self) -> bool:
        """Whether there are zeros where kernels reach beside the map."""
        return self.pitch > self.width or self.origin > 0


def plain_layout(width: int) -> Layout:
    """Of a contiguous (N, C, H, W)."""
    return Layout(width, width, 0)


def padded_layout(height: int, width: int, kernel_height: int, kernel_width: int) -> Layout:
    """Of planes made of maps in channels_last, for kernels of a size."""
    _, kernel_width = meeting_size(height, width, kernel_height, kernel_width)
    columns, _, margin = columns_of(width, kernel_width)
    return Layout(width, -(-(margin + width) // columns) * columns, margin)
