"""What classification adds to a run's report."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.classification.figures import Mistake, class_table, mistakes_figure
from tasks.reporting.calibration import ConfidenceBins
from tasks.reporting.confusion import MOST_NUMBERED, confused_pairs, confusion_figure
from tasks.reporting.fonts import drawable_names
from tasks.reporting.page import Section
from tasks.reporting.reliability import reliability_figure


@dataclass(frozen=True)
class TestSummary:
    """A finished test as plain arrays.

    Args:
        class_names: in label order.
        confusion: counts, rows are the truth.
        calibration: its predictions in bins of confidence.
        worst: wrong predictions, highest loss first (see `TestRecord`).
    """

    class_names: Sequence[str]
    confusion: NDArray[np.int64]
    calibration: ConfidenceBins
    worst: Sequence[dict[str, Any]]


def report_sections(summary: TestSummary) -> list[Section]:
    """Confusions, classes, calibration and the worst predictions."""
    names, counts = summary.class_names, summary.confusion
    drawable = cache(lambda: drawable_names(names))
    sections = [
        Section(
            "Confusion matrix",
            tables=[confused_pairs(counts, names)] if len(names) > MOST_NUMBERED else [],
            draw=lambda: [confusion_figure(counts, drawable())],
        ),
        Section("Per class", tables=[class_table(counts, names)]),
    ]
    if summary.worst:
        worst = Section(
            "Worst predictions",
            draw=lambda: [mistakes_figure([_mistake(one, drawable()) for one in summary.worst])],
        )
    else:
        worst = Section("Worst predictions", "No test image was misclassified.")
    calibration = Section("Calibration", draw=lambda: [reliability_figure(summary.calibration)])
    return [*sections, worst, calibration]


def _mistake(item: dict[str, Any], names: Sequence[str]) -> Mistake:
    return Mistake(
        pixels=item["image"].numpy(),
        truth=names[item["label"]],
        predicted=names[item["predicted"]],
        confidence=item["confidence"],
    )
