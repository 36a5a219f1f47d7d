"""Names of classes in other scripts: drawn, or replaced with one warning; never boxes."""

import logging

import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.text import Text

from tasks.classification.report import TestSummary as ClassSummary
from tasks.classification.report import report_sections as class_sections
from tasks.detection.figures.examples import Examples
from tasks.detection.records import ImageDetections, ImageTruth
from tasks.detection.report import TestSummary as ObjectSummary
from tasks.detection.report import report_sections as object_sections
from tasks.detection.scoring.figures import all_figures
from tasks.detection.scoring.mistakes import mistakes
from tasks.reporting import fonts
from tasks.reporting.calibration import BINS, ConfidenceBins
from tasks.reporting.drawing import new_figure, short
from tasks.reporting.page import ReportFigure
from tasks.reporting.palette import generic_palette
from tasks.reporting.texts import text_width
from tasks.robustness.figures.strip import Shown, strip_figure
from tasks.segmentation.examples import Example
from tasks.segmentation.report import TestSummary as PixelSummary
from tasks.segmentation.report import report_sections as pixel_sections

NAMES = ("\u732b", "\u043a\u043e\u0448\u043a\u0430", "\u0642\u0637\u0629", "cat $5_x")
"""Chinese, Cyrillic and Arabic: the main font has no Chinese."""
CHINESE = NAMES[0]


@pytest.fixture(autouse=True)
def plain_fonts(monkeypatch):
    """The fonts that come with matplotlib, whatever the machine has; nothing remembered."""
    kept = [e for e in font_manager.fontManager.ttflist if "matplotlib" in e.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", kept)
    _forget()
    yield
    _forget()


def _forget():
    for known in (fonts._font_of, fonts._warn_of_names, fonts._warn_of_characters):
        known.cache_clear()


@pytest.fixture
def chinese_font(tmp_path):
    """A font of one character, a square."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for point in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord(CHINESE): "cat"})
    builder.setupGlyf({".notdef": square, "cat": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 100), "cat": (1000, 100)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "One Cat", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path = tmp_path / "cat.ttf"
    builder.save(path)
    font_manager.fontManager.addfont(path)
    _forget()
    return "One Cat"


def classified():
    counts = np.array([[3, 1, 0, 1], [0, 4, 0, 0], [1, 0, 2, 0], [0, 0, 0, 5]])
    worst = [
        {"image": torch.zeros(8, 8, 3, dtype=torch.uint8), "label": 0, "predicted": 2,
         "confidence": 0.9}
    ]  # fmt: skip
    bins = ConfidenceBins(torch.zeros(3, BINS, dtype=torch.float64))
    return class_sections(ClassSummary(NAMES, counts, bins, worst))


def segmented():
    counts = np.array([[3, 1, 0, 1], [0, 4, 0, 0], [1, 0, 2, 0], [0, 0, 0, 5]])
    labels = np.arange(64, dtype=np.uint8).reshape(8, 8) % 4
    example = Example(0, 0.0, np.zeros((8, 8, 3), np.uint8), labels, labels)
    return pixel_sections(PixelSummary(NAMES, generic_palette(4), counts, [example]))


def detected():
    size, boxes = (60, 80), np.array([[4.0, 9, 34, 50], [42, 9, 76, 50], [20, 20, 60, 58]])
    labels, crowd, areas = np.array([0, 1, 2]), np.zeros(3, bool), np.full(3, 1000.0)
    truth = ImageTruth(1, size, boxes, labels, crowd, areas, None)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    found = ImageDetections(1, size, boxes.astype(np.float32), scores, labels, None)
    examples = Examples()
    examples.add(0, lambda: torch.zeros(*truth.size, 3, dtype=torch.uint8), truth, found)
    figures = all_figures([truth], [found], 4, masks=False)
    split = mistakes([truth], [found], 4)
    return object_sections(ObjectSummary(NAMES, generic_palette(4), figures, split, examples.kept))


def texts_of(sections):
    """All that is written in the figures of a report, rendered: warnings are errors in tests."""
    written = []
    for section in sections:
        for image in section.figures:
            assert image.png
            written += [text.get_text() for text in image.figure.findobj(Text)]
    return written


TASKS = {"cls": classified, "seg": segmented, "det": detected}


@pytest.mark.parametrize("task", TASKS)
def test_a_name_that_no_font_has_is_a_number_in_figures(task, caplog):
    caplog.set_level(logging.WARNING)
    sections = [section.drawn() for section in TASKS[task]()]
    written = " ".join(texts_of(sections))
    assert "class 0" in written
    assert CHINESE not in written
    assert NAMES[1] in written
    (record,) = caplog.records
    assert "names of 1 of the 4 classes, such as \u732b" in record.getMessage()
    tables = " ".join(str(t.rows) for section in sections for t in section.tables)
    assert CHINESE in tables


@pytest.mark.parametrize("task", TASKS)
def test_a_name_is_drawn_where_a_font_has_it(task, caplog, chinese_font):
    caplog.set_level(logging.WARNING)
    sections = [section.drawn() for section in TASKS[task]()]
    written = texts_of(sections)
    assert any(CHINESE in text for text in written)
    assert caplog.records == []
    for section in sections:
        for image in section.figures:
            for text in image.figure.findobj(Text):
                if CHINESE in text.get_text():
                    assert text.get_fontfamily() == [fonts.MAIN, chinese_font]


def test_texts_of_any_origin_are_replaced_character_by_character(caplog):
    """Such as the name of a checkpoint or of another run."""
    figure, ((axes,),) = new_figure(1, 1, 3, 2)
    axes.set_title(f"{CHINESE}.ckpt")
    axes.set_yticks([0], [short(f"{CHINESE} run")])
    assert text_width(axes, CHINESE, 9) > 0
    assert ReportFigure("p", figure, "").png
    assert axes.get_title() == "\ufffd.ckpt"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["\ufffd run"]
    assert len({record.getMessage() for record in caplog.records}) == len(caplog.records) == 1


def test_the_strip_of_corrupted_images(caplog):
    shown = Shown(np.zeros((16, 16, 3), np.uint8), "fog", f"{CHINESE} 90%", wrong=True)
    image = strip_figure([[shown]], [f"clean: {CHINESE}"], "What the model says.")
    assert CHINESE not in " ".join(t.get_text() for t in image.figure.findobj(Text))
    assert image.png
    assert caplog.records
