"""Where the weights of a checkpoint come from, and with which settings they were trained."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dcls.backbones import TIMM_PREFIX, list_backbones
from dcls.checkpoint import read_state
from dcls.recognition import guess_backbone
from tasks.derived import in_one_place
from tasks.errors import SettingError
from tasks.explicit import Explicit, explicit_settings

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
    """Settings of a model's backbone: its run's or timm's, else the command's.

    Where nobody chose a backbone, its weights show which one it is. What they cannot show, such as
    the interpolation, is taken from the explicit settings of group `backbone`.
    """
    if origin.backbone is not None:
        return origin.backbone
    explicit = explicit_settings()
    guess = None if origin.weights is None else _guess(origin.weights)
    chosen = "backbone" in explicit.choices or "backbone.name" in explicit.values
    if chosen or guess is None or guess not in list_backbones():
        return plain_group(config.backbone)
    own = OmegaConf.create({"name": guess, "pretrained": None})
    for name in explicit.within("backbone"):
        OmegaConf.update(own, name, OmegaConf.select(config, f"backbone.{name}"), force_add=True)
    return plain_group(own)


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


@cache
def _guess(weights: Path) -> str | None:
    """What the weights show; kept, since the file may be large."""
    return guess_backbone(read_state(weights))


def run_folder_of(weights: Path) -> Path:
    """The folder of the run that wrote a checkpoint."""
    return weights.resolve().parent.parent


def newest_runs(root: Path, checkpoint: str) -> Iterator[Origin]:
    """Runs with a checkpoint of that name, the newest first."""
    found = [*root.glob(f"*/*/{checkpoint}"), *root.glob(f"*/*/*/{checkpoint}")]
    for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
        origin = origin_of(str(path))
        if origin.run is not None:
            yield origin


def plain_group(group: DictConfig) -> dict[str, Any]:
    """A group of settings as a dictionary."""
    plain = OmegaConf.to_container(group, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


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
        in_one_place(config)
    except (OSError, ValueError, AssertionError, OmegaConfBaseException) as error:
        raise SettingError(
            f"{path} is no configuration of a run ({error}). Copy the checkpoint to another "
            "folder, and say with backbone=... what it is."
        ) from error
    return config
