"""Texts that must not be wider than their place."""

from typing import Literal

from matplotlib.axes import Axes

from tasks.reporting.drawing import styled
from tasks.reporting.fonts import drawable, dress

_LONGEST_TAIL = 7

Weight = Literal["normal", "bold"]


def fitted(axes: Axes, text: str, width: float, size: float, weight: Weight = "normal") -> str:
    """The text on one line, cut to a width; a short number at its end, as a confidence, stays.

    Args:
        axes: any of the figure, whose resolution counts: glyphs are fitted to pixels.
        text: any.
        width: in inches.
        size: of the font, in points.
        weight: of the font.
    """
    text = drawable(" ".join(text.split()))
    if text_width(axes, text, size, weight) <= width:
        return text
    head, _, tail = text.rpartition(" ")
    kept = head and len(tail) <= _LONGEST_TAIL and any(sign.isdigit() for sign in tail)
    tail = f" {tail}" if kept else ""
    head = head if kept else text
    low, high = 0, len(head)
    while low < high:  # the most signs that fit
        middle = (low + high + 1) // 2
        cut = f"{head[:middle].rstrip()}…{tail}"
        fits = text_width(axes, cut, size, weight) <= width
        low, high = (middle, high) if fits else (low, middle - 1)
    return f"{head[:low].rstrip()}…{tail}"


@styled
def text_width(axes: Axes, text: str, size: float, weight: Weight = "normal") -> float:
    """In inches."""
    drawn = axes.text(0, 0, text, fontsize=size, fontweight=weight)
    dress(drawn)
    width = drawn.get_window_extent().width
    drawn.remove()
    return float(width) / float(axes.figure.dpi)
