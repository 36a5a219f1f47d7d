"""The command that is running, as Hydra knows it: nothing else in the project asks Hydra."""

from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from tasks.errors import SettingError

_COMMAND_LINE = "command-line"


def is_running() -> bool:
    """Whether a command is; of a configuration that was composed otherwise nothing is known."""
    return HydraConfig.initialized()


def overrides() -> list[str]:
    """The settings of the command line, of this job alone in a sweep."""
    return list(HydraConfig.get().overrides.task)


def hydra_overrides() -> list[str]:
    """The settings of the command line that are Hydra's own."""
    return list(HydraConfig.get().overrides.hydra)


def options() -> list[str]:
    """Options of the command line that say where the configuration is, for other processes."""
    hydra = HydraConfig.get()
    own = [one.path for one in hydra.runtime.config_sources if one.provider == _COMMAND_LINE]
    given = [part for path in own for part in ("--config-dir", path)]
    return [*given, "--config-name", str(hydra.job.config_name)]


def choice(group: str) -> str | None:
    """The entry of a group that was composed."""
    chosen = HydraConfig.get().runtime.choices.get(group)
    return None if chosen is None else str(chosen)


def is_sweep() -> bool:
    """Whether this is a job of a sweep."""
    return HydraConfig.get().mode is RunMode.MULTIRUN


def job_folder() -> Path:
    """The folder of this job of a sweep."""
    return Path(HydraConfig.get().runtime.output_dir)


def config_name() -> str | None:
    """The name of the primary configuration."""
    return HydraConfig.get().job.config_name


def config_loader() -> ConfigLoader:
    """What finds configurations by name.

    Raises:
        SettingError: no command is running.
    """
    loader = GlobalHydra.instance().config_loader()
    if loader is None:
        raise SettingError("no command is running: call python -m tasks.run")
    return loader
