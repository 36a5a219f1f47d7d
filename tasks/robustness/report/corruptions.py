"""The section of a report on corruptions."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from tasks.reporting.page import ReportFigure, Section, Table
from tasks.robustness.cells import CLEAN, Cell
from tasks.robustness.corruptions import CORRUPTIONS, SEVERITIES, all_corruptions
from tasks.robustness.figures.baseline_bars import baseline_bars
from tasks.robustness.figures.heatmap import severity_heat_map
from tasks.robustness.figures.severity_curves import severity_curves
from tasks.robustness.figures.values import Values
from tasks.robustness.ledger import CellRecord, Records
from tasks.robustness.report.contents import Report, measured, percent
from tasks.robustness.scoring.corrupted import error, image_sums
from tasks.robustness.scoring.figures import NAMES, Kind
from tasks.robustness.scoring.intervals import mean_interval
from tasks.robustness.scoring.summary import ALEXNET, ALEXNET_EXTRA, over_severities


def corruption_section(report: Report) -> Section:
    """Heat maps, curves, bars beside other models, and the figures as tables."""
    tables = [_cell_table(report, model) for model in report.evaluations]
    return Section("Corruptions", report.origin, tables, draw=lambda: _figures(report))


def _figures(report: Report) -> list[ReportFigure]:
    images: list[ReportFigure] = []
    for measure, name, worse in _measures(report.kind):
        series = {m: _values(report, e.records, measure) for m, e in report.evaluations.items()}
        clean = {
            model: _figure(e.records[Cell(CLEAN)], measure)
            for model, e in report.evaluations.items()
            if Cell(CLEAN) in e.records
        }
        wanted = CORRUPTIONS if report.kind.sets == "published" else ()
        listed = [c for c in all_corruptions() if c in wanted or _any(series, c)]
        limits = _limits(series) if len(series) > 1 else None
        images += [
            severity_heat_map(values, listed, name, model, worse, limits)
            for model, values in series.items()
        ]
        images.append(severity_curves(series, clean, name))
    if report.kind.sets != "dense":
        images.append(_bars(report))
    return images


def _bars(report: Report) -> ReportFigure:
    records = {model: e.records for model, e in report.evaluations.items()}
    records |= {other.name: other.records for other in report.others}
    errors, intervals = {}, {}
    for model, own in records.items():
        found = {c: _severities(report, own, c) for c in all_corruptions()}
        whole = {c: cells for c, cells in found.items() if len(cells) == len(SEVERITIES)}
        values = _values(report, own, "error")
        errors[model] = {c: over_severities(values, c) for c in whole}
        weights = [1 / len(SEVERITIES)] * len(SEVERITIES)
        sums = {c: image_sums(cells, weights) for c, cells in whole.items()}
        spans = {c: mean_interval(s) for c, s in sums.items() if s is not None}
        intervals[model] = {c: (span.low, span.high) for c, span in spans.items()}
    baseline = {**ALEXNET, **ALEXNET_EXTRA} if report.kind.sets == "published" else None
    return baseline_bars(errors, intervals, baseline)


def _cell_table(report: Report, model: str) -> Table:
    """The figures behind the images, with what falls short of the whole set."""
    records = measured(report, report.evaluations[model].records)
    (measure, name, _), *_ = _measures(report.kind)
    figures, rows = _values(report, report.evaluations[model].records, measure), []
    for corruption in dict.fromkeys(record.cell.corruption for record in records):
        values = [figures.get((corruption, s), float("nan")) for s in SEVERITIES]
        mean = over_severities(figures, corruption)  # never over fewer
        rows.append([corruption, *map(percent, [*values, mean])])
    columns = ["corruption", *map(str, SEVERITIES), "mean"]
    caption = f"{model}: {name} by severity. {report.subset}".strip()
    return Table(columns, rows, caption)


def _measures(kind: Kind) -> list[tuple[str, str, Any]]:
    """Figure of a cell, its name, and which end is worse."""
    if kind.sets != "dense":
        return [("error", "error", "high")]
    return [(measure, NAMES.get(measure, measure), "low") for measure in kind.measures]


def _severities(report: Report, records: Records, corruption: str) -> list[CellRecord]:
    return [r for r in measured(report, records) if r.cell.corruption == corruption]


def _values(report: Report, records: Records, measure: str) -> Values:
    return {
        (record.cell.corruption, record.cell.severity): _figure(record, measure)
        for record in measured(report, records)
    }


def _figure(record: CellRecord, measure: str) -> float:
    if measure == "error":
        return error(record)
    return record.figures.get(measure, float("nan"))


def _limits(series: Mapping[str, Values]) -> tuple[float, float] | None:
    """The least and the largest figure of all models, so that their colours mean the same."""
    found = [v for values in series.values() for v in values.values() if isfinite(v)]
    return (min(found), max(found)) if found else None


def _any(series: Mapping[str, Values], corruption: str) -> bool:
    return any(name == corruption for values in series.values() for name, _ in values)
