"""Checks on a composed configuration, before anything heavy is imported or any file written."""

import importlib
import os
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf

from tasks.config import command
from tasks.config.derived import check_one_place
from tasks.config.schema import check_brought
from tasks.errors import SettingError
from tasks.modes.mode import Mode
from tasks.processes import LAUNCHER_VARIABLES


def check_settings(config: DictConfig, mode: type[Mode]) -> None:
    """Raise `SettingError` for settings that each are valid but do not work together."""
    mode.check(config)
    _check_nodes(config)
    check_one_place(config)
    check_brought(config)
    _check_dataset_serves_task(config)
    check_experiment(config, command.choice("experiment"))
    _check_checkpoint(config, mode)
    check_nothing_missing(config)


def import_plugins(config: DictConfig) -> None:
    """Import the modules of setting `plugins`, which may register backbones and corruptions.

    Raises:
        SettingError: one cannot be imported.
    """
    names = config.plugins if isinstance(config.plugins, ListConfig) else ()
    for name in map(str, names):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise SettingError(
                f"plugins: {name} cannot be imported (from {Path.cwd()}): {error}. Name a module "
                "that Python finds, such as my_module for my_module.py in this folder."
            ) from error


def _check_nodes(config: DictConfig) -> None:
    """Several machines need a launcher that starts this command on each; alone, one would wait."""
    launched = any(name in os.environ for name in LAUNCHER_VARIABLES)
    if config.trainer.num_nodes > 1 and not launched:
        raise SettingError(
            f"trainer.num_nodes={config.trainer.num_nodes}, but neither torchrun nor SLURM started "
            "this command: it would wait for the other machines for ever. Start it with torchrun "
            "--nnodes or srun, or set trainer.num_nodes=1."
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


def check_nothing_missing(config: DictConfig) -> None:
    """Raise `SettingError` if a setting without a default was not given."""
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        example = " ".join(f"{key}=..." for key in missing)
        raise SettingError(
            f"These settings have no default and were not given: {', '.join(missing)}. "
            f"Add {example} to the command, or run dataset=shapes, which needs no files."
        )
