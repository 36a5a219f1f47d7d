"""Settings that several parts of a run need: each is set in one place, and handed on from there."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tasks.errors import SettingError

_IMAGE_SIZE: dict[str, tuple[str, ...]] = {"dataset.image_size": ("dataset.recipe.image_size",)}
_PLACES: dict[str, dict[str, tuple[str, ...]]] = {
    "cls": _IMAGE_SIZE,
    "seg": {
        "eval": ("task.inference.mode",),
        "tta": ("task.inference.tta", "dataset.recipe.tta"),
        **_IMAGE_SIZE,
    },
    "det": {
        "detector": ("task.detector", "dataset.detector"),
        "dataset.image_size": ("dataset.side",),
    },
}
"""By task: the setting that a user sets, and the arguments that follow it."""
_MOVED = {"dataset.stem_stride": "backbone.stem_stride"}
"""Other names of settings that users may look for."""


def completed(config: DictConfig, group: str) -> dict[str, Any]:
    """A group as plain data, in which the arguments that follow a setting have its value."""
    plain = OmegaConf.to_container(config[group], resolve=True)
    assert isinstance(plain, dict)
    own = {str(key): value for key, value in plain.items()}
    for setting, place in _places(config):
        first, *groups, name = place.split(".")
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
    for task, settings in _PLACES.items():
        for setting in settings:
            value = OmegaConf.select(config, setting)
            other = setting not in _PLACES.get(config.task.name, {})
            if "." not in setting and other and value is not None:
                raise SettingError(
                    f"{setting}={value} is a setting of task={task}, not of "
                    f"task={config.task.name}. Leave it out, or set task={task}."
                )
    for setting, place in (*_places(config), *((new, old) for old, new in _MOVED.items())):
        value = OmegaConf.select(config, place)
        if value is not None:
            raise SettingError(
                f"{place}={value} cannot be set: it follows {setting}. Set {setting}={value}."
            )


def in_one_place(run: DictConfig) -> None:
    """Move the settings of an earlier version's run to the one place that counts now."""
    for setting, place in _places(run):
        value = OmegaConf.select(run, place)
        if value is None:
            continue
        OmegaConf.update(run, setting, value)  # what it was trained with
        group, _, key = place.rpartition(".")
        OmegaConf.select(run, group).pop(key)
    for old in _MOVED:  # the run's resolved configuration has the new one, too
        group, _, key = old.rpartition(".")
        OmegaConf.select(run, group).pop(key, None)


def _places(config: DictConfig) -> Iterator[tuple[str, str]]:
    for setting, places in _PLACES.get(config.task.name, {}).items():
        for place in places:
            yield setting, place
