"""The settings that a checkpoint brings with it to modes that use a trained model.

A checkpoint of a run brings the task, the backbone and the dataset with which the run trained it.
Explicit settings win over those of the run, and each difference is said. A file that belongs to no
run is used as composed.
"""

import logging
from collections.abc import Collection

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dcls.backbones import list_backbones
from tasks.config import command
from tasks.config.explicit import Explicit, explicit_settings
from tasks.errors import SettingError
from tasks.trained_runs import Difference, Source, guessed_backbone, plain_group

logger = logging.getLogger(__name__)
ANY_TASK = "robustness"
"""The entry of group `task` that leaves the task to the checkpoint."""
TOP_LEVEL = ("detector", "eval", "tta")
"""Settings of tasks that stand beside their groups."""
GROUPS = ("task", "backbone", "dataset")
"""Groups of settings that a run brings with it."""


def as_trained(config: DictConfig, source: Source, groups: Collection[str]) -> DictConfig:
    """The configuration with groups of settings as a checkpoint's run had them.

    Explicit settings win, and each that differs from the run is logged. Without a run, only the
    backbone may follow the weights (see `backbone_of`).

    Args:
        config: the composed configuration.
        source: the checkpoint.
        groups: which of `GROUPS` follow the run.

    Raises:
        SettingError: the run was of another task than the one that was asked for, or explicit
            settings do not fit the run's.
    """
    own = config.copy()
    OmegaConf.set_struct(own, False)
    if source.run is None:
        if source.lost_run:
            logger.warning(
                "%s is of an earlier version and not in the folder of its run: dataset and "
                "preprocessing are those set here, not those of the run",
                source.text,
            )
        own.backbone = backbone_of(source, own)
        return own
    run, explicit = source.run, explicit_settings()
    _check_task(source, config)
    differing: list[Difference] = []
    taken = []
    for group in groups:
        own[group], found = group_as_trained(group, config, run, explicit)
        differing += found
        if Difference(group, own[group].get("name"), run[group].get("name")) not in found:
            taken.append(group)
    differing += _top_level_as_trained(own, run, explicit)
    if "backbone" in groups:
        own.backbone.pretrained = None  # the checkpoint's own weights replace them
    if "dataset" in groups and own.dataset.name != run.dataset.name:
        check_composed_for(source, config)
        preprocess_as(run, own, explicit)
        logger.info("images of %s prepared as those of the run", own.dataset.name)
    logger.info("%s as in the run of %s", ", ".join(taken), source.text)
    for one in differing:
        logger.info("%s", one)
    return own


def _top_level_as_trained(own: DictConfig, run: DictConfig, explicit: Explicit) -> list[Difference]:
    """Give `own` the run's values of `TOP_LEVEL`, but for explicit ones, which are returned."""
    differing = []
    for name in TOP_LEVEL:
        if not explicit.has(name):
            own[name] = run.get(name)
        elif own.get(name) != run.get(name):
            differing.append(Difference(name, own.get(name), run.get(name)))
    return differing


def backbone_of(source: Source, config: DictConfig) -> DictConfig:
    """Settings of a model's backbone: its run's or timm's, else the command's.

    Where nobody chose a backbone, its weights show which one it is. What they cannot show, such as
    the interpolation, is taken from the explicit settings of group `backbone`.
    """
    explicit = explicit_settings()
    chosen = "backbone" in explicit.choices or "backbone.name" in explicit.values
    if source.backbone is not None and not (source.lost_run and chosen):
        return OmegaConf.create(source.backbone)
    guess = None if source.weights is None else guessed_backbone(source.weights)
    if chosen or guess is None or guess not in list_backbones():
        return OmegaConf.create(plain_group(config.backbone))
    own = OmegaConf.create({"name": guess, "pretrained": None})
    for name in explicit.within("backbone"):
        OmegaConf.update(own, name, OmegaConf.select(config, f"backbone.{name}"), force_add=True)
    return own


def group_as_trained(
    group: str, config: DictConfig, run: DictConfig, explicit: Explicit
) -> tuple[DictConfig, list[Difference]]:
    """A group of settings as a run had it, with the explicit settings of the command over it.

    Args:
        group: `task`, `backbone` or `dataset`.
        config: the composed configuration.
        run: the configuration of the run.
        explicit: what was set explicitly.

    Returns:
        The group; if another entry of it was chosen explicitly, as composed. And what differs from
        the run.

    Raises:
        SettingError: an explicit setting that the run's group does not have.
    """
    here, trained = config[group], run[group]
    chosen = group in explicit.choices or f"{group}.name" in explicit.values
    if chosen and here.name != trained.name and group != "task":  # of which weights have only one
        return here, [Difference(group, here.name, trained.name)]
    own, found = trained.copy(), []
    OmegaConf.set_struct(own, True)
    for name in explicit.within(group):
        value, before = OmegaConf.select(here, name), OmegaConf.select(own, name)
        # A run of an earlier version may lack a setting that its dataset has by now.
        known = here.name == trained.name and f"{group}.{name}" not in explicit.added
        try:
            OmegaConf.update(own, name, value, force_add=known or group != "dataset")
        except OmegaConfBaseException as error:
            raise SettingError(
                f"{group}.{name}={value} does not fit {group}={trained.name}, with which the "
                f"model was trained: {str(error).splitlines()[0]}. Leave it out, or choose "
                f"another {group}=..."
            ) from error
        if value != before:
            found.append(Difference(f"{group}.{name}", value, before))
    OmegaConf.set_struct(own, None)
    return own, found


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


def check_composed_for(source: Source, config: DictConfig) -> None:
    """Raise `SettingError` if a dataset other than the run's was composed for another task."""
    assert source.run is not None
    its, name = source.run.task.name, config.dataset.name
    if its != config.task.name:
        # the one that `task=robustness` comes with is nobody's wish
        dataset = name if "dataset" in explicit_settings().choices else source.run.dataset.name
        raise SettingError(
            f"ckpt={source.text} is a model of task={its}, and dataset={name} was composed for "
            f"task={config.task.name}. Say task={its} mode={config.mode.name} dataset={dataset}."
        )


def _check_task(source: Source, config: DictConfig) -> None:
    """Raise `SettingError` if another task was asked for than the run's."""
    assert source.run is not None
    its, asked = source.run.task.name, command.choice("task")
    explicit = explicit_settings()
    if its != config.task.name and asked != ANY_TASK and "task" in explicit.choices:
        raise SettingError(
            f"ckpt={source.text} is a model of task={its}, not of task={asked}. Leave out "
            f"task={asked}, or name a checkpoint of that task."
        )
