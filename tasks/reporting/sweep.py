"""The table over the jobs of a sweep."""

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.errors import ReportError
from tasks.reporting.console import print_line, print_table
from tasks.reporting.files import to_json, write_atomically
from tasks.reporting.markdown import as_markdown_table, literal
from tasks.reporting.metrics import Declared, Metric, metric_text
from tasks.reporting.page import Table
from tasks.reporting.results import FILE_NAME, read_results

FAILED = "failed"
_FAILURE_FILE = "failed.json"
_SEED = "seed"
_SPLIT = "split tested"
_GAP = "-"


@dataclass(frozen=True)
class Job:
    """One job of a sweep: its folder's name, its overrides, and its figures or why it has none.

    Figures under `test/` are of `test_split`; it is empty where there are none.
    """

    name: str
    settings: dict[str, str]
    metrics: dict[str, float]
    error: str | None = None
    notes: tuple[str, ...] = ()
    test_split: str = ""
    declared: Declared = field(default_factory=dict[str, Metric])


def sweep_table(folder: Path) -> None:
    """Print a table over the job folders in `folder`; write `sweep.md`, `.csv` and `.json`.

    A job without readable results stands in it as failed, with the reason where it is known.
    With several seeds, a second table gives mean and standard deviation over the finished ones.
    """
    jobs = read_jobs(folder)
    if not jobs:
        return
    differing = _differing([job.settings for job in jobs])
    metrics = list(dict.fromkeys(name for job in jobs for name in job.metrics))
    tables = [_job_table(jobs, differing, metrics)]
    over_seeds = _seed_table(jobs, differing, metrics)
    if over_seeds is not None:
        tables.append(over_seeds)
    failures = [f"job {job.name} {FAILED}: {_first_line(job.error)}" for job in jobs if job.error]
    said = [f"job {job.name}: {note}" for job in jobs for note in job.notes]
    for table in tables:
        print_table(table)
    for line in (*said, *failures):
        print_line(line)
    print_line(f"sweep: {folder.resolve()}")
    parts = [*map(as_markdown_table, tables), *map(literal, (*said, *failures))]
    write_atomically(folder / "sweep.md", "\n\n".join(parts) + "\n")
    write_atomically(folder / "sweep.json", to_json([_as_plain(job, metrics) for job in jobs]))
    write_atomically(folder / "sweep.csv", _as_csv(jobs, differing, metrics))


def read_jobs(folder: Path) -> list[Job]:
    """The jobs of a sweep in the order of their numbers; hidden folders are none."""

    def order(path: Path) -> tuple[int, str]:
        head = path.name.split("-", 1)[0]
        return (int(head) if head.isdigit() else 10**9, path.name)

    folders = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    return [_read_job(path) for path in sorted(folders, key=order)]


def _read_job(folder: Path) -> Job:
    error, overrides = _failure(folder)
    if (folder / FILE_NAME).is_file():
        try:
            results = read_results(folder / FILE_NAME)
        except ReportError as unreadable:
            return Job(folder.name, _settings(overrides), {}, str(unreadable))
        known = results.provenance.get("overrides", overrides)
        return Job(
            folder.name,
            _settings(known),
            results.headline(),
            notes=tuple(results.notes),
            test_split=results.test_split,
            declared=results.declared,
        )
    return Job(folder.name, _settings(overrides), {}, error)


def _failure(folder: Path) -> tuple[str, list[str]]:
    """Why a job failed, and its overrides, as far as its folder tells."""
    try:
        note = json.loads((folder / _FAILURE_FILE).read_text(encoding="utf-8"))
        return str(note["message"]), list(note.get("overrides", []))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"ended without {FILE_NAME}", []


def _settings(overrides: Sequence[str]) -> dict[str, str]:
    """Values by setting; one that was taken out (``~key``) has an empty value."""
    pairs = (text.lstrip("+~").partition("=") for text in overrides)
    return {key: value for key, _, value in pairs}


def _differing(settings: Sequence[Mapping[str, str]]) -> list[str]:
    keys = dict.fromkeys(key for one in settings for key in one)
    return [key for key in keys if len({one.get(key) for one in settings}) > 1]


def _job_table(jobs: Sequence[Job], differing: Sequence[str], metrics: Sequence[str]) -> Table:
    figures = metrics or ["result"]  # without a single figure, each job says that it failed
    split = _other_splits(jobs)
    rows = [
        [
            job.name,
            *(job.settings.get(key, _GAP) for key in differing),
            *([job.test_split or _GAP] if split else []),
            *(_figure(name, job) for name in figures),
        ]
        for job in jobs
    ]
    caption = f"Sweep of {len(jobs)} job{'s' if len(jobs) > 1 else ''}"
    return Table(["job", *differing, *([_SPLIT] if split else []), *figures], rows, caption)


def _other_splits(jobs: Sequence[Job]) -> bool:
    """Whether figures under `test/` are of another split than that."""
    return any(job.test_split not in ("", "test") for job in jobs)


def _figure(name: str, job: Job) -> str:
    if job.error:
        return FAILED
    return metric_text(name, job.metrics[name], job.declared) if name in job.metrics else _GAP


def _seed_table(
    jobs: Sequence[Job], differing: Sequence[str], metrics: Sequence[str]
) -> Table | None:
    """Mean and deviation per setting; None unless jobs differ by their seed."""
    if _SEED not in differing:
        return None
    keys = [key for key in differing if key != _SEED]
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in jobs:
        groups.setdefault(tuple(job.settings.get(key, _GAP) for key in keys), []).append(job)
    if all(len(group) == 1 for group in groups.values()):
        return None
    rows = []
    for chosen, group in groups.items():
        finished = [job for job in group if job.error is None]
        count = str(len(group))
        if len(finished) < len(group):
            count = f"{len(finished)} of {count}, others {FAILED}"
        spreads = [_mean_and_spread(name, finished) for name in metrics]
        rows.append([*chosen, count, *spreads])
    caption = "Mean ± standard deviation over seeds"
    if _other_splits(jobs):
        splits = dict.fromkeys(job.test_split for job in jobs if job.test_split)
        caption += f"; split tested: {', '.join(splits)}"
    return Table([*keys, "seeds", *metrics], rows, caption)


def _mean_and_spread(name: str, jobs: Sequence[Job]) -> str:
    having = [job for job in jobs if name in job.metrics]
    if not having:
        return FAILED if not jobs else _GAP
    values, about = [job.metrics[name] for job in having], having[0].declared
    mean = metric_text(name, statistics.mean(values), about)
    if len(values) == 1:
        return mean
    return f"{mean} ± {metric_text(name, statistics.stdev(values), about)}"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _as_plain(job: Job, metrics: Sequence[str]) -> dict[str, object]:
    return {
        "job": job.name,
        "status": FAILED if job.error else "finished",
        "error": job.error,
        "overrides": job.settings,
        "test_split": job.test_split or None,
        "metrics": {name: _finite(job.metrics.get(name)) for name in metrics},
        "notes": list(job.notes),  # which say what null stands for, if for more than a gap
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _as_csv(jobs: Sequence[Job], differing: Sequence[str], metrics: Sequence[str]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    split = _other_splits(jobs)
    columns = [*differing, *(["test_split"] if split else []), *metrics]
    writer.writerow(["job", "status", *columns, "error"])
    for job in jobs:
        writer.writerow(
            [
                job.name,
                FAILED if job.error else "finished",
                *(job.settings.get(key, "") for key in differing),
                *([job.test_split] if split else []),
                *(job.metrics.get(name) for name in metrics),
                job.error or "",
            ]
        )
    return buffer.getvalue()
