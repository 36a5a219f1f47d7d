"""Every group of settings held against its model, before anything is built or any file written."""

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from dcls.backbones import list_convnexts
from tasks.config.backbone import BackboneSettings, ConvNextSettings
from tasks.config.benchmark import BenchmarkGroup
from tasks.config.data import DatasetSettings
from tasks.config.describe import allowed
from tasks.config.fields import Group
from tasks.config.optim import OptimSettings
from tasks.config.run import RunSettings
from tasks.config.signatures import model_of_signature
from tasks.config.task import TaskSettings
from tasks.config.trainer import (
    CallbackSettings,
    ExperimentSettings,
    ModeSettings,
    TrainerSettings,
)
from tasks.errors import SettingError, TaskError

DOCUMENT = "docs/settings.md"
FIXED: dict[str, type[Group]] = {
    "optim": OptimSettings,
    "trainer": TrainerSettings,
    "experiment": ExperimentSettings,
    "mode": ModeSettings,
    "benchmark": BenchmarkGroup,
}
BROUGHT: dict[str, type[Group]] = {"task": TaskSettings, "dataset": DatasetSettings}
"""Groups whose models are those of the classes that they name."""
_OF_ENTRIES = ("logger", "callbacks")
_KNOWN = {*RunSettings.model_fields, *BROUGHT, "backbone"}
_GIVEN = frozenset({"loading", "data", "backbone", "optimization", "save_dir"})
"""Arguments that are objects or follow from the run, not settings."""


def check_schema(config: DictConfig) -> None:
    """Raise `SettingError` for the first setting that is not what its model says.

    Groups that a checkpoint may bring are left to `check_brought`.

    Args:
        config: the composed configuration.
    """
    groups = _plain(config)
    top = {key: value for key, value in groups.items() if key in RunSettings.model_fields}
    _check(RunSettings, top, "")
    for name, value in groups.items():
        if name in FIXED:
            if name != "experiment" or value is not None:
                _check(FIXED[name], value, name)
        elif name in _OF_ENTRIES:
            if not isinstance(value, Mapping):
                raise SettingError(f"{name}={shown(value)} must be a group of settings{_see(name)}")
            for key, one in value.items():
                path = f"{name}.{key}"
                _check(model_of(path, one, CallbackSettings), one, path)
        elif name not in _KNOWN and not isinstance(value, Mapping):
            raise SettingError(_unknown(name, value, RunSettings))


def check_brought(config: DictConfig) -> None:
    """Like `check_schema`, for the groups that a checkpoint may bring: task, dataset, backbone.

    Args:
        config: the configuration, with what the checkpoint brings.
    """
    groups = _plain(config)
    name = groups["backbone"].get("name") if isinstance(groups["backbone"], Mapping) else None
    convnext = name in list_convnexts()
    _check(ConvNextSettings if convnext else BackboneSettings, groups["backbone"], "backbone")
    for group, base in BROUGHT.items():
        value = groups[group]
        if not isinstance(value, Mapping) or "_target_" in value:  # random images have none
            _check(model_of(group, value, base), value, group)


def _plain(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def model_of(group: str, settings: Any, base: type[Group]) -> type[BaseModel]:
    """The model of a task or dataset: the `settings_model` of the class that `_target_` names.

    A class without one, such as of a plugin, may have the settings of `base` and the arguments of
    its constructor, of any type.
    """
    if not isinstance(settings, Mapping) or not isinstance(settings.get("_target_"), str):
        return base
    target = imported(group, settings["_target_"])
    own = getattr(target, "settings_model", None)
    if isinstance(own, type) and issubclass(own, BaseModel):
        return own
    return model_of_signature(target, base, _GIVEN)


def imported(group: str, target: str) -> Any:
    """What `_target_` of a group names.

    Raises:
        SettingError: it cannot be imported.
    """
    try:
        module, _, name = target.rpartition(".")
        return getattr(import_module(module), name)
    except TaskError:  # such as a library of the system that is missing
        raise
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise SettingError(
            f"{group}._target_={target} cannot be imported: {error}{_see(group)}"
        ) from error


def _check(model: type[BaseModel], value: Any, path: str) -> None:
    try:
        model.model_validate(value)
    except ValidationError as error:
        raise SettingError(_message(model, value, path, error)) from None


def _message(model: type[BaseModel], value: Any, path: str, error: ValidationError) -> str:
    first = error.errors()[0]
    if not isinstance(value, Mapping):
        return f"{path}={shown(value)} must be a group of settings{_see(path)}"
    field, here = None, path
    found: Any = value
    for key in first["loc"]:
        known = {info.alias or name: info for name, info in model.model_fields.items()}
        name = f"{here}.{key}" if here else str(key)
        if key not in known:
            if first["type"] == "extra_forbidden" and isinstance(found, Mapping):
                return _unknown(name, found.get(key), model)
            break
        field, here = known[str(key)], name
        found = found.get(key) if isinstance(found, Mapping) else None
        inner = field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        if not isinstance(found, Mapping):
            break
        model = inner
    assert isinstance(field, FieldInfo)
    if first["type"] == "missing":
        return f"{here} is missing: {field.description}. It must be {allowed(field)}{_see(here)}"
    most = first.get("ctx", {}).get("le")
    limit = f", at most {most}" if first["type"] == "less_than_equal" else ""
    return f"{here}={shown(found)} must be {allowed(field)}{limit}{_see(here)}"


def _unknown(name: str, value: Any, model: type[BaseModel]) -> str:
    group, _, key = name.rpartition(".")
    known = [info.alias or field for field, info in model.model_fields.items()]
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        better = f"{group}.{near[0]}" if group else near[0]
        help_text = f"Did you mean {better}?"
    else:
        help_text = f"{f'Group {group} has' if group else 'There are'} {', '.join(known)}."
    return f"{name}={shown(value)}: there is no such setting. {help_text} See {DOCUMENT}"


def shown(value: Any) -> str:
    """A value as it can be typed on the command line."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{shown(one)}' for key, one in value.items())}}}"
    return str(value)


def _see(path: str) -> str:
    return f". See {DOCUMENT}#{path.partition('.')[0]}"
