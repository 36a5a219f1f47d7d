"""The table over the jobs of a sweep."""

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from tasks.reporting.console import metric_text
from tasks.reporting.files import write_atomically
from tasks.reporting.page import Table, as_markdown_table
from tasks.reporting.results import FILE_NAME, Results, read_results

_MAIN = ("test/",)
FAILED = "failed"


def sweep_table(folder: Path) -> None:
    """Print a table over the job folders in `folder`; write `sweep.md`, `.csv` and `.json`.

    A job without results stands in it as failed. With several seeds, a second table gives mean
    and standard deviation over them.
    """
    jobs = _read_jobs(folder)
    if not jobs:
        return
    differing = _differing([settings for settings, _ in jobs.values()])
    metrics = sorted(
        {name for _, r in jobs.values() if r for name in r.metrics if name.startswith(_MAIN)}
    )
    rows = [
        {"job": job, **{key: settings.get(key, "") for key in differing}, **_figures(r, metrics)}
        for job, (settings, r) in jobs.items()
    ]
    columns = ["job", *differing, *metrics]
    tables = [_as_table(columns, rows, f"Sweep of {len(rows)} jobs")]
    over_seeds = _over_seeds(rows, [key for key in differing if key != "seed"], metrics)
    if "seed" in differing and over_seeds is not None:
        tables.append(over_seeds)
    for table in tables:
        _print(table)
    print(f"sweep: {folder.resolve()}", flush=True)
    write_atomically(folder / "sweep.md", "\n\n".join(map(as_markdown_table, tables)) + "\n")
    write_atomically(folder / "sweep.json", json.dumps(rows, indent=2) + "\n")
    write_atomically(folder / "sweep.csv", _as_csv(columns, rows))


def _read_jobs(folder: Path) -> dict[str, tuple[dict[str, str], Results | None]]:
    def number(path: Path) -> tuple[int, str]:
        head = path.name.split("-", 1)[0]
        return (int(head) if head.isdigit() else 10**9, path.name)

    jobs: dict[str, tuple[dict[str, str], Results | None]] = {}
    for job in sorted((p for p in folder.iterdir() if p.is_dir()), key=number):
        file = job / FILE_NAME
        results = read_results(file) if file.is_file() else None
        overrides = results.provenance["overrides"] if results else _failed_overrides(job)
        settings = dict(text.lstrip("+~").split("=", 1) for text in overrides if "=" in text)
        jobs[job.name] = (settings, results)
    return jobs


def _failed_overrides(job: Path) -> list[str]:
    note = job / "failed.json"
    return list(json.loads(note.read_text()).get("overrides", [])) if note.is_file() else []


def _differing(settings: Sequence[Mapping[str, str]]) -> list[str]:
    keys = dict.fromkeys(key for one in settings for key in one)
    return [key for key in keys if len({one.get(key) for one in settings}) > 1]


def _figures(results: Results | None, metrics: Sequence[str]) -> dict[str, Any]:
    if results is None:
        return dict.fromkeys(metrics, FAILED) or {"result": FAILED}
    values = {name: results.metrics.get(name, math.nan) for name in metrics}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _over_seeds(
    rows: Sequence[Mapping[str, Any]], keys: Sequence[str], metrics: Sequence[str]
) -> Table | None:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    if all(len(group) == 1 for group in groups.values()):
        return None
    cells = []
    for chosen, group in groups.items():
        texts = [_mean_and_spread(name, [row[name] for row in group]) for name in metrics]
        cells.append([*map(str, chosen), str(len(group)), *texts])
    return Table([*keys, "seeds", *metrics], cells, "Mean ± standard deviation over seeds")


def _mean_and_spread(name: str, values: Sequence[Any]) -> str:
    numbers = [value for value in values if isinstance(value, float)]
    if len(numbers) < len(values):
        return FAILED
    spread = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    return f"{metric_text(name, statistics.mean(numbers))} ± {metric_text(name, spread)}"


def _as_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], caption: str) -> Table:
    def text(column: str, value: Any) -> str:
        return metric_text(column, value) if isinstance(value, float) else str(value)

    cells = [[text(c, row.get(c, FAILED)) for c in columns] for row in rows]
    if all(FAILED in row.values() for row in rows):
        columns, cells = [*columns, "result"], [[*line, FAILED] for line in cells]
    return Table(columns, cells, caption)


def _print(table: Table) -> None:
    shown = RichTable(title=table.caption)
    for column in table.columns:
        shown.add_column(column, overflow="fold")
    for row in table.rows:
        shown.add_row(*row)
    Console().print(shown)


def _as_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(columns), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
