"""What segmentation adds to a run's report."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.reporting.confusion import confused_pairs, confusion_figure
from tasks.reporting.fonts import drawable_names
from tasks.reporting.page import Section
from tasks.segmentation.examples import Example
from tasks.segmentation.figures import class_table, examples_figure, iou_figure
from tasks.segmentation.scores import figures

_WORST_PAIRS = 10


@dataclass(frozen=True)
class TestSummary:
    """A finished test as plain arrays.

    Args:
        class_names: in label order.
        palette: (classes, 3), RGB.
        counts: pixels, rows are the truth.
        examples: images with their labels.
    """

    __test__ = False  # pytest would take the name for a test class

    class_names: Sequence[str]
    palette: NDArray[np.uint8]
    counts: NDArray[np.int64]
    examples: Sequence[Example]


def report_sections(summary: TestSummary) -> list[Section]:
    """Examples, classes and confusions."""
    names, counts = summary.class_names, summary.counts
    drawable = cache(lambda: drawable_names(names))
    found = figures(torch.from_numpy(counts))
    iou, accuracy = found.iou.numpy(), found.accuracy.numpy()
    sections = []
    if summary.examples:
        sections.append(
            Section(
                "Examples",
                draw=lambda: [examples_figure(summary.examples, summary.palette, drawable())],
            )
        )
    return [
        *sections,
        Section(
            "Per class",
            tables=[class_table(counts, iou, accuracy, names)],
            draw=lambda: [iou_figure(iou, drawable())],
        ),
        Section(
            "Confusions",
            tables=[confused_pairs(counts, names, _WORST_PAIRS, "pixels")],
            draw=lambda: [confusion_figure(counts, drawable(), "pixels")],
        ),
    ]
