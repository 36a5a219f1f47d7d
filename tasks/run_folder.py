"""The folder of one run: claimed once, never overwritten."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.config import command
from tasks.errors import ReportError, SettingError
from tasks.reporting.files import to_json, write_atomically
from tasks.reporting.results import FILE_NAME as RESULTS_FILE

FOLDER_VARIABLE = "DCLS_TASKS_RUN_FOLDER"
"""Set for the processes of a distributed run, so that all of them share the first one's folder."""
PROTOCOL_FILE = "protocol.json"
"""In the folder of a run that can be continued: what it evaluates, and how."""
_PLACES = (".checkpoint", ".root")
"""Ends of names of settings that only say where a thing lies."""


def claim_run_folder(
    root: str,
    task: str,
    name: str,
    explicit: str | None,
    protocol: Mapping[str, Any] | None = None,
) -> Path:
    """Make and return a folder that no other run has or had, or that of a run to be continued.

    Args:
        root: where runs are kept (setting `runs`).
        task: name of the task, a level of folders of its own.
        name: short name of the run, put behind the time.
        explicit: a folder that the user names instead (setting `run_dir`).
        protocol: of a run that can be continued: if `explicit` holds an unfinished run of an
            equal one, that folder is returned.

    Raises:
        SettingError: if `explicit` already holds files, of a run that cannot be continued.
    """
    inherited = os.environ.get(FOLDER_VARIABLE)
    if inherited:
        return Path(inherited)
    if explicit is not None:
        folder = Path(explicit)
        if protocol is not None and (folder / PROTOCOL_FILE).is_file():
            check_continues(folder, protocol)
            return folder.resolve()
        return _claim_named(folder)
    if command.is_sweep():
        return _claim_named(command.job_folder())
    plain_name = name.replace("/", "-")  # a timm backbone is called timm/<name>
    return _claim_new(Path(root) / task / f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{plain_name}")


@contextmanager
def removed_if_refused(folder: Path) -> Iterator[None]:
    """Remove a folder in which nothing was written yet, if what follows raises an error."""
    try:
        yield
    except Exception:
        with suppress(OSError):  # not empty: of a run that is continued
            folder.rmdir()
        raise


def check_continues(folder: Path, protocol: Mapping[str, Any]) -> None:
    """Raise `SettingError` unless the run in a folder is unfinished and has an equal protocol."""
    if (folder / RESULTS_FILE).is_file() and (folder / "report.html").is_file():
        raise SettingError(
            f"The run in {folder} has ended; its report is {folder / 'report.html'}. Choose "
            "another run_dir=..., or leave it out to evaluate anew in a new folder."
        )
    earlier = read_protocol(folder)
    plain = json.loads(json.dumps(protocol))
    differing = [
        f"{key} is {here!r}, there {there!r}"
        for key, (here, there) in differing_settings(plain, earlier).items()
        if not key.endswith(_PLACES)
    ]
    if differing:
        raise SettingError(
            f"The run in {folder} was begun with other settings and cannot go on with these: "
            f"{'; '.join(differing)}. Use the settings that it was begun with, or another run_dir."
        )


def differing_settings(
    own: Mapping[str, Any], other: Mapping[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Values of `own` and `other` where they differ, by dotted name; None where one has none."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys((*own, *other)):
        here, there = own.get(key), other.get(key)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            found |= differing_settings(here, there, f"{prefix}{key}.")
        elif here != there:
            found[f"{prefix}{key}"] = (here, there)
    return found


def write_protocol(folder: Path, protocol: Mapping[str, Any]) -> None:
    """Write down what a run that can be continued is about."""
    write_atomically(folder / PROTOCOL_FILE, to_json(protocol))


def read_protocol(folder: Path) -> dict[str, Any]:
    """What `write_protocol` wrote.

    Raises:
        ReportError: if there is none, or it cannot be read.
    """
    path = folder / PROTOCOL_FILE
    try:
        protocol = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(protocol, dict):
            raise ValueError(f"it holds {protocol!r}")
    except (OSError, ValueError) as error:
        raise ReportError(
            f"{folder} is no folder of a robustness run: {path.name} cannot be read ({error}). "
            "Give the folder that such a run printed."
        ) from error
    return protocol


def _claim_named(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SettingError(
            f"{folder} already holds files, and a run never overwrites another. Choose another "
            "run_dir=..., leave it out to get a new folder, or remove the old one yourself."
        )
    return folder.resolve()


def _claim_new(wanted: Path) -> Path:
    wanted.parent.mkdir(parents=True, exist_ok=True)
    folder, count = wanted, 1
    while True:
        try:
            folder.mkdir()  # atomic: of two runs started in one second, one gets the next number
            return folder.resolve()
        except FileExistsError:
            count += 1
            folder = wanted.with_name(f"{wanted.name}-{count}")
