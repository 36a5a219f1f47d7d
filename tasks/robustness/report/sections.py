"""The report of a robustness evaluation."""

from collections.abc import Mapping
from dataclasses import replace
from math import isnan
from typing import Any

from tasks.reporting.page import ReportFigure, Section, Table
from tasks.reporting.reliability import reliability_figure
from tasks.robustness.cells import CLEAN
from tasks.robustness.corruptions import CORRUPTIONS
from tasks.robustness.figures.baseline_bars import difference_bars
from tasks.robustness.report.comparison import (
    OtherRun,
    corruption_differences,
    figure_differences,
    protocol_differences,
)
from tasks.robustness.report.contents import (
    Evaluation,
    Report,
    measured,
    percent,
    span_text,
    split_text,
    strengths_text,
    subset_text,
)
from tasks.robustness.report.corruptions import corruption_section
from tasks.robustness.scoring.figure import Figure
from tasks.robustness.scoring.figures import Kind, figure_name
from tasks.robustness.scoring.outcomes import joined
from tasks.robustness.scoring.scores import ALL


def headline_table(
    evaluations: Mapping[str, Evaluation], kind: Kind, protocol: Mapping[str, Any]
) -> Table:
    """The figures that say most, a row per model."""
    names = kind.headline
    rows = []
    for model, evaluation in evaluations.items():
        found = [evaluation.figures.get(name) for name in names]
        rows.append([model, *("-" if f is None else _marked(f) for f in found)])
    marks = any(f.remark for e in evaluations.values() for f in e.figures.values())
    caption = [
        "Corrupted by this program: not ImageNet-C." if kind.origin else "",
        strengths_text(protocol),
        split_text(protocol),
        subset_text(kind, protocol),
        "* falls short of the protocol, see Figures." if marks else "",
    ]
    first = 0 if len(rows) > 1 else 1  # a single model needs no name
    columns = ["model", *map(figure_name, names)]
    return Table(columns[first:], [row[first:] for row in rows], " ".join(filter(None, caption)))


def report_sections(report: Report) -> list[Section]:
    """Figures, corruptions, comparison, examples, calibration and protocol."""
    sections = [_figures(report)]
    if any(measured(report, e.records) for e in report.evaluations.values()):
        sections.append(corruption_section(report))
    sections += [_comparison(report, other) for other in report.others]
    return [
        *sections,
        Section("Examples", draw=report.strip),
        Section("Calibration", draw=lambda: _calibration(report)),
        _protocol(report),
    ]


def _figures(report: Report) -> Section:
    rows = [
        [model, figure_name(name), percent(f.value), span_text(f), f.remark]
        for model, evaluation in report.evaluations.items()
        for name, f in evaluation.figures.items()
    ]
    columns = ["model", "figure", "value", "95 % interval", "falls short"]
    single = len(report.evaluations) == 1
    remarks = any(row[-1] for row in rows)
    kept = [i for i in range(len(columns)) if (i > 0 or not single) and (i < 4 or remarks)]
    table = Table(
        [columns[i] for i in kept], [[row[i] for i in kept] for row in rows], report.subset
    )
    return Section("Figures", report.origin, [table])


def _comparison(report: Report, other: OtherRun) -> Section:
    model, own = next(iter(report.evaluations.items()))
    rows = [
        [
            figure_name(name),
            percent(own.figures[name].value),
            percent(other.figures[name].value),
            "-" if isnan(difference.value) else f"{100 * difference.value:+.2f}",
            span_text(difference),
            difference.remark,
        ]
        for name, difference in figure_differences(own.records, own.figures, other).items()
    ]
    columns = ["figure", model, other.name, "difference, points", "95 % interval", ""]
    differing = protocol_differences(report.protocol, other.protocol)
    text = (
        f"The difference is {other.name} minus {model}. An interval is one over the same images: "
        "there is none where the two saw others, or where the figure is no mean over images."
    )
    if differing:
        text += f"\n\nThe two were not evaluated alike: {'; '.join(differing)}."

    def bars() -> list[ReportFigure]:
        if report.kind.sets == "dense":
            return []
        by_corruption = corruption_differences(own.records, other.records, report.collection)
        return [difference_bars(by_corruption, other.name)] if by_corruption else []

    table = Table(columns, rows, report.subset)
    return Section(f"Compared with {other.name}", text, [table], draw=bars)


def _calibration(report: Report) -> list[ReportFigure]:
    images = []
    for model, evaluation in report.evaluations.items():
        corrupted = [
            r for r in measured(report, evaluation.records) if r.cell.corruption in CORRUPTIONS
        ]
        groups = {"clean": [r for c, r in evaluation.records.items() if c.collection == CLEAN]}
        groups["corrupted"] = corrupted
        for title, records in groups.items():
            outcomes = [r.outcomes[ALL] for r in records if len(r.outcomes.get(ALL, ()))]
            if outcomes:
                image = reliability_figure(joined(outcomes).calibration)
                images.append(
                    replace(
                        image,
                        name=f"reliability_{title}",
                        alt=f"Reliability of {model}, {title} images",
                        caption=f"{model}, {title} images. {image.caption}",
                    )
                )
    return images


def _protocol(report: Report) -> Section:
    shown = {key: value for key, value in report.protocol.items() if value != {}}
    rows = [[key.replace("_", " "), _plain(value)] for key, value in shown.items()]
    notes = {
        record.cell.name: "; ".join(record.notes)
        for evaluation in report.evaluations.values()
        for record in evaluation.records.values()
        if record.notes
    }
    tables = [Table(["", ""], rows)]
    if notes:
        tables.append(Table(["set", "falls short"], [[k, v] for k, v in notes.items()]))
    text = (
        "Intervals are bootstraps over the images (1,000 draws): they do not contain the spread "
        "over training seeds."
    )
    return Section("Protocol", text, tables)


def _marked(figure: Figure) -> str:
    return percent(figure.value) + (" *" if figure.remark else "")


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(v)}" for key, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return str(value)
