"""The choice between the ways to compute a convolution.

| case | path |
| --- | --- |
| traced, exported, `torch.func`, forward-mode derivatives, float64, mixed types, empty | `conv2d` |
| `backend = "triton"`, kernel up to 31x31 | Triton's kernels, or an error that says why not |
| `backend = "auto"`, a GPU on which they were measured and quicker for such a shape | likewise |
| another GPU or device, or at most 9 taps | `conv2d` |
| a CPU | `dcls.native`, or the forms of `dcls.depthwise.onednn` |

`backend = "torch"` leaves nothing but PyTorch's own operators: `conv2d`, on a CPU in the forms of
`onednn`.
"""

from typing import Literal

import torch
from torch import Tensor

from dcls.depthwise import onednn
from dcls.depthwise.selection import Backend, get_backend
from dcls.errors import LayerArgumentError
from dcls.execution import is_transformed
from dcls.gpu.availability import obstacle
from dcls.gpu.records import is_recorded_win
from dcls.native import depthwise as native

Path = Literal["conv2d", "cpu", "triton"]

SPECIAL_TAPS = 9
"""Up to 3x3 PyTorch has special kernels for all passes."""

LARGEST_KERNEL = 31
"""Rows and columns up to which Triton's kernels are made and tested."""

MOST_CELLS = 2**28 - 2**10
"""Of one channel, of all samples: Triton's kernels number these, and what is beside a map in its
plane (of eight columns for one, at worst), with 32 bits."""

ONEDNN_TAPS = 49
"""Up to 7x7, oneDNN's kernels are as fast as the native one, which copies."""

NATIVE_SIDE = 7
"""On smaller maps the vectors of the native kernels are mostly empty: oneDNN is quicker there."""

HALF_DTYPES = (torch.bfloat16, torch.float16)
FAST_DTYPES = (torch.float32, *HALF_DTYPES)


def path_of(
    x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype | None = None
) -> Path:
    """How the convolution of these is to be computed; `dtype`: in the type that autocast wants.

    Raises:
        LayerArgumentError: the backend is not known, or is "triton" and cannot run here.
    """
    backend = get_backend()
    if not _is_uniform(x, weight, bias, dtype) or torch.compiler.is_exporting() or is_transformed():
        return "conv2d"
    if _uses_triton(x, weight, dtype or x.dtype, backend):
        return "triton"
    taps = weight.shape[2] * weight.shape[3]
    if x.device.type != "cpu" or taps <= SPECIAL_TAPS:
        return "conv2d"
    return "cpu" if onednn.HAS_ONEDNN or is_native(x) else "conv2d"


def is_native(x: Tensor) -> bool:
    """Whether the compiled kernels for the CPU are there, allowed, and quick at such a map."""
    if x.dtype != torch.float32 or get_backend() == "torch" or not native.is_available():
        return False
    return min(x.shape[2], x.shape[3]) >= NATIVE_SIDE or not onednn.HAS_ONEDNN


def _uses_triton(x: Tensor, weight: Tensor, dtype: torch.dtype, backend: Backend) -> bool:
    if backend == "torch" or x.is_meta or max(weight.shape[2:]) > LARGEST_KERNEL:
        return False  # on the meta device nothing is computed, only shapes
    if x.numel() // x.shape[1] > MOST_CELLS:
        return False
    device = x.device.type
    if backend == "auto":
        return device == "cuda" and is_recorded_win(x, weight, dtype) and obstacle(device) is None
    found = obstacle(device)
    if found is not None:
        raise LayerArgumentError(
            f"dcls.depthwise.backend is 'triton', but {found}; or set it to 'auto'"
        )
    return True


def _is_uniform(x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype | None) -> bool:
    """Whether all is, or becomes, of one fast type on one device, and something is there."""
    others = (weight,) if bias is None else (weight, bias)
    alike = all(t.device == x.device and (t.dtype == x.dtype or dtype) for t in others)
    known = all(t.dtype in FAST_DTYPES for t in (x, *others)) and (dtype or x.dtype) in FAST_DTYPES
    return alike and known and x.numel() > 0
