"""Whether the Triton kernels can run, said without importing Triton where it is not needed."""

import importlib.util
import os
from functools import cache

import torch

LEAST_CAPABILITY = (8, 0)
"""Ampere: the first with matrix units for bfloat16 and float32."""


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def obstacle(device: str) -> str | None:
    """What stands in the way for tensors on a type of device, and how to mend it; None: nothing."""
    if not has_triton():
        return "Triton is not installed: it comes with PyTorch's builds for NVIDIA GPUs on Linux"
    if is_interpreted():
        return None
    if device != "cuda":
        return (
            f"the tensors are on the device {device!r}: move them to a GPU, or start with "
            "TRITON_INTERPRET=1 to try the kernels, slowly, on the CPU"
        )
    if torch.version.hip is not None:
        return "this PyTorch is built for AMD GPUs, on which the kernels were never tried"
    found = torch.cuda.get_device_capability()
    if found < LEAST_CAPABILITY:
        return (
            f"this GPU has compute capability {found[0]}.{found[1]}, expected "
            f"{LEAST_CAPABILITY[0]}.{LEAST_CAPABILITY[1]} or more"
        )
    return None


@cache
def has_triton() -> bool:
    """Whether it is installed."""
    return importlib.util.find_spec("triton") is not None


def is_interpreted() -> bool:
    """Whether Triton was told to interpret kernels on the CPU."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "y", "on", "yes", "true")
