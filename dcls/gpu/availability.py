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
    return driver_obstacle()


@cache
def driver_obstacle() -> str | None:
    """What keeps Triton from its driver: before 3.8 it builds that with a C compiler, once."""
    from triton.runtime import driver

    try:
        driver.active.get_current_target()
    except Exception as error:  # a compiler, its headers, the library of the GPU: all differ
        return (
            f"Triton cannot reach the GPU ({type(error).__name__}: {error}): before its version "
            "3.8 it needs a C compiler and Python's headers (Debian: gcc, python3-dev)"
        )
    return None


@cache
def has_triton() -> bool:
    """Whether it is installed."""
    return importlib.util.find_spec("triton") is not None


def is_interpreted() -> bool:
    """Whether Triton was told to interpret kernels on the CPU."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "y", "on", "yes", "true")
