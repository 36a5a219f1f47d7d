"""Settings that several parts of a run need: each is set in one place, and handed on from there.

A task declares which arguments follow which of its settings (`derived_settings`).
"""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tasks.config.schema import imported
from tasks.errors import SettingError

_OF_SOME_TASKS = ("detector", "eval", "tta")
"""Settings without a group that only some tasks have."""
_MOVED = {"dataset.stem_stride": "backbone.stem_stride"}
"""Other names of settings that users may look for."""


def completed(config: DictConfig, group: str) -> dict[str, Any]:
    """A group as plain data, in which the arguments that follow a setting have its value."""
    plain = OmegaConf.to_container(config[group], resolve=True)
    assert isinstance(plain, dict)
    own = {str(key): value for key, value in plain.items()}
    for setting, argument in _derived(config):
        first, *groups, name = argument.split(".")
        value = OmegaConf.select(config, setting)
        if first != group or value is None:
            continue
        inner: Any = own
        for key in groups:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner[name] = value
    return own


def check_one_place(config: DictConfig) -> None:
    """Raise `SettingError` for a setting of another task, or an argument that only follows one."""
    own = {setting for setting, _ in _derived(config)}
    for setting in _OF_SOME_TASKS:
        value = OmegaConf.select(config, setting)
        if value is not None and setting not in own:
            raise SettingError(
                f"{setting}={value} is no setting of task={config.task.name}. Leave it out, or "
                "choose a task that has it."
            )
    moved = ((new, old) for old, new in _MOVED.items())
    for setting, argument in (*_derived(config), *moved):
        value = OmegaConf.select(config, argument)
        if value is not None:
            raise SettingError(
                f"{argument}={value} cannot be set: it follows {setting}. Set {setting}={value}."
            )


def in_one_place(run: DictConfig) -> None:
    """Move the settings of an earlier version's run to the one place that counts now."""
    for setting, argument in _derived(run):
        value = OmegaConf.select(run, argument)
        if value is None:
            continue
        OmegaConf.update(run, setting, value)  # what it was trained with
        group, _, key = argument.rpartition(".")
        OmegaConf.select(run, group).pop(key)
    package = run.task.pop("wing", None)  # of the task, where its variant of dataset=shapes is
    if package is not None and "shapes" not in run.task:
        run.task.shapes = f"tasks.{package}.data.Shapes"
    for old in _MOVED:  # the run's resolved configuration has the new one, too
        group, _, key = old.rpartition(".")
        OmegaConf.select(run, group).pop(key, None)


def _derived(config: DictConfig) -> Iterator[tuple[str, str]]:
    """Settings of the task, each with an argument that follows it."""
    target = imported("task", str(config.task.get("_target_")))
    for setting, arguments in getattr(target, "derived_settings", {}).items():
        for argument in arguments:
            yield setting, argument
