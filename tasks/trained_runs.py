"""Where the weights of a checkpoint come from, and with which settings a run trained them.

A checkpoint of a run holds the run's settings itself (see `tasks.engine.trained`). Those of earlier
versions of this project do not; for them the `config.yaml` in the folder of their run counts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dcls.backbones import TIMM_PREFIX
from dcls.checkpoint import read_state
from dcls.recognition import guess_backbone
from tasks.config.derived import in_one_place
from tasks.engine.trained import CONFIG_FILE, trained_settings
from tasks.errors import SettingError

_TIME = re.compile(r"^\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-")


@dataclass(frozen=True)
class Source:
    """Where the weights of a model come from.

    Args:
        text: as given.
        weights: the file; None: the weights that timm publishes for the backbone.
        backbone: its settings; None: those of the command.
        run: the configuration of the run that trained it, if there is one.
        lost_run: whether a run trained it, but nothing tells its configuration.
    """

    text: str
    weights: Path | None
    backbone: dict[str, Any] | None
    run: DictConfig | None
    lost_run: bool = False

    def name(self, whole: bool = False) -> str:
        """Short name for reports.

        Args:
            whole: with the time at which the run began.
        """
        if self.weights is None:
            return self.text
        if self.run is not None and self.weights.parent.name == "checkpoints":
            folder = run_folder_of(self.weights)
            name = f"{folder.parent.name}-{folder.name}" if folder.name.isdigit() else folder.name
            return name if whole else _TIME.sub("", name)
        return self.weights.name.rsplit(".", 1)[0]


@dataclass(frozen=True)
class Difference:
    """A setting whose explicit value is not the one of the run that trained the model."""

    setting: str
    here: Any
    trained: Any

    def __str__(self) -> str:
        return f"{self.setting}={self.here} as set here; the run was trained with {self.trained}"


def given_checkpoints(config: DictConfig) -> list[str]:
    """The setting `ckpt` as a list."""
    if config.ckpt is None:
        return []
    return list(map(str, config.ckpt)) if isinstance(config.ckpt, ListConfig) else [config.ckpt]


def source_of(text: str) -> Source:
    """Where a model comes from, by an entry of `ckpt`.

    Raises:
        SettingError: no such file, or one of a run whose settings cannot be read.
    """
    if text.startswith(TIMM_PREFIX) and not Path(text).is_file():
        name, _, file = text.partition(":")
        weights = _file(file) if file else None
        return Source(name, weights, {"name": name, "pretrained": None}, None)
    weights = _file(text)
    settings = trained_settings(weights)
    if settings is None:
        return Source(text, weights, None, None)
    if "config" in settings:
        run = _checked(settings["config"], weights)
    elif weights.parent.name == "checkpoints" and _config_beside(weights).is_file():
        run = _checked(_read(_config_beside(weights)), _config_beside(weights))
    else:  # of an earlier version, and not in its run's folder: its backbone is known, no more
        built = settings["backbone"].items()
        own = {k: v for k, v in built if k not in ("num_classes", "features")}
        return Source(text, weights, {**own, "pretrained": None}, None, lost_run=True)
    return Source(text, weights, {**plain_group(run.backbone), "pretrained": None}, run)


@cache
def guessed_backbone(weights: Path) -> str | None:
    """Which backbone the weights in a file show; kept, since the file may be large."""
    return guess_backbone(read_state(weights))


def run_folder_of(weights: Path) -> Path:
    """The folder of the run that wrote a checkpoint."""
    return weights.resolve().parent.parent


def newest_runs(root: Path, checkpoint: str) -> Iterator[Source]:
    """Runs with a checkpoint of that name, the newest first."""
    found = [*root.glob(f"*/*/{checkpoint}"), *root.glob(f"*/*/*/{checkpoint}")]
    for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
        source = source_of(str(path))
        if source.run is not None:
            yield source


def plain_group(group: DictConfig) -> dict[str, Any]:
    """A group of settings as a dictionary."""
    plain = OmegaConf.to_container(group, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _config_beside(weights: Path) -> Path:
    return run_folder_of(weights) / CONFIG_FILE


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise SettingError(
            f"ckpt={text} is not a file (looked from {Path.cwd()}). Name a checkpoint, or "
            "timm/<name> for the weights that timm publishes."
        )
    return Path(text)


def _read(path: Path) -> Any:
    try:
        return OmegaConf.load(path)
    except (OSError, ValueError, OmegaConfBaseException) as error:
        raise _no_configuration(path, error) from error


def _checked(content: Any, path: Path) -> DictConfig:
    """The configuration of a run, its settings where this version has them."""
    try:
        config = OmegaConf.create(content)
        assert isinstance(config, DictConfig)
        _ = config.task.name, config.dataset.name, config.backbone.name
        in_one_place(config)
    except (ValueError, AssertionError, OmegaConfBaseException) as error:
        raise _no_configuration(path, error) from error
    return config


def _no_configuration(path: Path, error: Exception) -> SettingError:
    return SettingError(
        f"{path} holds no configuration of a run ({error}). Copy the checkpoint to another "
        "folder, and say with backbone=... what it is."
    )
