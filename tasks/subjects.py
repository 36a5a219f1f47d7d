"""The models that `mode=robustness` evaluates: where each comes from, and how it is composed.

A checkpoint of a run brings its own backbone with it, from the run's `config.yaml`; with
`task=robustness` also its task and, unless another is asked for, its dataset.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dcls.backbones import TIMM_PREFIX, list_backbones
from dcls.checkpoint import read_state
from dcls.recognition import guess_backbone
from tasks.errors import SettingError
from tasks.modes import ROBUSTNESS

SETS = "imagenet_sets"
"""The dataset of ImageNet's published variants."""
IMAGENET = ("imagenet", "webdataset")
"""Datasets whose models know ImageNet's classes, in shards unless others were named."""
_BEST = "checkpoints/best.ckpt"
_CONFIG_FILE = "config.yaml"
_TIME = re.compile(r"^\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-")


@dataclass(frozen=True)
class Origin:
    """Where a model comes from.

    Args:
        text: as given.
        weights: the file; None: the weights that timm publishes for the backbone.
        backbone: its settings; None: those of the command.
        run: the configuration of the run that trained it, if there is one.
    """

    text: str
    weights: Path | None
    backbone: dict[str, Any] | None
    run: DictConfig | None

    def name(self, whole: bool = False) -> str:
        """Short name for reports.

        Args:
            whole: with the time at which the run began.
        """
        if self.weights is None:
            return self.text
        if self.run is not None:
            folder = run_folder_of(self.weights)
            name = f"{folder.parent.name}-{folder.name}" if folder.name.isdigit() else folder.name
            return name if whole else _TIME.sub("", name)
        return self.weights.name.rsplit(".", 1)[0]


def given_checkpoints(config: DictConfig) -> list[str]:
    """The setting `ckpt` as a list."""
    if config.ckpt is None:
        return []
    return list(map(str, config.ckpt)) if isinstance(config.ckpt, ListConfig) else [config.ckpt]


def with_subject(config: DictConfig) -> DictConfig:
    """The configuration with what the evaluated checkpoint brings with it; others as they are.

    Raises:
        SettingError: there is no checkpoint, or it does not belong to what was composed.
    """
    if config.mode != ROBUSTNESS:
        return config
    choices, own = HydraConfig.get().runtime.choices, config.copy()
    free = choices.get("task") == ROBUSTNESS
    if not given_checkpoints(config):
        own.ckpt = str(_newest_run(config, any_task=free and _no_pictures(config)))
    first = origin_of(given_checkpoints(own)[0])
    OmegaConf.set_struct(own, False)
    count = len(given_checkpoints(own))
    if count == 1:
        own.backbone = backbone_of(first, own)  # which names the run, too
    elif not any(o.startswith("name=") for o in HydraConfig.get().overrides.task):
        own.name = f"{count}-models-${{dataset.name}}"  # which may yet change
    if not free:
        return own
    if first.run is None:
        if _no_pictures(own):
            raise SettingError(
                f"ckpt={first.text} belongs to no run, so there is no dataset to evaluate it on. "
                "Add dataset.root=<folder of imagenet-c and the like>, or another dataset=..."
            )
        return own
    if _no_pictures(own) or first.run.dataset.name == own.dataset.name:
        return _as_in_run(own, first.run)
    if first.run.task.name != own.task.name:
        its = first.run
        dataset = its.dataset.name if own.dataset.name == SETS else own.dataset.name
        raise SettingError(
            f"ckpt={first.text} is a model of task={its.task.name}, and dataset={own.dataset.name} "
            f"was composed for task={own.task.name}. Say task={its.task.name} mode=robustness "
            f"dataset={dataset} instead of task=robustness."
        )
    return own


def origin_of(text: str) -> Origin:
    """Where a model comes from, by an entry of `ckpt`.

    Raises:
        SettingError: no such file.
    """
    if text.startswith(TIMM_PREFIX) and not Path(text).is_file():
        name, _, file = text.partition(":")
        weights = _file(file) if file else None
        return Origin(name, weights, {"name": name, "pretrained": None}, None)
    weights = _file(text)
    path = run_folder_of(weights) / _CONFIG_FILE
    if weights.parent.name == "checkpoints" and path.is_file():
        run = _read_config(path)
        backbone = OmegaConf.to_container(run.backbone)
        assert isinstance(backbone, dict)
        return Origin(text, weights, {**backbone, "pretrained": None}, run)  # type: ignore[dict-item]
    return Origin(text, weights, None, None)


def backbone_of(origin: Origin, config: DictConfig) -> dict[str, Any]:
    """Settings of a model's backbone: its own, else the command's, else what its weights show."""
    if origin.backbone is not None:
        return origin.backbone
    composed = OmegaConf.to_container(config.backbone, resolve=True)
    assert isinstance(composed, dict)
    guess = None if origin.weights is None else _guess(origin.weights)
    asked = any(o.startswith("backbone") for o in HydraConfig.get().overrides.task)
    if asked or guess is None or guess not in list_backbones():
        return {str(key): value for key, value in composed.items()}
    return {"name": guess, "pretrained": None}


@cache
def _guess(weights: Path) -> str | None:
    """What the weights show; kept, since the file may be large."""
    return guess_backbone(read_state(weights))


def run_folder_of(weights: Path) -> Path:
    """The folder of the run that wrote a checkpoint."""
    return weights.resolve().parent.parent


def _no_pictures(config: DictConfig) -> bool:
    """Whether the sets are to be evaluated, but nobody said where they are."""
    sets = config.dataset.name == SETS
    return sets and config.dataset.root is None and not any(config.dataset.paths.values())


def _as_in_run(config: DictConfig, run: DictConfig) -> DictConfig:
    """Task and dataset as the run had them, the dataset with the command's settings over it."""
    dataset = run.dataset.copy()
    OmegaConf.set_struct(dataset, True)
    given = [o.lstrip("+") for o in HydraConfig.get().overrides.task]
    changes = [o for o in given if o.startswith("dataset.")]
    try:
        own = OmegaConf.from_dotlist([change.removeprefix("dataset.") for change in changes])
        dataset = OmegaConf.merge(dataset, own)
    except OmegaConfBaseException as error:
        raise SettingError(
            f"{' '.join(changes)} does not fit dataset={run.dataset.name}, on which the model was "
            f"trained: {error}"
        ) from error
    config.task, config.dataset = run.task, dataset
    return config


def _newest_run(config: DictConfig, any_task: bool) -> Path:
    root = Path(config.runs)
    own = config.dataset.name
    datasets = IMAGENET if own == SETS else (own,)
    found = [*root.glob(f"*/*/{_BEST}"), *root.glob(f"*/*/*/{_BEST}")]
    for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
        origin = origin_of(str(path))
        if origin.run is None:
            continue
        same_task = origin.run.task.name == config.task.name
        if any_task or (same_task and origin.run.dataset.name in datasets):
            return path
    what = "" if any_task else f" of task={config.task.name} dataset={'|'.join(datasets)}"
    raise SettingError(
        f"There is no checkpoint to evaluate: no run{what} in {root}/. Train one, such as with "
        "python -m tasks.run, or name one: ckpt=runs/<task>/<run>/checkpoints/best.ckpt, a "
        "released file, or ckpt=timm/<name>."
    )


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise SettingError(
            f"ckpt={text} is not a file (looked from {Path.cwd()}). Name a checkpoint, or "
            "timm/<name> for the weights that timm publishes."
        )
    return Path(text)


def _read_config(path: Path) -> DictConfig:
    try:
        config = OmegaConf.load(path)
        assert isinstance(config, DictConfig)
        _ = config.task.name, config.dataset.name, config.backbone.name
    except (OSError, ValueError, AssertionError, OmegaConfBaseException) as error:
        raise SettingError(
            f"{path} is no configuration of a run ({error}). Copy the checkpoint to another "
            "folder, and say with backbone=... what it is."
        ) from error
    return config
