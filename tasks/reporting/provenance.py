"""How a result was obtained: command, seed, versions, commit, machine."""

import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "dcls-tasks",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "timm",
    "onedl-mmsegmentation",
    "pycocotools",
    "numpy",
)
_CODE = (":(top)dcls", ":(top)tasks", ":(top)conf", ":(top)pyproject.toml")


@dataclass(frozen=True)
class Provenance:
    """Everything needed to obtain a result again.

    Args:
        command: as it can be typed again.
        overrides: the settings given on the command line.
        seed: of the run.
        started: ISO 8601, UTC.
        versions: of Python and the packages that matter; those not installed are left out.
        commit: of the checkout that the code runs from; None for an installed package.
        dirty: whether that checkout had uncommitted changes; None without one.
        machine: processor, cores and accelerator in words.
    """

    command: str
    overrides: tuple[str, ...]
    seed: int
    started: str
    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    machine: str

    @classmethod
    def gather(cls, overrides: Sequence[str], seed: int) -> "Provenance":
        """Look at this process, now."""
        commit, dirty = _own_state()
        return cls(
            command=shlex.join(["python", "-m", "tasks.run", *overrides]),
            overrides=tuple(overrides),
            seed=seed,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            versions=package_versions(),
            commit=commit,
            dirty=dirty,
            machine=describe_machine(),
        )

    def as_plain(self) -> dict[str, Any]:
        """The same as a dictionary of plain values."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in vars(self).items()}


def package_versions() -> dict[str, str]:
    """Versions of Python and of those of `PACKAGES` that are installed."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def code_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the git checkout that holds `folder`, and whether it has uncommitted changes.

    (None, None) if there is no git, no commit, or if git does not track the code in `folder`;
    never raises.
    """
    try:
        tracked = _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        if not tracked:  # a repository merely around an installed package, as a venv's is
            return None, None
        # new files count too, but only where they take part in a run
        changed = _git(folder, "status", "--porcelain", "--", ".", *_CODE)
        return _git(folder, "rev-parse", "HEAD"), bool(changed)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None, None


@cache  # later jobs of a sweep run the code that was imported for the first one
def _own_state() -> tuple[str | None, bool | None]:
    return code_state(Path(__file__).parent)


def describe_machine() -> str:
    """Processor, cores and accelerator, without a name of the host."""
    import torch  # here: sweeps read results without it

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    words = f"{_processor()}, {cores} cores, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        words += f", {torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return words


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str:
    # inside a git hook, GIT_DIR and the like would lead to another repository
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    ended = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
        env=environment,
    )
    return ended.stdout.strip()
