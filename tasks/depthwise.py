"""The setting `depthwise`: what computes depthwise convolutions with large kernels."""

from typing import get_args

import torch
from omegaconf import DictConfig

import dcls.depthwise
from dcls.depthwise import Backend
from dcls.gpu.availability import obstacle
from tasks.errors import SettingError


def set_depthwise(config: DictConfig) -> None:
    """Set `dcls.depthwise.backend` for this process.

    Raises:
        SettingError: not a known backend, or one that cannot run here.
    """
    backend = config.depthwise
    if backend not in get_args(Backend):
        raise SettingError(
            f"depthwise={backend} does not exist; choose one of {', '.join(get_args(Backend))}."
        )
    if backend == "triton":
        on_gpu = config.trainer.accelerator != "cpu" and torch.cuda.is_available()
        found = obstacle("cuda" if on_gpu else "cpu")
        if found is not None:
            raise SettingError(f"depthwise=triton does not work here: {found}; or set it to auto.")
    dcls.depthwise.backend = backend
