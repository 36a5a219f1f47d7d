"""The models to be timed, and their variants."""

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import nn

import dcls
from dcls.interpolation import position_limits
from dcls.ndlayer import DclsNd
from tasks.engine.network import NetworkTask
from tasks.engine.optimization import build_optimizer, parameter_groups
from tasks.engine.task import Task


@dataclass
class Model:
    """A task around a backbone, in one variant.

    Args:
        name: of the backbone, for tables.
        variant: of `tasks.benchmark.settings.VARIANTS`.
        task: on the device that it is timed on.
    """

    name: str
    variant: str
    task: Task

    @property
    def network(self) -> nn.Module:
        """What is called in inference: the detector or segmenter of the task, else the task."""
        return self.task.network if isinstance(self.task, NetworkTask) else self.task

    def train(self, training: bool) -> None:
        """Put the task into training or evaluation mode."""
        if self.task.training != training:  # the call passes through all modules
            self.task.train(training)

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """That of group `optim`, with rates of 0: a step costs as ever, but the weights stay.

        What is timed must not drift towards losses that are no numbers, nor the zeros of a folded
        kernel fill up between two timings of its inference. Layer decay, which only sorts the
        parameters into more groups, is left out.
        """
        settings = replace(self.task.optimization, weight_decay=0.0, layer_decay=1)
        optimizer = build_optimizer(parameter_groups(self.task, settings, {}), settings)
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        return optimizer

    def in_variant(self, variant: str) -> "Model":
        """A copy in another variant.

        Folded: layers with learned positions become plain convolutions. Compiled: the backbone is,
        for each batch size and pass by itself, when it is first called.
        """
        task = copy.deepcopy(self.task)
        if "folded" in variant:
            dcls.fold(task, inplace=True)
        if "compiled" in variant:
            task.backbone.compile(dynamic=False)
        return Model(self.name, variant, task)


def learned_layers(model: nn.Module) -> list[DclsNd]:
    """The layers with learned positions."""
    return [layer for layer in model.modules() if isinstance(layer, DclsNd)]


def spread_positions(model: nn.Module, seed: int) -> int:
    """Draw all learned positions anew, each uniform over its axis of the kernel, in place.

    Fresh ones lie near the centre, so that folding could crop the kernels, as it cannot after
    training. Returns the number of distinct position tensors.
    """
    draw = torch.Generator().manual_seed(seed)
    distinct = {id(layer.P): layer for layer in learned_layers(model)}
    with torch.no_grad():
        for layer in distinct.values():
            limits = position_limits(layer.version, layer.dilated_kernel_size)
            for row, limit in zip(layer.P, limits, strict=True):
                row.copy_((2 * torch.rand(row.shape, generator=draw) - 1) * limit)
    return len(distinct)
