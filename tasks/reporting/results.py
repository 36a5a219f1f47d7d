"""The figures of a run and how they were obtained, kept in `results.json`."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.errors import ReportError
from tasks.reporting.files import plain_data, to_json, write_atomically
from tasks.reporting.metrics import Metric, from_plain, metric_of

FILE_NAME = "results.json"
_LAST_STAGE_FIRST = ("test", "val")


@dataclass(frozen=True)
class Results:
    """What one run found.

    Args:
        task: name of the task.
        name: name of the run.
        mode: what was done.
        metrics: figures by name, `stage/measure` such as `test/top1`, with a third part for one
            class or cell such as `test/iou/tree`; those that say most first.
        facts: numbers of samples, steps and the like.
        checkpoint: the file that was tested.
        wall_seconds: from start to end.
        provenance: see `Provenance.as_plain`.
        config: the whole configuration as plain data.
        notes: remarks for the reader.
        records: what was measured in full, an entry each, as plain data.
        metrics_about: unit and direction of each measure (see `tasks.reporting.metrics`).
    """

    task: str
    name: str
    mode: str
    metrics: dict[str, float]
    facts: dict[str, Any]
    checkpoint: str | None
    wall_seconds: float
    provenance: dict[str, Any]
    config: dict[str, Any] = field(repr=False)
    notes: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list, repr=False)
    metrics_about: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    @cached_property
    def declared(self) -> dict[str, Metric]:
        """Unit and direction of each measure."""
        return from_plain(self.metrics_about)

    def headline(self) -> dict[str, float]:
        """The figures of the last stage (test, else validation, else all) as a whole, by name.

        Their order is that of `metrics`, where those that say most come first.
        Those of single classes or cells, with a third part in their names, stay out, and details
        such as the precision of small objects.
        """
        whole = {
            name: value
            for name, value in self.metrics.items()
            if name.count("/") < 2 and not metric_of(name, self.declared).detail
        }
        for stage in _LAST_STAGE_FIRST:
            chosen = {k: v for k, v in whole.items() if k.startswith(f"{stage}/")}
            if chosen:
                return chosen
        return whole

    @property
    def test_split(self) -> str:
        """The split that figures under `test/` are of: `val` where a dataset has no test split."""
        return str(self.facts.get("test_split", "test"))

    def label(self, name: str) -> str:
        """What people read as the name of a figure: with its split, if that is another."""
        other = name.startswith("test/") and self.test_split != "test"
        return f"{name} ({self.test_split} split)" if other else name

    def write(self, folder: Path) -> Path:
        """Write `results.json`; a number that is not finite becomes null and is noted.

        Raises:
            ReportError: if it cannot be written.
        """
        notes = list(self.notes)
        metrics = {name: float(value) for name, value in self.metrics.items()}
        plain = plain_data({**_fields(self), "metrics": metrics}, notes)
        plain["notes"] = list(dict.fromkeys(notes))
        path = folder / FILE_NAME
        write_atomically(path, to_json(plain))
        return path


def _fields(results: Results) -> dict[str, Any]:
    return {entry.name: getattr(results, entry.name) for entry in fields(results)}


def read_results(path: Path) -> Results:
    """Read a `results.json` back; null figures become nan, unknown entries are left out.

    Raises:
        ReportError: if the file is missing, cut short or something else.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        known = {entry.name for entry in fields(Results)}
        plain = {key: value for key, value in plain.items() if key in known}
        plain["metrics"] = {
            name: math.nan if value is None else float(value)
            for name, value in plain["metrics"].items()
        }
        results = Results(**plain)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        fault = f"no entry {error}" if isinstance(error, KeyError) else str(error)
        raise _broken(path, fault) from error
    for name in ("facts", "provenance", "config"):
        if not isinstance(getattr(results, name), Mapping):
            raise _broken(path, f"{name} is {getattr(results, name)!r}")
    return results


def _broken(path: Path, fault: str) -> ReportError:
    return ReportError(
        f"{path} is not a results file of this program: {fault}. Run the job again, or remove "
        "its folder."
    )
