"""The one place where a configuration becomes objects: data, task and trainer."""

from collections.abc import Callable
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf

import dcls
from tasks.config.data import DatasetSettings
from tasks.config.derived import completed
from tasks.config.explicit import is_explicit
from tasks.config.fields import Group
from tasks.config.schema import imported
from tasks.config.task import TaskSettings
from tasks.config.trainer import CallbackSettings
from tasks.data.images import Alteration
from tasks.data.loaders import Loading, TaskData
from tasks.engine.accumulation import (
    accumulate,
    check_validation_interval,
    drop_incomplete_step,
)
from tasks.engine.limits import check_limits
from tasks.engine.optimization import Optimization
from tasks.engine.precision import resolved_precision, with_precision
from tasks.engine.schedule import check_schedule
from tasks.engine.task import Task
from tasks.engine.trained import facts_of
from tasks.engine.trainer import build_trainer
from tasks.engine.unreadable import UnreadableLimit
from tasks.errors import SettingError
from tasks.reporting.provenance import package_versions

_LOADING = [field.name for field in fields(Loading)]


def build_data(
    config: DictConfig,
    training: bool = False,
    check_splits: bool = True,
    alteration: Callable[[TaskData], Alteration] | None = None,
) -> TaskData:
    """The data of group `dataset`; looks at the disk, but reads no sample.

    Args:
        config: the composed configuration.
        training: whether the splits of training are needed too.
        check_splits: whether its splits must be there; False: the caller looks at what it needs.
        alteration: gives, of the data, the alteration of the images of evaluation.
    """
    settings = completed(config, "dataset")
    loading = Loading(**{key: settings[key] for key in _LOADING if key in settings})
    data: TaskData = _built("dataset", settings, DatasetSettings, loading=loading)
    if alteration is not None:
        data.alteration = alteration(data)
    if check_splits:
        data.check(training)
    if training and is_explicit("dataset.batch_size"):
        data.fit_batches(1, given=True)  # now, so that what is refused leaves no folder
    return data


def build_task(config: DictConfig, data: TaskData) -> Task:
    """The task of group `task` around the backbone of group `backbone`."""
    settings = completed(config, "task")
    optim = _plain(config.optim)
    optim.pop("total_batch_size")
    kind = {"features": True} if settings["features"] else {"num_classes": len(data.class_names)}
    backbone_settings = _plain(config.backbone) | kind
    backbone = _build_backbone(dict(backbone_settings), config.compile)
    _check_image_size(backbone, config)
    task: Task = _built(
        "task",
        settings,
        TaskSettings,
        backbone=backbone,
        optimization=Optimization(**optim),
        data=data,
    )
    task.settings = {
        "class": settings["_target_"],
        "task": arguments_of(type(task), settings, TaskSettings),
        "backbone": {k: v for k, v in backbone_settings.items() if k != "pretrained"},
        "optim": optim,
        "data": facts_of(data),
        "config": _plain(config),
        "versions": package_versions(),
    }
    trainer = config.trainer
    return with_precision(task, resolved_precision(trainer.precision, trainer.accelerator))


def build_trainer_for(
    config: DictConfig, data: TaskData, task: Task, folder: Path, training: bool
) -> tuple[L.Trainer, list[str]]:
    """The trainer of a task and its data.

    Args:
        config: the composed configuration.
        data: see `build_data`.
        task: see `build_task`.
        folder: the run folder.
        training: whether it trains; else it only tests.

    Returns:
        The trainer, and what was set otherwise than by default, in words.
    """
    wanted = config.logger.values() if task.protocol is None else ()  # such runs have no curves
    loggers = [
        _built("logger", _plain(one), CallbackSettings, save_dir=str(folder)) for one in wanted
    ]
    callbacks = [
        _built("callbacks", _plain(one), CallbackSettings) for one in config.callbacks.values()
    ]
    if task.protocol is None:  # robustness counts by itself, a condition at a time
        callbacks.append(UnreadableLimit(data))
    trainer = build_trainer(_plain(config.trainer), task, folder, loggers, callbacks)
    notes = []
    if training:
        notes.append(data.fit_batches(trainer.world_size, is_explicit("dataset.batch_size")))
    if task.protocol is None:
        check_limits(_plain(config.trainer), data, trainer.world_size, training)
    accumulate(trainer, config.optim.total_batch_size, data.loading.batch_size)
    if training:
        batches = data.train_batch_count(trainer.world_size)
        if task.optimization.as_released:
            notes.append(drop_incomplete_step(trainer, batches))
        check_validation_interval(trainer, batches)
        check_schedule(trainer, task.optimization, batches)
    return trainer, [note for note in notes if note]


def _build_backbone(settings: dict[str, Any], compiled: bool) -> dcls.Backbone:
    name, pretrained = settings.pop("name"), settings.pop("pretrained")
    backbone = dcls.create_backbone(name, **settings)
    if pretrained is not None:
        dcls.load_checkpoint(backbone, pretrained, head=False)
    if compiled:
        backbone.compile()  # in place, so that the names in checkpoints stay as they are
    return backbone


def _check_image_size(backbone: dcls.Backbone, config: DictConfig) -> None:
    stride, size = backbone.feature_info[-1].stride, config.dataset.get("image_size", None)
    if size is not None and size < stride:
        raise SettingError(
            f"dataset.image_size={size} is smaller than the last stride, {stride}, of "
            f"backbone={config.backbone.name}. Set dataset.image_size={stride} or more, or, for a "
            "ConvNeXt, backbone.stem_stride=2 or 1."
        )


def arguments_of(target: Any, settings: dict[str, Any], base: type[Group]) -> dict[str, Any]:
    """The settings that are arguments of a class; those of `base` that it does not take are not."""
    taken = signature(target).parameters
    declared = {info.alias or name for name, info in base.model_fields.items()}
    return {k: v for k, v in settings.items() if k in taken or k not in declared}


def _built(group: str, settings: dict[str, Any], base: type[Group], **objects: Any) -> Any:
    """The object that `_target_` names, from the other settings of a group and further objects.

    Args:
        group: its name, for messages.
        settings: `_target_` and arguments by name.
        base: the settings that each entry of the group has; not all are arguments.
        **objects: arguments that no setting can be.

    Raises:
        SettingError: there is no such target, or it does not take these arguments.
    """
    target = imported(group, settings["_target_"])
    arguments = arguments_of(target, settings, base)
    try:
        signature(target).bind(**arguments, **objects)
    except TypeError as error:
        raise SettingError(
            f"{settings['_target_']}, which {group}._target_ names, does not take the settings of "
            f"this group: {error}. It takes {', '.join(signature(target).parameters)}."
        ) from error
    return target(**arguments, **objects)


def _plain(group: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(group, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
