"""The figures of a run and how they were obtained, kept in `results.json`."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.errors import ReportError
from tasks.reporting.files import write_atomically

FILE_NAME = "results.json"


@dataclass(frozen=True)
class Results:
    """What one run found.

    Args:
        task: name of the task.
        name: name of the run.
        mode: what was done.
        metrics: figures by name, such as `test/top1`.
        facts: numbers of samples, steps and the like.
        checkpoint: the file that was tested.
        wall_seconds: from start to end.
        provenance: see `Provenance.as_plain`.
        config: the whole configuration as plain data.
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

    def write(self, folder: Path) -> Path:
        """Write `results.json`; a figure that is no finite number becomes null and is noted."""
        bad = sorted(name for name, value in self.metrics.items() if not math.isfinite(value))
        plain = dict(vars(self))
        plain["metrics"] = {
            name: None if name in bad else value for name, value in sorted(self.metrics.items())
        }
        if bad:
            plain["notes"] = [f"{name} was not a finite number" for name in bad]
        path = folder / FILE_NAME
        write_atomically(path, json.dumps(plain, indent=2, allow_nan=False) + "\n")
        return path


def read_results(path: Path) -> Results:
    """Read a `results.json` back; null figures become nan.

    Raises:
        ReportError: if the file is missing, cut short or something else.
    """
    try:
        plain = json.loads(path.read_text())
        plain.pop("notes", None)
        plain["metrics"] = {
            name: math.nan if value is None else float(value)
            for name, value in plain["metrics"].items()
        }
        return Results(**plain)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReportError(
            f"{path} is not a results file of this program: {error}. Run the job again, or remove "
            "its folder."
        ) from error
