"""A strip of images, such as one under every corruption, with what was predicted of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from tasks.reporting.drawing import COLOURS, DPI, INK, SOFT, inch_canvas, styled
from tasks.reporting.page import ReportFigure
from tasks.reporting.texts import fitted

# All lengths are in inches.
_PANEL, _GAP, _MARGIN = 1.4, 0.1, 0.08
_NAME, _TITLE, _CAPTION = 0.26, 0.17, 0.26
_FONT, _NAME_FONT = 7.5, 9.0
_FLATTEST, _STEEPEST = 2.2, 0.6
"""Width over height within which panels fit their images; others stand in the middle of one."""
_LEAST_WIDE = 2
"""Panels that find room in any image, so that the names of rows do."""
_EMPTY, _WRONG = "#eef1f5", COLOURS[1]
_REMARK = "A wrong prediction is orange, with a cross before it."


@dataclass(frozen=True)
class Shown:
    """One panel.

    Args:
        pixels: (H, W, 3), uint8, RGB, of any size.
        title: stands above, such as the corruption.
        caption: stands below, such as the prediction with its confidence, which comes last.
        wrong: whether the prediction is wrong.
    """

    pixels: NDArray[np.uint8]
    title: str
    caption: str
    wrong: bool


@styled
def strip_figure(
    rows: Sequence[Sequence[Shown]],
    row_names: Sequence[str],
    caption: str = "",
    most_per_line: int = 7,
) -> ReportFigure:
    """Panels in lines of about equal length; texts are cut to the width of their panel.

    Args:
        rows: at least one, each of at least one panel, such as one image under all corruptions.
        row_names: stand above the lines of each row, such as the truth; empty for none.
        caption: of the whole, before the sentence that says how mistakes are marked.
        most_per_line: panels side by side.
    """
    longest = max(map(len, rows))
    columns = -(-longest // -(-longest // most_per_line))
    width = max(columns, _LEAST_WIDE) * (_PANEL + _GAP) - _GAP + 2 * _MARGIN
    blocks = [
        (_NAME if title else 0) + -(-len(row) // columns) * _line_height(row)
        for row, title in zip(rows, row_names, strict=True)
    ]
    height = sum(blocks) + _MARGIN
    figure, canvas = inch_canvas(width, height)
    top = _MARGIN
    for row, title, block in zip(rows, row_names, blocks, strict=True):
        _draw_row(canvas, row, title, top, columns)
        top += block
    text = f"{caption} {_REMARK}".strip()
    return ReportFigure("strip", figure, "Images with predictions", text)


def _line_height(row: Sequence[Shown]) -> float:
    return _TITLE + _panel_height(row) + _CAPTION


def _panel_height(row: Sequence[Shown]) -> float:
    """Such that the most usual image of a row fills its panel, unless very flat or steep."""
    aspects = [shown.pixels.shape[1] / shown.pixels.shape[0] for shown in row]
    return _PANEL / min(max(float(np.median(aspects)), _STEEPEST), _FLATTEST)


def _draw_row(canvas: Axes, row: Sequence[Shown], title: str, top: float, columns: int) -> None:
    """The name of a row and its panels in lines."""
    if title:
        room = max(columns, _LEAST_WIDE) * (_PANEL + _GAP) - _GAP
        text = fitted(canvas, title, room, _NAME_FONT, "bold")
        drawn = canvas.text(_MARGIN, top + _NAME / 2, text, fontsize=_NAME_FONT, va="center")
        drawn.set_fontweight("bold")
        top += _NAME
    height = _panel_height(row)
    for i, shown in enumerate(row):
        line, column = divmod(i, columns)
        left, upper = _MARGIN + column * (_PANEL + _GAP), top + line * _line_height(row)
        _draw_text(canvas, shown.title, left, upper + _TITLE / 2, SOFT)
        _draw_panel(canvas, shown, left, upper + _TITLE, height)
        text = f"\N{BALLOT X} {shown.caption}" if shown.wrong else shown.caption
        under = upper + _TITLE + height + 0.09
        _draw_text(canvas, text, left, under, _WRONG if shown.wrong else INK)


def _draw_text(canvas: Axes, text: str, x: float, y: float, colour: str) -> None:
    text = fitted(canvas, text, _PANEL, _FONT)
    canvas.text(x, y, text, fontsize=_FONT, color=colour, va="center")


def _draw_panel(canvas: Axes, shown: Shown, left: float, top: float, height: float) -> None:
    """The image in the middle of its panel, framed if the prediction is wrong."""
    pixels, across, down = _scaled(shown.pixels, height)
    x, y = left + (_PANEL - across) / 2, top + (height - down) / 2
    canvas.add_patch(Rectangle((left, top), _PANEL, height, facecolor=_EMPTY, zorder=1))
    canvas.imshow(
        pixels,
        extent=(x, x + across, y + down, y),
        aspect="auto",
        interpolation="nearest",
        zorder=2,
    )
    if shown.wrong:
        frame = Rectangle((left, top), _PANEL, height, fill=False, linewidth=1.2, zorder=3)
        frame.set_edgecolor(_WRONG)
        canvas.add_patch(frame)


def _scaled(pixels: NDArray[np.uint8], height: float) -> tuple[NDArray[np.uint8], float, float]:
    """The image, reduced if it has more pixels than fit, and its width and height in inches."""
    rows, columns = pixels.shape[:2]
    scale = min(_PANEL / columns, height / rows)
    across, down = columns * scale, rows * scale
    size = (max(1, round(across * DPI)), max(1, round(down * DPI)))
    if size[0] < columns or size[1] < rows:
        image = Image.fromarray(np.ascontiguousarray(pixels))
        pixels = np.asarray(image.resize(size, Image.Resampling.BOX))
    return pixels, max(across, 1 / DPI), max(down, 1 / DPI)
