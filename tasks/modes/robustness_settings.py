"""Which models `mode=robustness` evaluates, and on which images, where settings leave it open."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from tasks.config import command
from tasks.config.explicit import explicit_settings
from tasks.errors import SettingError
from tasks.modes.checkpoint_settings import ANY_TASK, as_trained, check_composed_for
from tasks.trained_runs import given_checkpoints, newest_runs, source_of

SETS = "imagenet_sets"
"""The dataset of ImageNet's published variants."""
IMAGENET = ("imagenet", "webdataset")
"""Datasets whose models know ImageNet's classes, in shards unless others were named."""
_BEST = "checkpoints/best.ckpt"


def evaluated(config: DictConfig) -> DictConfig:
    """The configuration with the checkpoint that was given, or the newest run's, and its settings.

    Raises:
        SettingError: there is no checkpoint, or it does not belong to what was composed.
    """
    own = config.copy()
    OmegaConf.set_struct(own, False)
    free = command.choice("task") == ANY_TASK  # the run says which task
    if not given_checkpoints(config):
        own.ckpt = str(_newest_run(config, any_task=free and _no_images(config)))
    first, count = source_of(given_checkpoints(own)[0]), len(given_checkpoints(own))
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
        check_composed_for(first, own)
    elif count == 1:
        brought += ["task", "dataset"]
    return as_trained(own, first, brought) if brought else own


def _no_images(config: DictConfig) -> bool:
    """Whether the sets are to be evaluated, but nobody said where they are."""
    sets = config.dataset.name == SETS
    return sets and config.dataset.root is None and not any(config.dataset.paths.values())


def _newest_run(config: DictConfig, any_task: bool) -> Path:
    own = config.dataset.name
    datasets = IMAGENET if own == SETS else (own,)
    for source in newest_runs(Path(config.runs), _BEST):
        assert source.run is not None
        same_task = source.run.task.name == config.task.name
        if any_task or (same_task and source.run.dataset.name in datasets):
            return Path(source.text)
    what = "" if any_task else f" of task={config.task.name} dataset={'|'.join(datasets)}"
    raise SettingError(
        f"There is no checkpoint to evaluate: no run{what} in {config.runs}/. Train one, such as "
        "with python -m tasks.run, or name one: ckpt=runs/<task>/<run>/checkpoints/best.ckpt, a "
        "released file, or ckpt=timm/<name>."
    )
