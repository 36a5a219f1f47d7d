"""A composition and what is built of it, made when a probe asks for it."""

import random
from contextlib import contextmanager
from functools import cached_property
from unittest.mock import patch

import lightning as L
import numpy as np
import torch
from builds import build, build_data_of, fit
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from tasks.build import build_task


class Case:
    """What probes look at.

    Args:
        config: the composed configuration.
        folder: for what a training writes.
    """

    def __init__(self, config: DictConfig, folder) -> None:
        self.config = config
        self.folder = folder

    @cached_property
    def data(self):
        """The data, checked as a run checks them."""
        self._seed()
        return build_data_of(self.config)

    @cached_property
    def task(self):
        """The model, on the data."""
        data = self.data
        self._seed()
        return build_task(self.config, data)

    @cached_property
    def job(self):
        """Data, model and trainer as a run builds them."""
        return build(self.config, self.folder)

    @property
    def backbone(self):
        """The backbone of the model."""
        return self.task.backbone

    @cached_property
    def trained(self) -> "Training":
        """The job after its training, and what was seen of it."""
        return Training(self.job)

    def batch(self, split: str):
        """The first batch of a split; equal settings draw equal ones."""
        loader = getattr(self.data, f"{split}_dataloader")()
        self._seed()
        return next(iter(loader))

    def image(self, split: str):
        """The first image of the first batch of a split, as the loader gives it."""
        batch = self.batch(split)
        if "image" in batch:
            return batch["image"][0]
        scene = batch["scenes"][0]
        return scene["views"][0] if "views" in scene else scene["view"]

    def inputs(self, stage: str) -> list[torch.Tensor]:
        """What the backbone is given in a step of a stage, call by call."""
        with self.watching(self.backbone) as seen:
            self.step(stage)
        return seen

    def step(self, stage: str) -> torch.Tensor:
        """One step of a stage; returns its loss."""
        batch = self.batch(stage)
        self.task.train(stage == "train")
        self._seed()
        with (
            patch.object(self.task, "log", lambda *_, **__: None),
            patch.object(self.task, "log_dict", lambda *_, **__: None),
            torch.set_grad_enabled(stage == "train"),
        ):
            return self.task.shared_step(batch, stage)

    @contextmanager
    def watching(self, module):
        """Collect the first input of every call of a module."""
        seen = []
        hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
        yield seen
        hook.remove()

    def _seed(self) -> None:
        L.seed_everything(self.config.seed, verbose=False)
        random.seed(0)
        np.random.seed(0)


class Training(Callback):
    """Fits a job, and notes what the optimizer, the trainer and the network did.

    Attributes:
        rates: per step the rate of each parameter by name.
        norms: per step the norm of the gradients that the optimizer was given.
        dtypes: kinds of numbers that the stem computed.
        validations: steps after which validation was run.
        steps: optimizer steps.
        batches: batches trained on.
        epochs: epochs trained.
        groups: the optimizer's groups.
    """

    def __init__(self, job) -> None:
        self.rates, self.norms, self.dtypes, self.validations = [], [], set(), []
        self.tested = self.batches = 0
        stem = next(m for m in job.task.backbone.modules() if isinstance(m, torch.nn.Conv2d))
        hook = stem.register_forward_hook(lambda *seen: self.dtypes.add(str(seen[2].dtype)))
        job.trainer.callbacks.append(self)
        fit(job)
        hook.remove()
        self.job = job
        self.steps, self.epochs = job.trainer.global_step, job.trainer.current_epoch
        (optimizer,) = job.trainer.optimizers
        self.groups = optimizer.param_groups

    def on_train_batch_start(self, trainer, task, batch, index):
        self.batches += 1

    def on_before_zero_grad(self, trainer, task, optimizer):
        names = {id(p): name.removeprefix("network.") for name, p in task.named_parameters()}
        self.rates.append(
            {names[id(p)]: g["lr"] for g in optimizer.param_groups for p in g["params"]}
        )
        gradients = [p.grad.norm() for p in task.parameters() if p.grad is not None]
        if gradients:
            self.norms.append(float(torch.stack(gradients).norm()))

    def on_validation_start(self, trainer, task):
        self.validations.append(trainer.global_step)

    def on_validation_batch_end(self, trainer, task, outputs, batch, index, loader=0):
        self.tested += 1

    def rates_of(self, name: str) -> list[float]:
        """The rate of one parameter, step by step."""
        return [rates[name] for rates in self.rates]
