"""The setting `depthwise`: what computes depthwise convolutions with large kernels."""

import torch
from omegaconf import DictConfig

from dcls.depthwise import set_backend
from dcls.gpu.availability import obstacle
from tasks.errors import SettingError


def set_depthwise(config: DictConfig) -> None:
    """Set the backend of this process (see `dcls.depthwise.set_backend`).

    Raises:
        SettingError: it cannot run here.
    """
    backend = config.depthwise
    if backend == "triton":
        on_gpu = config.trainer.accelerator != "cpu" and torch.cuda.is_available()
        found = obstacle("cuda" if on_gpu else "cpu")
        if found is not None:
            raise SettingError(f"depthwise=triton does not work here: {found}; or set it to auto.")
    set_backend(backend)
