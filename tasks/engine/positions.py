"""Learned positions before and after a training, kept beside its checkpoints."""

from pathlib import Path
from typing import cast

import lightning as L
from safetensors.torch import save_file

from dcls.interpolation import row_axes
from dcls.ndlayer import DclsNd
from tasks.engine.callbacks import PositionRecorder, positions_of
from tasks.engine.task import Task
from tasks.reporting.positions import Movement

FILE_NAME = "positions.safetensors"


def saved_movements(trainer: L.Trainer, task: Task) -> dict[str, Movement]:
    """Write positions before and after training as plain data, and return them for the report.

    Args:
        trainer: after the training; its run folder gets the file, unless nothing was trained.
        task: the trained task.

    Returns:
        By layer, as checkpoints name them without the backbone in front.
    """
    callbacks: list[object] = list(getattr(trainer, "callbacks", []))
    recorder = next(one for one in callbacks if isinstance(one, PositionRecorder))
    before, after = recorder.initial, positions_of(task)
    if not before:
        return {}
    names = {name: task.checkpoint_name(name) for name in before}
    tensors = {f"initial/{names[k]}": v for k, v in before.items()}
    tensors |= {f"learned/{names[k]}": v for k, v in after.items()}
    save_file(tensors, Path(trainer.default_root_dir) / FILE_NAME)
    layers = {name: cast(DclsNd, task.get_submodule(name)) for name in before}
    return {
        names[name].removeprefix("backbone."): Movement(
            initial=before[name].flatten(1, -2).numpy(),
            learned=after[name].flatten(1, -2).numpy(),
            reach=float(max(layer.dilated_kernel_size) // 2),
            row_axes=row_axes(layer.version, 2),
        )
        for name, layer in layers.items()
    }
