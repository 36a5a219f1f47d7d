"""What was set explicitly: on the command line, in an experiment, or in a config file of the user.

All other values of a composed configuration are defaults of this project. A default may give way to
what a checkpoint's run or its weights say; an explicit value never does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.plugins.config_source import ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from tasks.config import command

_SHIPPED = ("pkg://conf", "pkg://hydra.conf", "structured://")
"""Where the defaults lie: of this project and of Hydra."""
_EXPERIMENT = "experiment/"


@dataclass(frozen=True)
class Explicit:
    """Names of what was set explicitly.

    Args:
        values: dotted names of settings, such as `backbone.version`.
        choices: groups of which an entry was chosen, such as `backbone`.
        added: those of `values` that were added with a plus, so that nobody checked their names.
    """

    values: frozenset[str]
    choices: frozenset[str]
    added: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Whether a setting was set, or anything in it or around it."""
        return any(
            name == one or name.startswith(f"{one}.") or one.startswith(f"{name}.")
            for one in self.values
        )

    def within(self, group: str) -> tuple[str, ...]:
        """Names of the settings of a group that were set, without the group's name in front."""
        inside = (one for one in self.values if one.startswith(f"{group}."))
        return tuple(sorted(one.removeprefix(f"{group}.") for one in inside))


def explicit_settings() -> Explicit:
    """What was set explicitly for the job that Hydra is running."""
    given = (*command.hydra_overrides(), *command.overrides())
    return _found(command.config_loader(), command.config_name(), given)


@lru_cache(maxsize=1)  # of the job that runs: several places ask, and each look reads all files
def _found(loader: ConfigLoader, config_name: str | None, overrides: tuple[str, ...]) -> Explicit:
    composed = loader.compute_defaults_list(config_name, list(overrides), RunMode.RUN)
    values: set[str] = set()
    choices: set[str] = set()
    for entry in composed.defaults:
        if entry.config_path is None or not _is_explicit(loader, entry.config_path):
            if entry.override_key and entry.parent and _is_explicit(loader, entry.parent):
                choices.add(entry.override_key)
            continue
        values.update(_names(_content(loader, entry.config_path), entry.package or ""))
        if entry.override_key:
            choices.add(entry.override_key)
    added: set[str] = set()
    for override in composed.config_overrides:
        if not override.is_delete():
            names = set(_names(override.value(), override.key_or_group))
            values |= names
            added |= names if override.is_add() or override.is_force_add() else set()
    for group, about in composed.overrides.override_metadata.items():
        where = about.containing_config_path
        if about.external_override or (where is not None and _is_explicit(loader, where)):
            choices.add(group)
    own = frozenset(name for name in values if not name.startswith("hydra."))
    return Explicit(own, frozenset(choices), frozenset(added))


def is_explicit(name: str) -> bool:
    """Whether a setting was set explicitly; of a configuration without a command nothing was."""
    if not command.is_running():
        return False
    given = (override.partition("=")[0] for override in command.overrides())
    # The command line mostly tells; only otherwise all config files are read once more.
    return any(key.lstrip("+") == name for key in given) or explicit_settings().has(name)


def _is_explicit(loader: ConfigLoader, path: str) -> bool:
    """Whether what a config file says is a wish: of an experiment, or of a file of the user."""
    source = _source(loader, path)
    return source is not None and (
        path.startswith(_EXPERIMENT) or not source.full_path().startswith(_SHIPPED)
    )


def _source(loader: ConfigLoader, path: str) -> ConfigSource | None:
    return next((one for one in loader.get_sources() if one.is_config(path)), None)


def _content(loader: ConfigLoader, path: str) -> Any:
    source = _source(loader, path)
    assert source is not None
    content = source.load_config(path).config
    assert isinstance(content, DictConfig)
    content = content.copy()
    OmegaConf.set_struct(content, False)
    content.pop("defaults", None)
    return OmegaConf.to_container(content, resolve=False)


def _names(value: Any, name: str) -> Iterator[str]:
    """Dotted names of the leaves of a value."""
    if not isinstance(value, Mapping) or not value:
        yield name
        return
    for key, inner in value.items():
        yield from _names(inner, f"{name}.{key}" if name else str(key))
