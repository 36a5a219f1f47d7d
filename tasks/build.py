"""The one place where a configuration becomes objects: data, task and trainer."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import lightning as L
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf

import dcls
from tasks.derived import completed
from tasks.errors import SettingError
from tasks.training.callbacks import PositionRecorder
from tasks.training.loaders import Loading, TaskData
from tasks.training.optimization import Optimization
from tasks.training.pictures import Alteration
from tasks.training.task import Task
from tasks.training.trained import facts_of
from tasks.training.trainer import accumulate, build_trainer
from tasks.training.unreadable import UnreadableLimit

_LOADING = [field.name for field in fields(Loading)]


@dataclass
class Job:
    """Everything that a mode works with.

    Args:
        task: the model and how it is trained and scored.
        data: the splits.
        trainer: runs the loops.
        checkpoint: what the user gave as `ckpt`.
    """

    task: Task
    data: TaskData
    trainer: L.Trainer
    checkpoint: str | None

    @property
    def best_checkpoint(self) -> str:
        """Path of the best checkpoint so far, empty if none was written."""
        return self._best.best_model_path

    def best_scores(self) -> dict[str, float]:
        """The validation figure of the best checkpoint, by the name of its metric."""
        score = self._best.best_model_score
        return {} if score is None else {self.task.monitor: float(score)}

    @property
    def initial_positions(self) -> dict[str, Any]:
        """Positions before training; empty if nothing was trained."""
        recorders = [c for c in self._callbacks if isinstance(c, PositionRecorder)]
        return recorders[0].initial

    def load_weights(self, path: str) -> None:
        """Load a checkpoint's weights into the task (see `Task.load_weights`)."""
        self.task.load_weights(path)

    @property
    def _callbacks(self) -> list[Any]:
        return list(getattr(self.trainer, "callbacks", []))

    @property
    def _best(self) -> ModelCheckpoint:
        return next(c for c in self._callbacks if isinstance(c, ModelCheckpoint) and c.monitor)


def build_data(config: DictConfig, alteration: Alteration | None = None) -> TaskData:
    """The data of group `dataset`; looks at the disk, but reads no sample.

    Args:
        config: the composed configuration.
        alteration: of the pictures of evaluation.
    """
    settings = _plain(completed(config).dataset)
    loading = Loading(**{key: settings.pop(key) for key in _LOADING if key in settings})
    for key in ("tasks", "image_size", "hints"):
        settings.pop(key, None)
    data: TaskData = _factory(settings)(loading=loading)
    data.alteration = alteration
    data.check(config.mode)
    return data


def build_task(config: DictConfig, data: TaskData) -> Task:
    """The task of group `task` around the backbone of group `backbone`."""
    settings = _plain(completed(config).task)
    for key in ("name", "wing"):
        settings.pop(key)
    features = settings.pop("features")
    optim = _plain(config.optim)
    optim.pop("total_batch_size")
    kind = {"features": True} if features else {"num_classes": len(data.class_names)}
    backbone_settings = _plain(config.backbone) | kind
    backbone = _build_backbone(dict(backbone_settings), config.compile)
    _check_image_size(backbone, config)
    task: Task = _factory(settings)(
        backbone=backbone,
        optimization=Optimization(**optim),
        data=data,
    )
    task.settings = {
        "class": settings.pop("_target_"),
        "task": settings,
        "backbone": {k: v for k, v in backbone_settings.items() if k != "pretrained"},
        "optim": optim,
        "data": facts_of(data),
    }
    return task


def build_job(config: DictConfig, data: TaskData, task: Task, folder: Path) -> Job:
    """Put the trainer to a task and its data.

    Args:
        config: the composed configuration.
        data: see `build_data`.
        task: see `build_task`.
        folder: the run folder.
    """
    wanted = config.logger.values() if task.protocol is None else ()  # such runs have no curves
    loggers = [_factory(_plain(one))(save_dir=str(folder)) for one in wanted]
    callbacks = [_factory(_plain(one))() for one in config.callbacks.values()]
    if task.protocol is None:  # robustness counts by itself, a condition at a time
        callbacks.append(UnreadableLimit(data))
    trainer = build_trainer(_plain(config.trainer), task, folder, loggers, callbacks)
    data.check_batches(config.mode, trainer.world_size)
    if config.optim.total_batch_size is not None:
        accumulate(trainer, config.optim.total_batch_size, data.loading.batch_size)
    return Job(task, data, trainer, config.ckpt)


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


def _factory(settings: dict[str, Any]) -> Callable[..., Any]:
    # A partial, completed by plain Python: objects given to Hydra would be copied.
    partial: Callable[..., Any] = instantiate(settings, _partial_=True, _convert_="all")
    return partial


def _plain(group: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(group, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
