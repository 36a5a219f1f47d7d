"""What a checkpoint brings with it to `mode=test`, `mode=robustness` and `mode=benchmark`.

A checkpoint of a run brings the task, the backbone and the dataset with which the run trained it,
from the run's `config.yaml`. Explicit settings win over those of the run, and each difference is
said. A file that belongs to no run is tested as composed.
"""

import logging
from collections.abc import Collection
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from tasks.engine.trained import trained_settings
from tasks.errors import SettingError
from tasks.explicit import Explicit, explicit_settings
from tasks.origin import (
    Difference,
    Origin,
    backbone_of,
    given_checkpoints,
    group_as_trained,
    newest_runs,
    origin_of,
)

logger = logging.getLogger(__name__)
ROBUSTNESS = "robustness"
"""The entry of group `task` that leaves the task to the checkpoint."""
SETS = "imagenet_sets"
"""The dataset of ImageNet's published variants."""
IMAGENET = ("imagenet", "webdataset")
"""Datasets whose models know ImageNet's classes, in shards unless others were named."""
TOP_LEVEL = ("detector", "eval", "tta")
"""Settings of tasks that stand beside their groups."""
GROUPS = ("task", "backbone", "dataset")
"""Groups of settings that a run brings with it."""
_BEST = "checkpoints/best.ckpt"


def moved(config: DictConfig) -> DictConfig:
    """A file that lies in no run's folder; the checkpoint of a run brings at least its backbone."""
    trained = trained_settings(config.ckpt)
    if trained is None:
        return config
    logger.warning(
        "%s is of a run but not in its folder: dataset and preprocessing are those set here, not "
        "those of the run (expected <run>/config.yaml beside <run>/checkpoints/)",
        config.ckpt,
    )
    explicit, own = explicit_settings(), config.copy()
    if "backbone" not in explicit.choices and not explicit.within("backbone"):
        OmegaConf.set_struct(own, False)
        built = {
            k: v for k, v in trained["backbone"].items() if k not in ("num_classes", "features")
        }
        own.backbone = {**built, "pretrained": None}
    return own


def as_trained(config: DictConfig, origin: Origin, groups: Collection[str]) -> DictConfig:
    """The configuration with groups of settings as a checkpoint's run had them.

    Explicit settings win, and each that differs from the run is logged. Without a run, only the
    backbone may follow the weights (see `tasks.origin.backbone_of`).

    Args:
        config: the composed configuration.
        origin: the checkpoint.
        groups: which of `GROUPS` follow the run.

    Raises:
        SettingError: the run was of another task than the one that was asked for, or explicit
            settings do not fit the run's.
    """
    own = config.copy()
    OmegaConf.set_struct(own, False)
    if origin.run is None:
        own.backbone = backbone_of(origin, own)
        return own
    run, explicit = origin.run, explicit_settings()
    _check_task(origin, config)
    differing: list[Difference] = []
    for group in groups:
        own[group], found = group_as_trained(group, config, run, explicit)
        differing += found
    for name in TOP_LEVEL:
        if not explicit.has(name):
            own[name] = run.get(name)
        elif own.get(name) != run.get(name):
            differing.append(Difference(name, own.get(name), run.get(name)))
    if "backbone" in groups:
        own.backbone.pretrained = None  # the checkpoint's own weights replace them
    if "dataset" in groups and own.dataset.name != run.dataset.name:
        _check_composed_for(origin, config)
        preprocess_as(run, own, explicit)
        logger.info("images of %s prepared as those of the run", own.dataset.name)
    logger.info("%s as in the run of %s", ", ".join(groups), origin.text)
    for one in differing:
        logger.info("%s", one)
    return own


def evaluated(config: DictConfig) -> DictConfig:
    """What `mode=robustness` evaluates: the checkpoint that was given, or the newest run's."""
    own = config.copy()
    OmegaConf.set_struct(own, False)
    free = HydraConfig.get().runtime.choices.get("task") == ROBUSTNESS  # the run says which task
    if not given_checkpoints(config):
        own.ckpt = str(_newest_run(config, any_task=free and _no_images(config)))
    first, count = origin_of(given_checkpoints(own)[0]), len(given_checkpoints(own))
    if count > 1 and not explicit_settings().has("name"):
        own.name = f"{count}-models-${{dataset.name}}"  # which may yet change
    brought = ["backbone"] if count == 1 else []  # each of several models has its own
    if first.run is None:
        if free and _no_images(own):
            raise SettingError(
                f"ckpt={first.text} belongs to no run, so there is no dataset to evaluate it on. "
                "Add dataset.root=<folder of imagenet-c and the like>, or another dataset=..."
            )
    elif free and (_no_images(own) or first.run.dataset.name == own.dataset.name):
        brought += ["task", "dataset"]
    elif free:
        _check_composed_for(first, own)
    elif count == 1:
        brought += ["task", "dataset"]
    return as_trained(own, first, brought) if brought else own


def _check_task(origin: Origin, config: DictConfig) -> None:
    """Raise `SettingError` if another task was asked for than the run's."""
    assert origin.run is not None
    its, asked = origin.run.task.name, HydraConfig.get().runtime.choices.get("task")
    explicit = explicit_settings()
    if its != config.task.name and asked != ROBUSTNESS and "task" in explicit.choices:
        raise SettingError(
            f"ckpt={origin.text} is a model of task={its}, not of task={asked}. Leave out "
            f"task={asked}, or name a checkpoint of that task."
        )


def _check_composed_for(origin: Origin, config: DictConfig) -> None:
    """Raise `SettingError` if a dataset other than the run's was composed for another task."""
    assert origin.run is not None
    its, name = origin.run.task.name, config.dataset.name
    if its != config.task.name:
        dataset = origin.run.dataset.name if name == SETS else name
        raise SettingError(
            f"ckpt={origin.text} is a model of task={its}, and dataset={name} was composed for "
            f"task={config.task.name}. Say task={its} mode={config.mode.name} dataset={dataset}."
        )


def preprocess_as(run: DictConfig, own: DictConfig, explicit: Explicit) -> None:
    """Prepare the images of another dataset as those of the run were, unless told otherwise.

    Args:
        run: the configuration of the run.
        own: the configuration with another dataset; changed.
        explicit: what was set explicitly.
    """
    recipe = run.dataset.get("recipe", {})
    for name in ("image_size", *(f"recipe.{key}" for key in recipe)):
        value = OmegaConf.select(run.dataset, name)
        parent, _, key = name.rpartition(".")
        there = own.dataset.get(parent, {}) if parent else own.dataset
        if key in there and not explicit.has(f"dataset.{name}"):
            OmegaConf.update(own.dataset, name, value, merge=False)


def _no_images(config: DictConfig) -> bool:
    """Whether the sets are to be evaluated, but nobody said where they are."""
    sets = config.dataset.name == SETS
    return sets and config.dataset.root is None and not any(config.dataset.paths.values())


def _newest_run(config: DictConfig, any_task: bool) -> Path:
    own = config.dataset.name
    datasets = IMAGENET if own == SETS else (own,)
    for origin in newest_runs(Path(config.runs), _BEST):
        assert origin.run is not None
        same_task = origin.run.task.name == config.task.name
        if any_task or (same_task and origin.run.dataset.name in datasets):
            return Path(origin.text)
    what = "" if any_task else f" of task={config.task.name} dataset={'|'.join(datasets)}"
    raise SettingError(
        f"There is no checkpoint to evaluate: no run{what} in {config.runs}/. Train one, such as "
        "with python -m tasks.run, or name one: ckpt=runs/<task>/<run>/checkpoints/best.ckpt, a "
        "released file, or ckpt=timm/<name>."
    )
