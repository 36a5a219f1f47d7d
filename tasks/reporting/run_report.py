"""The report of one run, from what every task leaves and what the task itself adds."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.reporting.console import metric_text
from tasks.reporting.curves import learning_curves
from tasks.reporting.page import Report, Section, Table, write_report
from tasks.reporting.positions import Movement, position_pictures
from tasks.reporting.results import Results


def write_run_report(
    results: Results,
    folder: Path,
    task_sections: Sequence[Section],
    movements: Mapping[str, Movement],
) -> Path:
    """Write `report.html` and `report.md` into a run folder; returns the page's path.

    Args:
        results: figures and provenance.
        folder: the run folder, where `metrics.csv` may lie.
        task_sections: what the task adds.
        movements: positions by layer; empty without DCLS layers or training.
    """
    shown = [name for name in results.metrics if name.startswith("test/")]
    headline = Table(
        shown, [[_text(name, results.metrics[name]) for name in shown]] if shown else []
    )
    sections = [*_curves(folder), *task_sections, *_positions(movements), *_origin(results)]
    subtitle = f"{results.task}, mode {results.mode}, {results.provenance['started']}"
    return write_report(Report(results.name, subtitle, headline, sections), folder)


def _text(name: str, value: float) -> str:
    return metric_text(name, value) if math.isfinite(value) else "not a number"


def _curves(folder: Path) -> list[Section]:
    pictures = learning_curves(folder / "metrics.csv")
    return [Section("Curves", pictures=pictures)] if pictures else []


def _positions(movements: Mapping[str, Movement]) -> list[Section]:
    pictures = position_pictures(movements)
    return [Section("Learned positions", pictures=pictures)] if pictures else []


def _origin(results: Results) -> list[Section]:
    origin = results.provenance
    state = {True: " with uncommitted changes", False: "", None: ""}[origin["dirty"]]
    rows = [
        ["command", origin["command"]],
        ["seed", str(origin["seed"])],
        ["commit", f"{origin['commit'] or 'an installed package'}{state}"],
        ["machine", origin["machine"]],
        ["wall time", f"{results.wall_seconds:.1f} s"],
        ["checkpoint", results.checkpoint or "none"],
        *([name.replace("_", " "), str(value)] for name, value in results.facts.items()),
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
