"""The report of a robustness evaluation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan
from typing import Any

import numpy as np

from tasks.reporting.page import Picture, Section, Table
from tasks.reporting.reliability import reliability_picture
from tasks.robustness.cells import CLEAN, ON_THE_FLY, Cell
from tasks.robustness.comparison import (
    OtherRun,
    corruption_differences,
    figure_differences,
    protocol_differences,
)
from tasks.robustness.corruptions import CORRUPTIONS, EXTRA, SEVERITIES
from tasks.robustness.evaluations import IMAGENET_C, Figure, image_sums
from tasks.robustness.figures import NAMES, Kind, figure_name
from tasks.robustness.intervals import UNKNOWN, mean_interval
from tasks.robustness.ledger import CellRecord, Records
from tasks.robustness.outcomes import joined
from tasks.robustness.pictures.baseline_bars import baseline_bars, difference_bars
from tasks.robustness.pictures.heatmap import severity_heat_map
from tasks.robustness.pictures.severity_curves import severity_curves
from tasks.robustness.pictures.values import Values
from tasks.robustness.protocol import ALEXNET, ALEXNET_EXTRA
from tasks.robustness.scoring import ALL


@dataclass(frozen=True)
class Evaluation:
    """What was found of one model."""

    records: Records
    figures: dict[str, Figure]


@dataclass(frozen=True)
class Report:
    """What the report is made of.

    Args:
        evaluations: by model, at least one.
        kind: what was evaluated.
        protocol: how.
        others: models of other runs.
        strip: draws example pictures of the first model, if there are any.
    """

    evaluations: Mapping[str, Evaluation]
    kind: Kind
    protocol: Mapping[str, Any]
    others: Sequence[OtherRun]
    strip: Callable[[], Picture | None]

    @property
    def collection(self) -> str:
        """Where the corrupted pictures come from."""
        return IMAGENET_C if self.kind.sets == "published" else ON_THE_FLY

    @property
    def subset(self) -> str:
        """A sentence for every table, empty if all pictures were evaluated."""
        return subset_text(self.protocol)


def subset_text(protocol: Mapping[str, Any]) -> str:
    """What must be said of figures of a subset; empty if all pictures were evaluated."""
    limit = protocol.get("limit")
    return f"On a subset: {limit} pictures per set, evenly of all classes." if limit else ""


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
        subset_text(protocol),
        "* falls short of the protocol, see Figures." if marks else "",
    ]
    return Table(["model", *map(figure_name, names)], rows, " ".join(filter(None, caption)))


def report_sections(report: Report) -> list[Section]:
    """Figures, corruptions, comparison, examples, calibration and protocol."""
    sections = [_figures(report)]
    if any(_measured(report, e.records) for e in report.evaluations.values()):
        sections.append(_corruptions(report))
    sections += [_comparison(report, other) for other in report.others]
    strip = report.strip()
    if strip is not None:
        sections.append(Section("Examples", pictures=[strip]))
    calibration = _calibration(report)
    if calibration:
        sections.append(Section("Calibration", pictures=calibration))
    return [*sections, _protocol(report)]


def _figures(report: Report) -> Section:
    rows = [
        [model, figure_name(name), _percent(f.value), _span(f), f.remark]
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
    return Section("Figures", report.kind.origin, [table])


def _corruptions(report: Report) -> Section:
    pictures: list[Picture] = []
    for measure, name, worse in _measures(report.kind):
        series = {m: _values(report, e.records, measure) for m, e in report.evaluations.items()}
        clean = {
            model: _figure(e.records[Cell(CLEAN)], measure)
            for model, e in report.evaluations.items()
            if Cell(CLEAN) in e.records
        }
        listed = [c for c in (*CORRUPTIONS, *EXTRA) if c in CORRUPTIONS or _any(series, c)]
        pictures += [
            severity_heat_map(values, listed, name, model, worse)
            for model, values in series.items()
        ]
        pictures.append(severity_curves(series, clean, name))
    if report.kind.sets != "dense":
        pictures.append(_bars(report))
    tables = [_cell_table(report, model) for model in report.evaluations]
    return Section("Corruptions", report.kind.origin, tables, pictures)


def _bars(report: Report) -> Picture:
    records = {model: e.records for model, e in report.evaluations.items()}
    records |= {other.name: other.records for other in report.others}
    errors, intervals = {}, {}
    for model, own in records.items():
        found = {c: _severities(report, own, c) for c in (*CORRUPTIONS, *EXTRA)}
        whole = {c: cells for c, cells in found.items() if len(cells) == len(SEVERITIES)}
        errors[model] = {
            c: float(np.mean([_figure(r, "error") for r in cells])) for c, cells in whole.items()
        }
        weights = [1 / len(SEVERITIES)] * len(SEVERITIES)
        sums = {c: image_sums(cells, weights) for c, cells in whole.items()}
        spans = {c: mean_interval(s) for c, s in sums.items() if s is not None}
        intervals[model] = {c: (span.low, span.high) for c, span in spans.items()}
    baseline = {**ALEXNET, **ALEXNET_EXTRA} if report.kind.sets == "published" else None
    return baseline_bars(errors, intervals, baseline)


def _cell_table(report: Report, model: str) -> Table:
    """The figures behind the pictures, with what falls short of the whole set."""
    records = _measured(report, report.evaluations[model].records)
    (measure, name, _), *_ = _measures(report.kind)
    rows = []
    for corruption in dict.fromkeys(record.cell.corruption for record in records):
        cells = {r.cell.severity: r for r in records if r.cell.corruption == corruption}
        values = [_figure(cells[s], measure) if s in cells else float("nan") for s in SEVERITIES]
        mean = sum(values) / len(values)  # nan if any is missing: never over fewer
        rows.append([corruption, *map(_percent, [*values, mean])])
    columns = ["corruption", *map(str, SEVERITIES), "mean"]
    caption = f"{model}: {name} by severity. {report.subset}".strip()
    return Table(columns, rows, caption)


def _comparison(report: Report, other: OtherRun) -> Section:
    model, own = next(iter(report.evaluations.items()))
    rows = [
        [
            figure_name(name),
            _percent(own.figures[name].value),
            _percent(other.figures[name].value),
            f"{100 * difference.value:+.2f}",
            _span(difference),
        ]
        for name, difference in figure_differences(own.records, own.figures, other).items()
    ]
    columns = ["figure", model, other.name, "difference, points", "95 % interval"]
    differing = protocol_differences(report.protocol, other.protocol)
    text = (
        f"The difference is {other.name} minus {model}; its interval is that of the same pictures, "
        "and is left out where the two saw others."
    )
    if differing:
        text += f"\n\nThe two were not evaluated alike: {'; '.join(differing)}."
    pictures = []
    if report.kind.sets != "dense":
        by_corruption = corruption_differences(own.records, other.records, report.collection)
        pictures = [difference_bars(by_corruption, other.name)] if by_corruption else []
    table = Table(columns, rows, report.subset)
    return Section(f"Compared with {other.name}", text, [table], pictures)


def _calibration(report: Report) -> list[Picture]:
    pictures = []
    for model, evaluation in report.evaluations.items():
        corrupted = _measured(report, evaluation.records)
        groups = {"clean": [r for c, r in evaluation.records.items() if c.collection == CLEAN]}
        groups["corrupted"] = corrupted
        for title, records in groups.items():
            outcomes = [r.outcomes[ALL] for r in records if len(r.outcomes.get(ALL, ()))]
            if outcomes:
                picture = reliability_picture(*joined(outcomes).reliability())
                pictures.append(
                    replace(
                        picture,
                        name=f"reliability_{title}",
                        alt=f"Reliability of {model}, {title} pictures",
                        caption=f"{model}, {title} pictures. {picture.caption}",
                    )
                )
    return pictures


def _protocol(report: Report) -> Section:
    rows = [[key.replace("_", " "), _plain(value)] for key, value in report.protocol.items()]
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
        "Intervals are bootstraps over the pictures (1,000 draws): they do not contain the spread "
        "over training seeds."
    )
    return Section("Protocol", text, tables)


def _measures(kind: Kind) -> list[tuple[str, str, Any]]:
    """Figure of a cell, its name, and which end is worse."""
    if kind.sets != "dense":
        return [("error", "error", "high")]
    return [(measure, NAMES.get(measure, measure), "low") for measure in kind.measures]


def _measured(report: Report, records: Records) -> list[CellRecord]:
    return [r for cell, r in records.items() if cell.collection == report.collection and r.images]


def _severities(report: Report, records: Records, corruption: str) -> list[CellRecord]:
    return [r for r in _measured(report, records) if r.cell.corruption == corruption]


def _values(report: Report, records: Records, measure: str) -> Values:
    return {
        (record.cell.corruption, record.cell.severity): _figure(record, measure)
        for record in _measured(report, records)
    }


def _figure(record: CellRecord, measure: str) -> float:
    if measure == "error":
        return 1 - record.figures.get("top1", float("nan"))
    return record.figures.get(measure, float("nan"))


def _any(series: Mapping[str, Values], corruption: str) -> bool:
    return any(name == corruption for values in series.values() for name, _ in values)


def _marked(figure: Figure) -> str:
    return _percent(figure.value) + (" *" if figure.remark else "")


def _percent(value: float) -> str:
    return "-" if isnan(value) else f"{100 * value:.2f} %"


def _span(figure: Figure) -> str:
    low, high = figure.interval
    if figure.interval is UNKNOWN or not (isfinite(low) and isfinite(high)):
        return "-"
    return f"{100 * low:.2f} to {100 * high:.2f}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(v)}" for key, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return str(value)
