"""An image of images in pairs: their true objects, and what was found."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from tasks.detection.figures.examples import NEITHER, RIGHT, WRONG, Example, Objects
from tasks.detection.figures.labels import Box, place_labels
from tasks.detection.scoring.mistakes import COUNTED_FROM
from tasks.reporting.drawing import INK, SOFT, inch_canvas, short, styled
from tasks.reporting.page import ReportFigure
from tasks.reporting.palette import Palette
from tasks.reporting.texts import text_width

Colour = tuple[float, float, float]

# All lengths are in inches.
_WIDTH = 10.4
_TALLEST = 3.4
_GAP, _BETWEEN_PAIRS, _HEAD, _MARGIN = 0.06, 0.3, 0.42, 0.08
_PAIRS = 2
_FLATTEST, _STEEPEST = 2.2, 0.6
"""Width over height within which a panel fits its image; others stand in the middle of one."""
_FONT = 7.0
_LONGEST_NAME = 16
_LINE, _PADDING = 1.35 * _FONT / 72, 0.03
_TINT = 0.45
_EMPTY = "#eef1f5"
_DASHES = (0, (3, 2))


@dataclass(frozen=True)
class _Look:
    """What drawing needs to know of the classes."""

    palette: Palette
    names: Sequence[str]

    def colour(self, objects: Objects, which: int) -> Colour:
        """Of the class of an object, parts from 0 to 1."""
        red, green, blue = (self.palette[objects.labels[which]] / 255).tolist()
        return red, green, blue


@styled
def examples_figure(
    examples: Sequence[Example], palette: Palette, names: Sequence[str]
) -> ReportFigure:
    """Two images per row, each with its true objects and, at the right, the detections.

    Args:
        examples: at least one.
        palette: (K, 3), RGB.
        names: of the classes.
    """
    rows = [examples[i : i + _PAIRS] for i in range(0, len(examples), _PAIRS)]
    heights = [_row_height(row) for row in rows]
    total = sum(heights) + _HEAD * len(rows) + _MARGIN
    figure, canvas = inch_canvas(_WIDTH, total)
    look, top = _Look(palette, names), 0.0
    for row, height in zip(rows, heights, strict=True):
        top += _HEAD
        left = _MARGIN
        for example in row:
            width = height * _aspect(example)
            edges = (left, left + width + _GAP)
            panels = [(edge, top, edge + width, top + height) for edge in edges]
            _draw_pair(canvas, panels, example, look)
            left += 2 * width + _GAP + _BETWEEN_PAIRS
        top += height
    caption = (
        "The first images of the split, then the ones that went worst: the truth at the left, "
        f"detections that score {COUNTED_FROM} or more at the right. Dashed boxes and crosses are "
        "mistakes: objects that were missed, and detections that overlap no free object of their "
        "class by an IoU of 0.5. Labels without room are left out."
    )
    return ReportFigure("examples", figure, "Images with true and detected objects", caption)


def _aspect(example: Example) -> float:
    height, width = example.image.shape[:2]
    return float(min(max(width / height, _STEEPEST), _FLATTEST))


def _row_height(row: Sequence[Example]) -> float:
    """Of panels that fill the width together, as far as they are not too tall or too few."""
    room = _WIDTH - 2 * _MARGIN - _GAP * _PAIRS - _BETWEEN_PAIRS * (_PAIRS - 1)
    widths = [_aspect(example) for example in row]
    return min(_TALLEST, room / (2 * _PAIRS * sum(widths) / len(widths)))


def _draw_pair(canvas: Axes, panels: Sequence[Box], example: Example, look: _Look) -> None:
    for panel, objects in zip(panels, (example.truth, example.found), strict=True):
        _draw_panel(canvas, panel, example.image, objects, look)
    missed = int((example.truth.verdicts == WRONG).sum())
    right = int((example.truth.verdicts == RIGHT).sum())
    score = f"{right} right, {example.mistakes - missed} wrong, {missed} missed"
    (left, top, *_), (middle, *_) = panels
    canvas.text(left, top - 0.2, f"no. {example.index}: {score}", fontsize=7.5, fontweight="bold")
    for x, text in ((left, "truth"), (middle, "found")):
        canvas.text(x, top - 0.06, text, fontsize=7.5, color=SOFT)


def _draw_panel(
    canvas: Axes, panel: Box, image: NDArray[np.uint8], objects: Objects, look: _Look
) -> None:
    """The image in the middle of the panel, with the objects over it."""
    x0, y0, x1, y1 = panel
    height, width = image.shape[:2]
    scale = min((x1 - x0) / width, (y1 - y0) / height)
    left, top = (x0 + x1 - scale * width) / 2, (y0 + y1 - scale * height) / 2
    canvas.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, facecolor=_EMPTY))
    canvas.imshow(
        _tinted(image, objects, look.palette),
        extent=(left, left + scale * width, top + scale * height, top),
        aspect="auto",
        interpolation="antialiased",
        zorder=2,
    )
    boxes = objects.boxes * scale + np.array([left, top, left, top])
    for i in reversed(range(len(boxes))):  # the best one on top
        _draw_box(canvas, boxes[i].tolist(), look.colour(objects, i), objects.verdicts[i] == WRONG)
    texts = [_label(objects, i, look.names) for i in range(len(boxes))]
    sizes = [(text_width(canvas, text, _FONT) + 2 * _PADDING, _LINE) for text in texts]
    places = place_labels([tuple(box) for box in boxes.tolist()], sizes, panel)
    for i, (place, text) in enumerate(zip(places, texts, strict=True)):
        if place is not None:
            _draw_label(canvas, place, text, look.colour(objects, i))


def _tinted(image: NDArray[np.uint8], objects: Objects, palette: Palette) -> NDArray[np.uint8]:
    """The image with the masks, if there are some, in the colours of their classes."""
    if objects.masks is None:
        return image
    pixels = image.copy()
    for mask, label in zip(objects.masks[::-1], objects.labels[::-1], strict=True):
        pixels[mask] = ((1 - _TINT) * image[mask] + _TINT * palette[label]).round()
    return pixels


def _draw_box(canvas: Axes, box: Box, colour: Colour, wrong: bool) -> None:
    x0, y0, x1, y1 = box
    for line, paint, dashes in ((2.4, "white", "solid"), (1.2, colour, _DASHES)):
        canvas.add_patch(
            Rectangle(
                (x0, y0),
                x1 - x0,
                y1 - y0,
                fill=False,
                edgecolor=paint,
                linewidth=line,
                linestyle=dashes if wrong else "solid",
                zorder=3,
            )
        )


def _label(objects: Objects, which: int, names: Sequence[str]) -> str:
    text = short(names[objects.labels[which]], _LONGEST_NAME)
    if objects.scores is not None:
        text += f" {objects.scores[which]:.2f}"
    elif objects.verdicts[which] == NEITHER:
        text += " (crowd)"
    return f"\N{BALLOT X} {text}" if objects.verdicts[which] == WRONG else text


def _draw_label(canvas: Axes, place: Box, text: str, colour: Colour) -> None:
    x0, y0, x1, y1 = place
    canvas.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, facecolor=colour, zorder=4))
    luminance = float(np.dot(colour, (0.299, 0.587, 0.114)))
    canvas.text(
        x0 + _PADDING,
        (y0 + y1) / 2,
        text,
        fontsize=_FONT,
        va="center_baseline",
        color=INK if luminance > 0.5 else "white",
        zorder=5,
    )
