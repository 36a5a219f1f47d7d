"""Checks on a composed configuration, before anything heavy is imported or any file written."""

from pathlib import Path
from types import NoneType

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf

from tasks.derived import check_one_place
from tasks.errors import SettingError
from tasks.modes.mode import Mode


def check_settings(config: DictConfig, mode: type[Mode]) -> None:
    """Raise `SettingError` for settings that each are valid but do not work together."""
    mode.check(config)
    check_one_place(config)
    _check_log_interval(config.trainer.log_every_n_steps)
    _check_dataset_serves_task(config)
    check_experiment(config, HydraConfig.get().runtime.choices.get("experiment"))
    _check_checkpoint(config, mode)
    _check_nothing_missing(config)


def check_kinds(config: DictConfig) -> None:
    """Raise `SettingError` for a setting of another kind than it must be."""
    kinds: dict[str, tuple[tuple[type, ...], str]] = {
        "limit": ((int, NoneType), "a whole number such as 5000, or null"),
        "corruptions": ((str, ListConfig), "published, all, or a list such as [fog,snow]"),
        "compare": ((str, ListConfig, NoneType), "a folder or backbone, or a list of them"),
        "ckpt": ((str, ListConfig, NoneType), "a file, or a list of files"),
        "corruption": ((str, NoneType), "a corruption and its severity such as fog/3, or null"),
        "out": ((str, NoneType), "a folder"),
    }
    for name, (allowed, expected) in kinds.items():
        value = config[name]
        entries = value if isinstance(value, ListConfig) else ()
        if not isinstance(value, allowed) or any(not isinstance(e, str) for e in entries):
            raise SettingError(f"{name}={value} is not {expected}.")


def _check_log_interval(interval: object) -> None:
    if interval != "auto" and (not isinstance(interval, int) or interval < 0):
        raise SettingError(
            f"trainer.log_every_n_steps={interval} is not auto, or a number of steps (0: never)."
        )


def _check_dataset_serves_task(config: DictConfig) -> None:
    serves = list(config.dataset.tasks)
    if config.task.name not in serves:
        raise SettingError(
            f"dataset={config.dataset.name} serves task={'|'.join(serves)}, not "
            f"task={config.task.name}. Choose another dataset, or run dataset=shapes, which "
            "serves every task."
        )


def check_experiment(config: DictConfig, choice: str | None) -> None:
    """Raise `SettingError` if the experiment called `choice` is a recipe of another task."""
    if choice and config.experiment.task != config.task.name:
        raise SettingError(
            f"experiment={choice} is a recipe of task={config.experiment.task}, but "
            f"task={config.task.name} was asked for: its rates and augmentations would be used for "
            f"another task. Leave out task={config.task.name}, or choose one of its recipes."
        )


def _check_checkpoint(config: DictConfig, mode: type[Mode]) -> None:
    if mode.takes_checkpoint == "several":
        return  # there a list or a name may stand, see `tasks.modes.robustness_settings`
    name = config.mode.name
    if isinstance(config.ckpt, ListConfig):
        raise SettingError(
            f"ckpt={list(config.ckpt)}: only mode=robustness takes several; mode={name} takes one."
        )
    if config.ckpt is None:
        if mode.takes_checkpoint == "required":
            raise SettingError(
                f"mode={name} needs a checkpoint: ckpt=runs/<task>/<run>/checkpoints/best.ckpt, "
                "or a released file."
            )
        return
    if not Path(config.ckpt).is_file():
        raise SettingError(f"ckpt={config.ckpt} is not a file (looked from {Path.cwd()}).")


def _check_nothing_missing(config: DictConfig) -> None:
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        example = " ".join(f"{key}=..." for key in missing)
        raise SettingError(
            f"These settings have no default and were not given: {', '.join(missing)}. "
            f"Add {example} to the command, or run dataset=shapes, which needs no files."
        )
