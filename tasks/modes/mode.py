"""What every mode is: settings in, a result out, and nothing left behind by what is refused."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any, ClassVar

from omegaconf import DictConfig

from tasks.reporting.metrics import Declared
from tasks.reporting.page import Section, Table
from tasks.reporting.positions import Movement
from tasks.reporting.provenance import Provenance


@dataclass
class Result:
    """What a mode found.

    Args:
        metrics: values by name, such as `test/top1`.
        checkpoint: the file that was used.
        facts: how many samples were used, and the like.
        notes: remarks for the reader.
        records: see `tasks.reporting.results.Results`.
        sections: what the report shows beside the metrics.
        headline: the table at the top of the report; None: the metrics of the last stage.
        printed: the table on the terminal; None: `headline`.
        declared: unit and direction of the metrics.
        movements: positions before and after training, by layer.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    checkpoint: str | None = None
    facts: dict[str, int | float | str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    sections: Sequence[Section] = ()
    headline: Table | None = None
    printed: Table | None = None
    movements: Mapping[str, Movement] = field(default_factory=dict)
    declared: Declared = field(default_factory=dict)


class Mode(ABC):
    """One way to use a model.

    A job calls, in this order: `with_checkpoint`, `check`, the constructor, `start`, `opening` and
    `run`. Whatever can be refused is refused by the first three, which write nothing, or by
    `start`, whose folder is removed again if it is still empty.

    Args:
        config: the settings, as `with_checkpoint` returned them.
    """

    takes_checkpoint: ClassVar[str] = "one"
    """What setting `ckpt` may be: `one` file or none, a `required` file, or `several`."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config

    @classmethod
    def with_checkpoint(cls, config: DictConfig) -> DictConfig:
        """The settings, with those that a checkpoint brings with it."""
        return config

    @classmethod  # noqa: B027 - most modes need none
    def check(cls, config: DictConfig) -> None:
        """Raise `SettingError` for settings that this mode cannot work with."""

    @property
    def folder_group(self) -> str | None:
        """The folder below `runs` that run folders are in; None: the mode has no run folder."""
        return str(self.config.task.name)

    @property
    def protocol(self) -> Mapping[str, Any] | None:
        """Of a run that can be continued in its folder: what it evaluates, and how."""
        return None

    @property
    def child_overrides(self) -> list[str]:
        """Settings that other processes of the job are given beside the command's own."""
        return []

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes results."""
        return True

    @property
    def children(self) -> list[Popen[bytes]]:
        """Processes that the mode has started."""
        return []

    def environment(self) -> AbstractContextManager[None]:
        """What holds while the mode runs, such as the number of threads."""
        return nullcontext()

    def start(self, folder: Path) -> None:  # noqa: B027
        """Prepare to run in a folder."""

    def opening(self) -> list[str]:
        """What is said before the mode runs, a line each."""
        return []

    @abstractmethod
    def run(self, provenance: Provenance) -> Result:
        """Do it.

        Args:
            provenance: how the run came about, for files beside the report.
        """
