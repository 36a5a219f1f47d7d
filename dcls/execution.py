"""How PyTorch is running a call: as it stands, or traced, transformed or watched."""

import torch
from torch.autograd import forward_ad
from torch.utils import _python_dispatch


def is_transformed() -> bool:
    """Whether derivatives or batches are threaded through by `torch.func` or forward mode."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def is_plain_eager() -> bool:
    """Whether tensors are just values, which may be read, kept, and given to foreign code."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return False
    return not is_transformed() and not _python_dispatch._get_current_dispatch_mode_stack()


def is_autocast_enabled(device: str) -> bool:
    """Whether an enabled autocast is for tensors on such a device."""
    return device in _AUTOCAST_DEVICES and torch.is_autocast_enabled(device)


# Asked once: `torch.compile` of PyTorch 2.11 cannot trace the question.
_AUTOCAST_DEVICES = frozenset(
    device
    for device in ("cpu", "cuda", "xpu", "mps", "hpu", "mtia", "xla")
    if torch.amp.is_autocast_available(device)
)
