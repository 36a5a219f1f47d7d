"""From a configuration to a benchmark: models on random images, without a dataset."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import lightning as L
import timm
from lightning.fabric.plugins.precision import MixedPrecision
from omegaconf import DictConfig, OmegaConf

import dcls
from dcls.backbones import TIMM_PREFIX
from dcls.errors import CheckpointError
from tasks.benchmark.benchmark import Benchmark
from tasks.benchmark.models import spread_positions
from tasks.benchmark.random_images import RandomImages
from tasks.benchmark.settings import BenchmarkSettings
from tasks.build import build_task
from tasks.config.explicit import explicit_settings
from tasks.config.schema import imported
from tasks.engine.benchmarking import BenchmarkSizes
from tasks.engine.precision import device_type, resolved_precision
from tasks.engine.task import Task
from tasks.engine.trained import trained_settings
from tasks.errors import SettingError
from tasks.modes.checkpoint_settings import as_trained
from tasks.trained_runs import source_of

_BOXES_ALONE = "faster_rcnn"
_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def benchmarked(config: DictConfig) -> DictConfig:
    """The configuration with random images as its dataset, and the backbone of `ckpt`.

    What other groups take from a dataset has thereby the values of the published models: a stem of
    stride 4, the full width of detectors.

    Raises:
        SettingError: a checkpoint that is missing or of another task.
    """
    own = config.copy()
    OmegaConf.set_struct(own, False)
    own.dataset = {"name": "random"}
    if isinstance(config.ckpt, str):
        source = source_of(config.ckpt)
        own = as_trained(own, source, ("task", "backbone"))
        if own.benchmark.classes is None and source.weights is not None:
            own.benchmark.classes = _trained_classes(source.weights)
    own.dataset.tasks = [own.task.name]
    if not explicit_settings().has("name"):
        own.name = "${backbone.name}-${task.name}"
    return own


def _trained_classes(weights: Path) -> int | None:
    """The number of classes of a run's checkpoint; None: nobody says."""
    trained = trained_settings(weights)
    return len(trained["data"]["class_names"]) if trained and "data" in trained else None


def build_benchmark(config: DictConfig) -> Benchmark:
    """The models, with their weights or with spread positions, and how they are timed.

    Args:
        config: as `benchmarked` returns it.

    Raises:
        SettingError: settings that do not fit.
        dcls.DclsError: no such backbone, or weights that do not fit.
    """
    name = config.task.name
    usual = _usual_sizes(config)
    given = BenchmarkSettings(**cast(dict[str, Any], _plain(config.benchmark)))
    settings = given.completed(usual)
    if config.compile:
        raise SettingError(
            "compile=true is for the other modes; set benchmark.variants=[plain,compiled] to time "
            "a model with and without it."
        )
    compared = [config.compare] if isinstance(config.compare, str) else list(config.compare or ())
    _check_names(compared)
    fabric = _fabric(config.trainer.accelerator, config.trainer.precision)
    assert settings.classes is not None
    data = RandomImages(settings.classes, config.get("detector") != _BOXES_ALONE)
    tasks = {config.backbone.name: build_task(config, data)}
    _load(tasks[config.backbone.name], config, settings.classes)
    for other in compared:
        own = config.copy()
        own.backbone = {"name": other, "pretrained": None}
        tasks[_free(other, tasks)] = build_task(own, data)
    _check_size(tasks, settings)
    notes = _spread(tasks, config) + _remarks(config, settings, usual, tasks[config.backbone.name])
    channels_last = bool(config.task.get("channels_last", True))
    return Benchmark(name, tasks, data, settings, fabric, channels_last, config.seed, notes)


def _check_names(names: Sequence[str]) -> None:
    """Raise `dcls.UnknownBackboneError` with the nearest names before anything is built."""
    for name in names:
        of_timm = name.startswith(TIMM_PREFIX) and timm.is_model(name.removeprefix(TIMM_PREFIX))
        if not of_timm and name not in dcls.list_backbones():
            dcls.create_backbone(name)  # which names the nearest ones


def _fabric(accelerator: str, precision: Any) -> L.Fabric:
    resolved = resolved_precision(str(precision), accelerator)
    if resolved not in _PRECISIONS:
        raise SettingError(
            f"trainer.precision={precision} is not timed; choose auto, {' or '.join(_PRECISIONS)}."
        )
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    try:
        if resolved == "16-mixed":  # Fabric would take bf16-mixed instead, on a CPU
            plugin = MixedPrecision("16-mixed", device_type(accelerator))
            return L.Fabric(accelerator=accelerator, devices=1, plugins=plugin)
        return L.Fabric(accelerator=accelerator, devices=1, precision=cast(Any, resolved))
    except (ValueError, TypeError, RuntimeError) as error:
        raise SettingError(
            f"trainer.accelerator={accelerator} with trainer.precision={precision} does not work "
            f"here: {error} Set trainer=cpu, or trainer.accelerator=auto."
        ) from error


def _load(task: Task, config: DictConfig, classes: int) -> None:
    if config.ckpt is None:
        return
    try:
        task.load_weights(config.ckpt)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} With mode=benchmark the model has benchmark.classes={classes}: set it to the "
            "number of classes of the checkpoint."
        ) from error


def _free(name: str, taken: dict[str, Task]) -> str:
    """The name, or with a number behind it where the subject has it already."""
    own, count = name, 1
    while own in taken:
        count += 1
        own = f"{name}-{count}"
    return own


def _check_size(tasks: dict[str, Task], settings: BenchmarkSettings) -> None:
    size = settings.image_size
    assert size is not None
    for name, task in tasks.items():
        maps = task.backbone.feature_info
        if maps and size < maps[-1].stride:
            raise SettingError(
                f"benchmark.image_size={size} is smaller than the last stride, {maps[-1].stride}, "
                f"of {name}. Set benchmark.image_size={maps[-1].stride} or more."
            )


def _spread(tasks: dict[str, Task], config: DictConfig) -> list[str]:
    """Spread positions in models with fresh weights; returns the remark on it."""
    trained = config.ckpt is not None or config.backbone.get("pretrained") is not None
    fresh = list(tasks)[1 if trained else 0 :]
    spread = [name for name in fresh if spread_positions(tasks[name], config.seed)]
    if not spread:
        return []
    return [
        f"Positions of {', '.join(spread)} were drawn uniformly over the kernels: fresh ones lie "
        "near the centre, where folding would crop the kernels as it cannot after training."
    ]


def _usual_sizes(config: DictConfig) -> BenchmarkSizes:
    sizes: BenchmarkSizes | None = imported("task", config.task._target_).benchmark_sizes
    if sizes is None:
        raise SettingError(
            f"task={config.task.name} cannot be timed: {config.task._target_} declares no "
            "benchmark_sizes, with a random_batch of them."
        )
    return sizes


def _remarks(
    config: DictConfig, settings: BenchmarkSettings, usual: BenchmarkSizes, task: Task
) -> list[str]:
    size = f"{settings.image_size}x{settings.image_size} pixels, {settings.classes} classes"
    notes = [f"Random images of {size}; layout {_layout(config)}."]
    notes += task.benchmark_notes(fresh=config.ckpt is None)
    if settings.classes != usual.classes:
        notes.append(f"Published models of task={config.task.name} have {usual.classes} classes.")
    return notes


def _layout(config: DictConfig) -> str:
    return "channels_last" if config.task.get("channels_last", True) else "contiguous"


def _plain(group: DictConfig) -> Any:
    return OmegaConf.to_container(group, resolve=True)
