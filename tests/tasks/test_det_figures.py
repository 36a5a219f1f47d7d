"""The images kept of a detector's test, where labels go, and the images of the report."""

import numpy as np
import pytest
import torch
from matplotlib.textpath import TextPath
from pycocotools import mask as coco_mask

from tasks.detection.figures import gallery
from tasks.detection.figures.curves import class_ap_figure, precision_recall_figure
from tasks.detection.figures.examples import NEITHER, RIGHT, WRONG, Examples, judged
from tasks.detection.figures.gallery import examples_figure
from tasks.detection.figures.labels import place_labels
from tasks.detection.figures.overlay import drawn_over
from tasks.detection.records import ImageDetections, ImageTruth
from tasks.detection.report import TestSummary, report_sections
from tasks.detection.scoring.coco import CocoFigures
from tasks.detection.scoring.figures import all_figures
from tasks.detection.scoring.mistakes import mistakes
from tasks.reporting.drawing import MOST_BARS, inch_canvas
from tasks.reporting.palette import generic_palette
from tasks.reporting.texts import text_width

NAMES = ["$cat_{$", "a very long name " * 5, "\u4e2d"]
PALETTE = generic_palette(3)
SIZE = (40, 60)
BOX, OTHER = (6, 4, 24, 20), (30, 10, 50, 30)


def mask_of(box, size):
    mask = np.zeros(size, np.uint8, order="F")
    x0, y0, x1, y1 = (round(side) for side in box)
    mask[y0:y1, x0:x1] = 1
    return coco_mask.encode(mask)["counts"]


def truth_of(*objects, size=SIZE, crowd=(), masks=True, image_id=0):
    """An image with objects (box, class)."""
    boxes = np.array([box for box, _ in objects], float).reshape(-1, 4)
    labels = np.array([label for _, label in objects], np.int64)
    crowds = np.isin(np.arange(len(labels)), crowd)
    runs = tuple(mask_of(box, size) for box in boxes) if masks else None
    return ImageTruth(image_id, size, boxes, labels, crowds, np.zeros(len(labels)), runs)


def found_of(*detections, size=SIZE, masks=True, image_id=0):
    """Detections (box, class, score) of an image, best first."""
    boxes = np.array([box for box, _, _ in detections], np.float32).reshape(-1, 4)
    labels = np.array([label for _, label, _ in detections], np.int64)
    scores = np.array([score for _, _, score in detections], np.float32)
    runs = tuple(mask_of(box, size) for box in boxes) if masks else None
    return ImageDetections(image_id, size, boxes, scores, labels, runs)


def blank(height=40, width=60):
    return torch.full((height, width, 3), 128, dtype=torch.uint8)


def kept(*pairs):
    examples = Examples()
    for index, (truth, found) in enumerate(pairs):
        examples.add(index, blank, truth, found)
    return examples.kept


def test_verdicts_are_those_of_the_matching():
    truth = truth_of((BOX, 0), (OTHER, 1), ((0, 30, 60, 40), 2), crowd=[2])
    found = found_of(
        (BOX, 1, 0.9),  # another class
        (BOX, 0, 0.8),
        (BOX, 0, 0.7),  # found already
        ((10, 32, 20, 39), 2, 0.6),  # one of the crowd
        (OTHER, 1, 0.2),  # scores too little
    )
    true, detected = judged(truth, found)
    assert true.verdicts.tolist() == [RIGHT, WRONG, NEITHER]
    assert detected.verdicts.tolist() == [WRONG, RIGHT, WRONG, NEITHER]
    (example,) = kept((truth, found))
    assert (example.wrong, example.mistakes) == (pytest.approx(3 / 5), 3)


def test_the_first_and_the_worst_images_are_kept_and_no_others_are_read():
    examples, read = Examples(first=2, worst=2), []
    for index, wrong in enumerate([1, 0, 1, 3, 0, 3, 2]):
        strange = [(OTHER, 2, 0.5)] * wrong
        image = lambda index=index: (read.append(index), blank())[1]  # noqa: E731
        examples.add(index, image, truth_of((BOX, 0)), found_of((BOX, 0, 0.9), *strange))
    assert [e.index for e in examples.kept] == [0, 1, 3, 5]
    assert [e.mistakes for e in examples.kept] == [1, 0, 3, 3]
    assert read == [0, 1, 2, 3, 5]


def test_of_equally_wrong_images_the_one_with_more_mistakes_is_worse():
    examples = Examples(first=0, worst=1)
    for index, count in enumerate([1, 4, 2]):
        examples.add(index, blank, truth_of(*[(BOX, 0)] * count), found_of())
    assert [(e.index, e.wrong) for e in examples.kept] == [(1, 1.0)]


@pytest.mark.parametrize("view", [(40, 60), (20, 30), (160, 240), (800, 1200)])
def test_boxes_and_masks_are_scaled_to_the_kept_image(view):
    examples = Examples()
    examples.add(0, lambda: blank(*view), truth_of((BOX, 0)), found_of((BOX, 0, 0.9)))
    (example,) = examples.kept
    shown = example.image.shape[:2]
    assert shown == ((320, 480) if view == (800, 1200) else view)
    scale = shown[0] / 40
    for objects in (example.truth, example.found):
        assert objects.boxes.tolist() == [[side * scale for side in BOX]]
        rows, columns = np.nonzero(objects.masks[0])
        assert objects.masks.shape == (1, *shown)
        corners = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert corners == pytest.approx(objects.boxes[0])


def test_labels_lie_in_the_panel_apart_from_each_other():
    rng = np.random.default_rng(0)
    low = rng.random((40, 2)) * 3
    boxes = [tuple(row) for row in np.hstack([low, low + 1])]
    panel = (0, 0, 4, 4)
    places = place_labels(boxes, [(0.8, 0.2)] * 40, panel)
    assert places[0] is not None
    assert None in place_labels([boxes[0]] * 40, [(0.8, 0.2)] * 40, panel)
    taken = [place for place in places if place]
    for i, (x0, y0, x1, y1) in enumerate(taken):
        assert 0 <= x0 < x1 <= 4 + 1e-6
        assert 0 <= y0 < y1 <= 4 + 1e-6
        assert not any(x0 < b[2] and b[0] < x1 and y0 < b[3] and b[1] < y1 for b in taken[i + 1 :])


def test_a_label_stands_above_its_box_if_there_is_room():
    (place,) = place_labels([(1, 1, 2, 2)], [(0.5, 0.2)], (0, 0, 4, 4))
    assert place == (1, 0.8, 1.5, 1)
    assert place_labels([(1, 1, 2, 2)], [(5, 0.2)], (0, 0, 4, 4)) == [None]  # wider than the panel


def test_labels_are_as_wide_as_their_text():
    _, canvas = inch_canvas(gallery._WIDTH, 3)
    outline = TextPath((0, 0), "hourglass 0.93", size=gallery._FONT).get_extents()
    width = text_width(canvas, "hourglass 0.93", gallery._FONT)
    assert width == pytest.approx(outline.width / 72, rel=0.08)  # glyphs are fitted to pixels
    assert not canvas.texts


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("masks", [True, False])
def test_examples_are_drawn_with_odd_names_crowds_and_without_anything(count, masks):
    full = truth_of((BOX, 0), (OTHER, 1), (BOX, 2), crowd=[2], masks=masks)
    many = found_of(*[(OTHER, i % 3, 0.9 - i / 100) for i in range(50)], masks=masks)
    pairs = [(full, many), (full, found_of(masks=masks)), (truth_of(masks=masks), many)]
    examples = kept(*pairs, (truth_of(masks=masks), found_of(masks=masks)), *pairs)[:count]
    image = examples_figure(examples, PALETTE, NAMES)
    assert image.png.startswith(b"\x89PNG")
    assert image.size[0] == 1664
    assert all(len(e.found.labels) <= 60 for e in examples)


@pytest.mark.parametrize("size", [(8, 8), (20, 400), (400, 20)])
def test_small_flat_and_steep_images_are_drawn_large(size):
    height, width = size
    box = (0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height)
    examples = Examples()
    truth, found = truth_of((box, 0), size=size), found_of((box, 0, 0.9), size=size)
    examples.add(0, lambda: blank(*size), truth, found)
    image = examples_figure(examples.kept, PALETTE, NAMES)
    assert 100 < image.size[1] < 700


def figures_of(classes):
    values = np.random.default_rng(0).random(classes)
    if classes > 2:
        values[1] = np.nan  # a class without objects
    precision = np.broadcast_to(values, (3, 101, classes))
    return CocoFigures(*[0.5] * 12, values, values, precision)


@pytest.mark.parametrize("classes", [1, 3, 80])
def test_curves_and_bars_are_drawn_for_any_number_of_classes(classes):
    figures = figures_of(classes)
    names = (NAMES * classes)[:classes]
    curves = precision_recall_figure(figures, names, "mask")
    assert curves.size[0] == 832
    assert ("pale" in curves.caption) == (classes == 3)
    image = class_ap_figure({"box": figures, "mask": figures}, names)
    assert 100 < image.size[1] < 2800
    assert ("20 best" in image.caption) == (classes > MOST_BARS)


@pytest.mark.parametrize(
    ("masks", "objects", "detections"),
    [
        (True, [(BOX, 0), (OTHER, 2)], [(BOX, 0, 0.9), (OTHER, 1, 0.5)]),
        (False, [(BOX, 0), (OTHER, 2)], []),
        (False, [], [(BOX, 0, 0.9)]),
        (True, [], []),
    ],
)
def test_a_report_is_made_of_any_test(masks, objects, detections):
    truth, found = truth_of(*objects, masks=masks), found_of(*detections, masks=masks)
    figures = all_figures([truth], [found], 3, masks)
    split = mistakes([truth], [found], 3)
    summary = TestSummary(NAMES, PALETTE, figures, split, kept((truth, found)))
    sections = {section.title: section for section in report_sections(summary)}
    titles = ["Examples", "Figures", "Precision and recall", "Per class", "Mistakes"]
    assert list(sections) == titles
    (table,) = sections["Figures"].tables
    assert [row[0] for row in table.rows] == (["boxes", "masks"] if masks else ["boxes"])
    assert table.rows[0][1] == (("50.0" if detections else "0.0") if objects else "-")
    (classes,) = sections["Per class"].tables
    assert classes.rows[1] == [NAMES[1], *["-"] * (len(classes.columns) - 1)]
    assert all(p.png.startswith(b"\x89PNG") for s in sections.values() for p in s.drawn().figures)


@pytest.mark.parametrize("side", [64, 320, 520, 700, 1300])
def test_boxes_over_an_image_are_lines_as_opencv_draws_them(side):
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    box = (0.1 * side, 0.2 * side, 0.7 * side, 0.9 * side)
    found = found_of((box, 1, 0.9), size=(side, side), masks=False)
    black = np.zeros((side, side, 3), np.uint8)
    drawn = drawn_over(black, (side, side), found, PALETTE)
    x0, y0, x1, y1 = np.rint(box).astype(int).tolist()
    expected = black.copy()
    cv2.rectangle(expected, (x0, y0), (x1, y1), PALETTE[1].tolist(), max(1, round(side / 200)))
    differing = (drawn != expected).any(2)
    ys, xs = differing.nonzero()
    at_corners = np.minimum(abs(xs - x0), abs(xs - x1)) + np.minimum(abs(ys - y0), abs(ys - y1))
    assert drawn.any()
    assert not black.any()
    assert len(xs) == 0 or side > 300, "thin lines are equal"
    assert (at_corners <= 2 * side / 200).all(), "OpenCV rounds the corners of thick ones"


def test_masks_over_an_image_are_tinted_at_the_size_of_the_image():
    found = found_of(((10, 4, 30, 20), 1, 0.9))
    drawn = drawn_over(np.zeros((20, 30, 3), np.uint8), SIZE, found, PALETTE)
    expected = np.zeros((20, 30, 3), np.uint8)
    expected[2:11, 5:16] = PALETTE[1]
    expected[3:10, 6:15] = (0.45 * PALETTE[1]).round()
    assert (drawn == expected).all()
