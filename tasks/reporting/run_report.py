"""The report of one run, from what every task leaves and what the task itself adds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.reporting.console import duration_text
from tasks.reporting.curves import learning_curves
from tasks.reporting.metrics import metric_text
from tasks.reporting.page import Report, Section, Table
from tasks.reporting.positions import Movement, position_figures, position_table
from tasks.reporting.results import Results
from tasks.reporting.writer import write_report


def write_run_report(
    results: Results,
    folder: Path,
    task_sections: Sequence[Section],
    movements: Mapping[str, Movement],
    headline: Table | None = None,
    figures: bool = True,
) -> Path:
    """Write `report.html` and `report.md` into a run folder; returns the page's path.

    Args:
        results: figures and provenance.
        folder: the run folder, where `metrics.csv` may lie.
        task_sections: what the task adds.
        movements: positions by layer; empty without DCLS layers or training.
        headline: what is shown first; None: the figures of the last stage.
        figures: False leaves out all figures (setting `figures`).
    """
    if headline is None:
        shown = results.headline()
        names, values = (
            map(results.label, shown),
            [metric_text(k, v, results.declared) for k, v in shown.items()],
        )
        headline = Table(list(names), [values] if shown else [])
    curves = _curves(folder) if figures else []
    own = [one.drawn() if figures else one.without_figures() for one in task_sections]
    positions = _positions(movements, figures)
    sections = [*curves, *(one for one in own if not one.is_empty), *positions]
    sections += _origin(results)
    subtitle = f"{results.task}, mode {results.mode}, {results.provenance['started']}"
    return write_report(Report(results.name, subtitle, headline, sections), folder)


def _curves(folder: Path) -> list[Section]:
    figures = learning_curves(folder / "metrics.csv")
    return [Section("Curves", figures=figures)] if figures else []


def _positions(movements: Mapping[str, Movement], figures: bool) -> list[Section]:
    if not movements:
        return []
    drawn = position_figures(movements) if figures else []
    return [Section("Learned positions", "", [position_table(movements)], drawn)]


def _origin(results: Results) -> list[Section]:
    origin = results.provenance
    state = {True: " with uncommitted changes", False: "", None: ""}[origin["dirty"]]
    rows = [
        ["command", origin["command"]],
        ["seed", str(origin["seed"])],
        ["commit", f"{origin['commit'] or 'an installed package'}{state}"],
        ["machine", origin["machine"]],
        ["wall time", duration_text(results.wall_seconds)],
        ["checkpoint", results.checkpoint or "none"],
        *([name.replace("_", " "), str(value)] for name, value in results.facts.items()),
        *(["note", note] for note in results.notes),
        ["versions", ", ".join(f"{k} {v}" for k, v in origin["versions"].items())],
    ]
    flat = _flatten(results.config)
    return [
        Section("How it was obtained", tables=[Table(["", ""], rows)]),
        Section("Settings", tables=[Table(["setting", "value"], flat)]),
    ]


def _flatten(config: Mapping[str, Any], prefix: str = "") -> list[list[str]]:
    rows: list[list[str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            rows += _flatten(value, f"{prefix}{key}.")
        else:
            rows.append([f"{prefix}{key}", str(value)])
    return rows
