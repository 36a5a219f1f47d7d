"""The documentation of all settings, made of their models: `python -m tasks.config.document`."""

import sys
from collections.abc import Iterator
from importlib.resources import files
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from pydantic import BaseModel

from tasks.config.backbone import BackboneSettings, ConvNextSettings
from tasks.config.data import DatasetSettings
from tasks.config.describe import allowed
from tasks.config.run import RunSettings
from tasks.config.schema import FIXED, model_of
from tasks.config.task import TaskSettings
from tasks.config.trainer import CallbackSettings

HEAD = """# Settings

Every setting of `python -m tasks.run`, as `name=value`. The defaults are in `conf/`;
`python -m tasks.run --cfg job`, with the settings of a command, shows what they come to.
This page is made of the models that each command is held against, by
`python -m tasks.config.document > docs/settings.md`.
"""
Models = dict[type[BaseModel], list[str]]


def document() -> str:
    """The page, as Markdown."""
    parts = [HEAD, "## Without a group\n", _table(RunSettings, "", anchors=True)]
    for group, models in {**_by_choice(), **_of_one_model()}.items():
        parts.append(f"## {group}\n")
        for model, choices in models.items():
            if choices:
                parts.append(f"### {', '.join(choices)}\n")
            parts.append(f"{(model.__doc__ or '').strip().splitlines()[0]}\n")
            parts.append(_table(model, f"{group}.", anchors=False))
    return "\n".join(parts)


def _of_one_model() -> dict[str, Models]:
    """Groups that have the same settings whatever is chosen."""
    backbones: Models = {BackboneSettings: ["any backbone"], ConvNextSettings: ["a ConvNeXt"]}
    fixed: dict[str, Models] = {name: {model: []} for name, model in FIXED.items()}
    each: Models = {CallbackSettings: ["each entry"]}
    return {"backbone": backbones, **fixed, "logger": each, "callbacks": each}


def _by_choice() -> dict[str, Models]:
    """Models of tasks and datasets, with the choices that have them."""
    tasks: Models = {}
    datasets: Models = {}
    with initialize_config_module("conf", version_base="1.3"):
        for task in _choices("task"):
            config = _plain(f"task={task}")
            if config["task"]["name"] == task:  # others only choose one of these
                model = model_of("task", config["task"], TaskSettings)
                tasks.setdefault(model, []).append(f"task={task}")
        served = [choice.removeprefix("task=") for choices in tasks.values() for choice in choices]
        for dataset in _choices("dataset"):
            found = {task: _plain(f"dataset={dataset}", f"task={task}") for task in served}
            serving = {t: c["dataset"] for t, c in found.items() if t in c["dataset"]["tasks"]}
            for task, settings in serving.items():
                model = model_of("dataset", settings, DatasetSettings)
                name = f"dataset={dataset}" + (f" task={task}" if len(serving) > 1 else "")
                datasets.setdefault(model, []).append(name)
    return {"task": tasks, "dataset": datasets}


def _choices(group: str) -> list[str]:
    names = (path.name for path in files("conf").joinpath(group).iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def _plain(*overrides: str) -> dict[str, Any]:
    plain = OmegaConf.to_container(compose("run", overrides=list(overrides)))
    assert isinstance(plain, dict)
    plain = {str(key): value for key, value in plain.items()}
    resolved = OmegaConf.to_container(OmegaConf.create(plain), resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def _table(model: type[BaseModel], prefix: str, anchors: bool) -> str:
    lines = ["| setting | what it may be | what it does |", "| --- | --- | --- |"]
    for name, may_be, text in _rows(model, prefix):
        anchor = f'<a id="{name}"></a>' if anchors else ""
        lines.append(f"| {anchor}`{name}` | {may_be} | {text.replace('<', '&lt;')} |")
    return "\n".join(lines) + "\n"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for field, info in model.model_fields.items():
        name = f"{prefix}{info.alias or field}"
        inner = _group(info.annotation)
        if inner is None:
            yield name, allowed(info), info.description or ""
        else:
            yield from _rows(inner, f"{name}.")


def _group(annotation: Any) -> type[BaseModel] | None:
    """The model of a field that is a group itself, perhaps an optional one."""
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return next(filter(None, map(_group, get_args(annotation))), None)
    is_group = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_group else None


if __name__ == "__main__":
    sys.stdout.write(document())
