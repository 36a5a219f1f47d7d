"""The base of all tasks: a LightningModule of hooks, with nothing of any single task in it."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from dcls.backbone import Backbone
from dcls.backbones import create_backbone
from dcls.checkpoint import load_checkpoint
from dcls.positions import clamp_positions, repulsive_loss
from tasks.data.images import RgbImage
from tasks.engine.accumulation import steps_per_epoch
from tasks.engine.benchmarking import BenchmarkSizes
from tasks.engine.optimization import Optimization, build_optimizer, parameter_groups
from tasks.engine.schedule import schedule
from tasks.engine.trained import KEY, KnownData, trained_settings
from tasks.errors import SettingError
from tasks.reporting.metrics import Metric
from tasks.reporting.page import Section, Table

logger = logging.getLogger(__name__)

Stage = Literal["train", "val", "test"]
Batch = dict[str, Any]


class Task(L.LightningModule):
    """A model that trains and scores itself.

    A task defines `metrics`, `backbone`, `shared_step`, `compute_metrics` and `sections`; one with
    heads of its own also `load_weights`.

    Args:
        optimization: how parameters are updated.
        monitor: the validation figure that picks the best checkpoint.

    Attributes:
        settings: from which the task was built, as plain data; they are saved in checkpoints, for
            `load_from_checkpoint`.
    """

    metrics: ClassVar[tuple[Metric, ...]] = ()
    """What it is scored by: every name that `compute_metrics` and the test's log may give."""
    derived_settings: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Settings, and the arguments of task and dataset that follow each of them."""
    evaluation_settings: ClassVar[tuple[str, ...]] = ()
    """Settings of group `task` on which the metrics of given weights depend."""
    benchmark_sizes: ClassVar[BenchmarkSizes | None] = None
    """Of mode=benchmark; None: the task gives no `random_batch`, and cannot be timed."""
    single_label: ClassVar[bool] = False
    """Whether an image has one label that stays true of any part of it."""
    clamps_as_released: ClassVar[bool] = False
    backbone: Backbone

    def __init__(self, optimization: Optimization, monitor: str) -> None:
        super().__init__()
        self.optimization = optimization
        self.monitor = monitor
        self.unreadable: set[str] = set()
        self.settings: dict[str, Any] | None = None

    def shared_step(self, batch: Batch, stage: Stage) -> Tensor:
        """Loss of a batch; logs what that stage is scored by."""
        raise NotImplementedError

    def compute_metrics(self, stage: Stage) -> dict[str, float]:
        """What a stage has scored since the last call, over all processes, such as ``miou``.

        Every process must call it.
        """
        raise NotImplementedError

    def illustrate(self, batch: Batch) -> list[RgbImage]:
        """The images of a batch of evaluation, with what the model finds drawn over them."""
        return [image.cpu().numpy() for image in batch["image"]]

    @staticmethod
    def sample_count(batch: Batch) -> int:
        """Number of samples in a batch of evaluation."""
        return len(batch.get("image", ()))

    def random_batch(self, count: int, size: int, draw: torch.Generator) -> Batch:
        """A training batch of `count` random images of side `size`, to be timed."""
        raise NotImplementedError

    def network_input(self, images: Tensor) -> Any:
        """What the network takes of normalised images (N, 3, H, W)."""
        return images

    def benchmark_notes(self, fresh: bool) -> list[str]:
        """What must be said of the times of this model, whose weights may be fresh ones."""
        return []

    @property
    def protocol(self) -> dict[str, Any] | None:
        """Of a task whose run can be continued: what it evaluates, and how."""
        return None

    @property
    def progress(self) -> tuple[str, int, int] | None:
        """Of an evaluation in parts: the present part, how many are done, and of how many."""
        return None

    @property
    def headline_metrics(self) -> tuple[str, ...]:
        """Names of the metrics that say most of a run, in their order."""
        return tuple(metric.name for metric in self.metrics if metric.headline)

    def headline(self) -> Table | None:
        """What a report shows first; None: the figures of the last stage."""
        return None

    def sections(self) -> list[Section]:
        """What the task adds to the report after a test."""
        raise NotImplementedError

    def load_weights(self, path: str) -> None:
        """Load a checkpoint, own or released; strict.

        Raises:
            dcls.CheckpointError: if the file is no checkpoint or does not fit.
        """
        load_checkpoint(self.backbone, path)

    def checkpoint_name(self, name: str) -> str:
        """What checkpoints call a parameter or module of that name."""
        return name

    @property
    def backbone_path(self) -> str:
        """The name of the backbone among the modules of this task."""
        names: dict[nn.Module, str] = {module: name for name, module in self.named_modules()}
        return names[self.backbone]

    @classmethod
    def load_from_checkpoint(  # type: ignore[override] # Lightning's needs objects for arguments
        cls, checkpoint_path: str | Path, map_location: Any = None, **arguments: Any
    ) -> Self:
        """A trained task, from a checkpoint of its run; no dataset is needed.

        Args:
            checkpoint_path: written by a run of such a task.
            map_location: the device to which it is brought; None: the CPU.
            **arguments: of the task, in place of those with which it was trained: `inference`, or
                `data`, to test it.

        Returns:
            The task in evaluation mode.

        Raises:
            SettingError: the file does not say how it was trained, or is of another task.
            dcls.CheckpointError: its weights do not fit.
        """
        settings = trained_settings(checkpoint_path)
        if settings is None or "data" not in settings:
            raise SettingError(
                f"{checkpoint_path} does not hold the settings of its run. Load it into a task "
                "that is built as in training, with task.load_weights(path); or test it with "
                f"python -m tasks.run mode=test ckpt={checkpoint_path}."
            )
        own = f"{cls.__module__}.{cls.__qualname__}"
        if settings["class"] != own:
            raise SettingError(
                f"{checkpoint_path} is of a {settings['class']}, not of a {own}. Call "
                "load_from_checkpoint of that class."
            )
        task: Self = cast(Any, cls)(
            backbone=create_backbone(**settings["backbone"]),
            optimization=Optimization(**settings["optim"]),
            **{"data": KnownData(settings["data"]), **settings["task"], **arguments},
        )
        task.load_weights(str(checkpoint_path))
        task.settings = settings
        return task.eval() if map_location is None else task.eval().to(map_location)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the settings beside the weights."""
        if self.settings is not None:
            checkpoint[KEY] = self.settings

    def no_loss(self) -> Tensor:
        """Zero, but of every parameter, so that distributed processes stay in step."""
        return torch.stack([(p * 0.0).sum() for p in self.parameters()]).sum()

    def note_unreadable(self, batch: Batch) -> None:
        """Log each path that could not be read once, and count it."""
        for path in batch["unreadable"]:
            if path not in self.unreadable:
                self.unreadable.add(path)
                logger.warning("skipped an unreadable sample: %s", path)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Loss of the task, and the repulsion of positions from its epoch on."""
        loss = self.shared_step(batch, "train")
        start = self.optimization.repulsion_start_epoch
        if start is not None and self.current_epoch > start:
            loss = loss + repulsive_loss(self) ** 2
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Score a batch of the validation split."""
        self.shared_step(batch, "val")

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Score a batch of the test split."""
        self.shared_step(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Log the validation's figures."""
        values = {f"val/{name}": value for name, value in self.compute_metrics("val").items()}
        self.log_dict(values, prog_bar=True)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then clamp."""
        super().optimizer_step(*args, **kwargs)
        if not self.optimization.as_released or self.clamps_as_released:
            clamp_positions(self)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW over the declared groups, and a schedule that steps with every update."""
        settings = self.optimization
        optimizer = build_optimizer(
            parameter_groups(self, settings, self._layer_ids(), self._without_decay()),
            settings,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._schedule())
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step", "frequency": 1},
        }

    def _schedule(self) -> Callable[[int], float]:
        self.trainer.fit_loop.setup_data()  # or a run of max_steps would not know its batches
        total = int(self.trainer.estimated_stepping_batches)
        return schedule(self.optimization, total, steps_per_epoch(self.trainer))

    def _layer_ids(self) -> dict[str, int]:
        if self.optimization.layer_decay == 1:
            return {}
        own = self.backbone.layer_ids(self.optimization.layer_scheme, self.optimization.layer_count)
        return {f"{self.backbone_path}.{name}": layer for name, layer in own.items()}

    def _without_decay(self) -> frozenset[str]:
        return frozenset(f"{self.backbone_path}.{name}" for name in self.backbone.no_weight_decay())
