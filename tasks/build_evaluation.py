"""From a configuration to the models and the images of a robustness evaluation."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from timm.models import load_pretrained

from dcls.errors import CheckpointError
from dcls.timm_backbone import TimmBackbone
from tasks.build import build_data, build_task
from tasks.build_corruption import (
    corruptions_in,
    dataset_settings,
    fitting_profile,
    given_profile,
    prepared_for,
)
from tasks.config.derived import completed
from tasks.config.schema import imported
from tasks.data.loaders import TaskData
from tasks.data.pixels import Pixels
from tasks.engine.classifier import Classifier
from tasks.engine.precision import resolved_precision
from tasks.engine.task import Task
from tasks.errors import SettingError
from tasks.modes.checkpoint_settings import backbone_of
from tasks.modes.robustness_settings import IMAGENET, SETS
from tasks.robustness.data import (
    AlteredSource,
    CellData,
    Cells,
    CellSource,
    check_limit,
)
from tasks.robustness.ledger import plain_name
from tasks.robustness.on_the_fly import (
    Profile,
)
from tasks.robustness.published.imagenet import ImageNetSets
from tasks.robustness.report.comparison import check_comparable
from tasks.robustness.scoring.subject import Subject
from tasks.robustness.task import RobustnessTask
from tasks.trained_runs import Source, given_checkpoints, plain_group, source_of

logger = logging.getLogger(__name__)


def build_evaluation(config: DictConfig) -> tuple[CellData, RobustnessTask]:
    """The cells to evaluate, and the models.

    Raises:
        SettingError: settings that do not fit.
        dcls.CheckpointError: weights that do not.
    """
    check_limit(config.limit)
    given = None if _is_published(config) else given_profile(config)
    prepared = prepared_for(config, given)
    base = build_data(prepared, check_splits=False)
    if not isinstance(base, ImageNetSets):
        base.check(training=False)
    profile = None if _is_published(config) else given or fitting_profile(config, base)
    data = CellData(base, Cells(_sources(config, base, profile), config.limit))
    sources = _named_sources([source_of(text) for text in given_checkpoints(config)])
    _warn_of_other_data(config, sources)
    backbones = {
        name: plain_group(backbone_of(source, config) if len(sources) > 1 else config.backbone)
        for name, source in sources.items()
    }
    subjects = [
        _subject(name, source, backbones[name], prepared, base) for name, source in sources.items()
    ]
    models = {name: _identity(source, backbones[name]) for name, source in sources.items()}
    protocol = _protocol(config, base, profile, models)
    compare = [config.compare] if isinstance(config.compare, str) else list(config.compare or ())
    for folder in compare:
        check_comparable(Path(folder), protocol)  # rather now than after hours
    return data, RobustnessTask(subjects, data, protocol, compare)


def _warn_of_other_data(config: DictConfig, sources: Mapping[str, Source]) -> None:
    own = config.dataset.name
    for name, source in sources.items():
        trained = own if source.run is None else source.run.dataset.name
        if trained != own and not (own == SETS and trained in IMAGENET):
            logger.warning(
                "%s was trained on %s, not on %s: are the classes equal?", name, trained, own
            )


def _is_published(config: DictConfig) -> bool:
    return str(config.dataset.get("_target_")).endswith(f".{ImageNetSets.__name__}")


def _sources(config: DictConfig, base: TaskData, profile: Profile | None) -> list[CellSource]:
    if isinstance(base, ImageNetSets):
        return base.sources()
    assert profile is not None
    images = base.images(base.test_split)
    return [AlteredSource(images, one) for one in corruptions_in(config, profile)]


def _subject(
    name: str, source: Source, backbone: dict[str, Any], config: DictConfig, data: TaskData
) -> Subject:
    own = config.copy()
    OmegaConf.set_struct(own, False)
    own.backbone = backbone
    if source.run is not None and source.run.task.name != own.task.name:
        raise SettingError(
            f"ckpt={source.text} is a model of task={source.run.task.name}, not of "
            f"task={own.task.name}. Evaluate models of one task at a time."
        )
    task = build_task(own, data)
    if source.weights is not None:
        _load_weights(task, source.weights, data)
    elif isinstance(task.backbone, TimmBackbone):
        _load_published(task.backbone, source.text)
    if isinstance(task, Classifier):
        task.pixels = Pixels(*_moments(source, task, config), own.task.channels_last)
    return Subject(name, task)


def _load_weights(task: Task, weights: Path, data: TaskData) -> None:
    try:
        task.load_weights(str(weights))
    except CheckpointError as error:
        if not isinstance(data, ImageNetSets):
            raise
        raise CheckpointError(
            f"{error} The sets need ImageNet's {len(data.all_names)} classes in their order; of a "
            "model with others, name the synset of each output: dataset.classes=<file>."
        ) from error


def _moments(source: Source, task: Task, config: DictConfig) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the pixels with which a model was trained."""
    recipe = config.dataset.recipe  # of released weights: as the data has them
    if source.run is not None and "recipe" in source.run.dataset:
        recipe = source.run.dataset.recipe
    elif source.weights is None and isinstance(task.backbone, TimmBackbone):
        recipe = cast(Any, task.backbone.model).pretrained_cfg
    return list(recipe["mean"]), list(recipe["std"])


def _load_published(backbone: TimmBackbone, name: str) -> None:
    """Load the weights that timm publishes."""
    model = cast(Any, backbone.model)
    try:
        load_pretrained(model, num_classes=backbone.num_classes)
    except Exception as error:  # of many kinds, by what fails: network, hub, shapes
        raise SettingError(
            f"The weights that timm publishes for {name} cannot be loaded: "
            f"{str(error).rstrip('. ')}. Give them as a file: ckpt={name}:<file>."
        ) from error


def _protocol(
    config: DictConfig, base: TaskData, profile: Profile | None, models: dict[str, Any]
) -> dict[str, Any]:
    task = completed(config, "task")
    scored_by = imported("task", task["_target_"]).evaluation_settings
    protocol: dict[str, Any] = {
        "models": models,
        "task": config.task.name,
        "evaluation": {k: task[k] for k in scored_by},
        "precision": resolved_precision(config.trainer.precision, config.trainer.accelerator),
        "limit": config.limit,
        "seed": config.seed,
        "dataset": dataset_settings(config),
    }
    if isinstance(base, ImageNetSets):
        resized = "resized and cut" if base.recipe.resize_corrupted else "as they are"
        return protocol | {
            "images of ImageNet-C": resized,
            "classes of A and R": "their 200 (the mask); among all 1000: unmasked",
            "sets": list(dict.fromkeys(s.cell.collection for s in base.sources())),
            "missing": list(base.found.missing),
        }
    names = config.corruptions
    return protocol | {
        "corrupted": "on the fly, not ImageNet-C",
        "profile": profile,
        "corruptions": names if isinstance(names, str) else list(names),
        "split": base.test_split,
    }


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _identity(source: Source, backbone: dict[str, Any]) -> dict[str, Any]:
    digest = None
    if source.weights is not None:
        with source.weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"checkpoint": source.text, "sha256": digest, "backbone": backbone}


def _named_sources(sources: Sequence[Source]) -> dict[str, Source]:
    """Models by name: without the times of their runs, unless only these tell them apart."""
    short = [plain_name(source.name()) for source in sources]
    named: dict[str, Source] = {}
    for name, source in zip(short, sources, strict=True):
        base = plain_name(source.name(whole=True)) if short.count(name) > 1 else name
        own, count = base, 1
        while own in named:
            count += 1
            own = f"{base}-{count}"
        named[own] = source
    return named
