"""What detection adds to a run's report."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import isnan

from tasks.detection.figures.curves import (
    KIND_NAMES,
    class_ap_figure,
    mistakes_figure,
    precision_recall_figure,
)
from tasks.detection.figures.examples import Example
from tasks.detection.figures.gallery import examples_figure
from tasks.detection.scoring.figures import NAMES, Figures
from tasks.detection.scoring.mistakes import COUNTED_FROM, KINDS, Mistakes
from tasks.reporting.fonts import drawable_names
from tasks.reporting.page import Section, Table
from tasks.reporting.palette import Palette

_COLUMNS = ("AP", "AP50", "AP75", "S", "M", "L", "AR1", "AR10", "AR100", "AR S", "AR M", "AR L")
_MEANINGS = (
    "What is wrong at an IoU of 0.5, after TIDE (arXiv 2008.08115). Classification: the box fits "
    "an object of another class. Localisation: the right class, but the box overlaps its object by "
    "0.1 to 0.5 only. Both: neither class nor box fit. Duplicate: the object had been found "
    "already. Background: there is no object. Missed: objects that nothing found or meant.\n\n"
    "The gain says by how much AP50 would rise if only that kind were mended. Gains do not add up: "
    "to mend one kind changes what the others cost."
)


@dataclass(frozen=True)
class TestSummary:
    """A finished test as plain data.

    Args:
        class_names: in label order.
        palette: (classes, 3), RGB.
        figures: of boxes and perhaps masks.
        mistakes: of boxes.
        examples: images with their objects.
    """

    __test__ = False  # pytest would take the name for a test class

    class_names: Sequence[str]
    palette: Palette
    figures: Figures
    mistakes: Mistakes
    examples: Sequence[Example]


def report_sections(summary: TestSummary) -> list[Section]:
    """Examples, figures, curves and mistakes."""
    names, figures = summary.class_names, summary.figures
    drawable = cache(lambda: drawable_names(names))
    sections = []
    if summary.examples:
        sections.append(
            Section(
                "Examples",
                draw=lambda: [examples_figure(summary.examples, summary.palette, drawable())],
            )
        )
    drawn = {kind: found for kind, found in figures.items() if not isnan(found.ap)}
    return [
        *sections,
        Section("Figures", tables=[_figure_table(figures)]),
        Section(
            "Precision and recall",
            draw=lambda: [
                precision_recall_figure(found, drawable(), kind) for kind, found in drawn.items()
            ],
        ),
        Section(
            "Per class",
            tables=[_class_table(figures, names)],
            draw=lambda: [class_ap_figure(drawn, drawable())] if drawn else [],
        ),
        Section(
            "Mistakes",
            _MEANINGS,
            tables=[_mistake_table(summary.mistakes)],
            draw=lambda: [mistakes_figure(summary.mistakes)],
        ),
    ]


def _figure_table(figures: Figures) -> Table:
    rows = [
        [KIND_NAMES[kind], *(_share(float(getattr(found, name))) for name in NAMES)]
        for kind, found in figures.items()
    ]
    return Table(["", *_COLUMNS], rows, "In percent, as COCO defines them.")


def _class_table(figures: Figures, names: Sequence[str]) -> Table:
    columns = [f"{kind} {short}" for kind in figures for short in ("AP", "AP50")]
    rows = [
        [
            name,
            *(
                _share(float(values[i]))
                for found in figures.values()
                for values in (found.class_ap, found.class_ap50)
            ),
        ]
        for i, name in enumerate(names)
    ]
    return Table(["class", *columns], rows)


def _mistake_table(mistakes: Mistakes) -> Table:
    rows = [[kind, str(mistakes.counts[kind]), _share(mistakes.gains[kind])] for kind in KINDS]
    caption = f"Counted: detections that score {COUNTED_FROM} and more."
    return Table(["kind", "count", "AP50 gained"], rows, caption)


def _share(value: float) -> str:
    return "-" if isnan(value) else f"{100 * value:.1f}"
