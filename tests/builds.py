"""Jobs composed from settings and built as a run builds them, for tests that look inside."""

import pickle
from functools import cache
from types import SimpleNamespace

import lightning as L
from commands import TINY_SHAPES
from detection import DET_SHAPES
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf, open_dict
from segmentation import SEG_SHAPES

TINY_TASKS = {"cls": TINY_SHAPES, "seg": SEG_SHAPES, "det": DET_SHAPES}
"""Per task the settings of a run of a few tiny batches of the embedded data set."""


@cache
def _composed(overrides):
    GlobalHydra.instance().clear()
    with initialize_config_module("conf", version_base="1.3"):
        return pickle.dumps(compose("run", overrides=list(overrides)))


def composed(*overrides):
    """The configuration of a command; composed once, each call returns its own copy."""
    return pickle.loads(_composed(overrides))  # a fifth of the time of a copy


def build(config, folder):
    """What a mode has built of a configuration: data, task and trainer."""
    from tasks.build import build_task
    from tasks.modes.fit import Fit

    L.seed_everything(config.seed, verbose=False)
    if config.mode.name == "robustness":  # without the models, which would need weights
        data = build_data_of(config)
        return SimpleNamespace(data=data, task=build_task(config, data))
    mode = Fit(config)
    mode.start(folder)
    return mode


def build_data_of(config):
    """The data of a configuration, checked as its mode checks them."""
    from tasks.build import build_data
    from tasks.build_corruption import build_altered_data

    if config.mode.name != "robustness":
        return build_altered_data(config, training=config.mode.name == "fit")
    data = build_data(config, check_splits=False)
    data.sources()
    return data


def build_task_of(task, *overrides):
    """A tiny model of a task."""
    from tasks.build import build_data, build_task

    config = composed(*TINY_TASKS[task], *overrides)
    L.seed_everything(config.seed, verbose=False)
    return build_task(config, build_data(config))


def tiny_job(task, folder, *overrides, callbacks=()):
    """A tiny job of a task, with further callbacks that watch its training."""
    job = build(composed(*TINY_TASKS[task], *overrides), folder)
    job.trainer.callbacks.extend(callbacks)
    return job


def fit(job):
    """Train only; returns the job."""
    job.trainer.fit(job.task, datamodule=job.data)
    return job


class Watch(Callback):
    """What a training step begins and ends with.

    Args:
        before: called with the task before each step.
        after: called with the task and the step's loss after each step.
    """

    def __init__(self, before=None, after=None):
        self.before, self.after = before, after
        self.seen_before, self.seen_after = [], []

    def on_train_batch_start(self, trainer, task, batch, index):
        if self.before:
            self.seen_before.append(self.before(task))

    def on_train_batch_end(self, trainer, task, outputs, batch, index):
        if self.after:
            self.seen_after.append(self.after(task, float(outputs["loss"].detach())))


def with_settings(config, changes):
    """A copy of the configuration with some leaves changed, by their dotted names."""
    config = pickle.loads(pickle.dumps(config))  # a third of the time of a copy
    with open_dict(config):
        for leaf, value in changes.items():
            OmegaConf.update(config, leaf, value, merge=False)
    return config


def with_derived(config):
    """A copy of the configuration in which the arguments that follow a setting have its value."""
    from tasks.config.derived import completed

    return with_settings(config, {group: completed(config, group) for group in ("task", "dataset")})
