"""The folder of one run: claimed once, never overwritten."""

import os
from datetime import datetime
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from tasks.errors import SettingError

FOLDER_VARIABLE = "DCLS_TASKS_RUN_FOLDER"
"""Set for the processes of a distributed run, so that all of them share the first one's folder."""


def claim_run_folder(root: str, task: str, name: str, explicit: str | None) -> Path:
    """Make and return a folder that no other run has or had.

    Args:
        root: where runs are kept (setting `runs`).
        task: name of the task, a level of folders of its own.
        name: short name of the run, put behind the time.
        explicit: a folder that the user names instead (setting `run_dir`).

    Raises:
        SettingError: if `explicit` already holds files.
    """
    inherited = os.environ.get(FOLDER_VARIABLE)
    if inherited:
        return Path(inherited)
    if explicit is not None:
        return _claim_named(Path(explicit))
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        return _claim_named(Path(HydraConfig.get().runtime.output_dir))
    plain_name = name.replace("/", "-")  # a timm backbone is called timm/<name>
    return _claim_new(Path(root) / task / f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{plain_name}")


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
