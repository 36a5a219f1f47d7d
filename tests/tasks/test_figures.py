"""Images and tables of a classifier's test."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from tasks.classification.figures import Mistake, class_table, mistakes_figure
from tasks.reporting.calibration import BINS, ConfidenceBins, confidence_bins
from tasks.reporting.confusion import MOST_NUMBERED, confused_pairs, confusion_figure

COUNTS = np.array([[8, 2, 0], [5, 5, 0], [0, 0, 0]])
NAMES = ["$cat_{$", "dog", "\u4e2d"]


def test_class_table_counts_recall_precision_and_mistakes():
    assert class_table(COUNTS, NAMES).rows == [
        ["$cat_{$", "10", "80.0%", "61.5%", "dog"],
        ["dog", "10", "50.0%", "71.4%", "$cat_{$"],
        ["\u4e2d", "0", "-", "-", "-"],
    ]


def test_confused_pairs_are_the_most_frequent_mistakes_only():
    assert confused_pairs(COUNTS, NAMES).rows == [
        ["dog", "$cat_{$", "5", "50.0%"],
        ["$cat_{$", "dog", "2", "20.0%"],
    ]
    assert len(confused_pairs(COUNTS, NAMES, most=1).rows) == 1
    assert confused_pairs(np.diag([3, 4, 5]), NAMES).rows == []


@pytest.mark.parametrize("classes", [1, 2, MOST_NUMBERED, MOST_NUMBERED + 1, 200])
def test_confusion_is_drawn_for_any_number_of_classes(classes):
    counts = np.random.default_rng(0).integers(0, 9, (classes, classes))
    counts[-1] = 0
    image = confusion_figure(counts, [f"class {i}" for i in range(classes)])
    assert max(image.size) < 2800
    assert "do not occur" in image.caption


@pytest.mark.parametrize("count", [1, 6, 7])
def test_mistakes_are_shown_with_long_and_odd_names(count):
    pixels = np.zeros((9, 12, 3), np.uint8)
    mistake = Mistake(pixels, "a very long name " * 5, "$odd_{$\n name", 0.93)
    image = mistakes_figure([mistake] * count)
    assert image.size[0] == pytest.approx(160 * 1.5 * min(6, count), abs=1)


def test_calibration_error_equals_the_library():
    torch.manual_seed(0)
    probabilities = (2 * torch.randn(500, 7)).softmax(-1)
    labels = torch.randint(0, 7, (500,))
    confidence, predicted = probabilities.max(1)
    bins = ConfidenceBins(confidence_bins(confidence, predicted == labels))
    library = multiclass_calibration_error(probabilities, labels, 7, n_bins=BINS)
    assert bins.error == pytest.approx(float(library), abs=1e-6)
