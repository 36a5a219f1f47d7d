"""For which shapes the Triton kernels were measured to be quicker than PyTorch.

The file `wins.json` is where the backend "auto" looks: what was never measured on such a GPU is
left to PyTorch. It is empty: so far the kernels were interpreted and compiled, not run on a GPU.
"""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

WINS = Path(__file__).with_name("wins.json")

SIMILAR = 4
"""With at least a quarter of the measured maps times channels a GPU is filled alike."""


class Win(NamedTuple):
    """A shape for which the kernels were quicker, forward and in both gradients.

    Args:
        device: name of the GPU.
        capability: of the GPU, as "9.0".
        dtype: as "bfloat16".
        layout: "contiguous" or "channels_last".
        planes: maps times channels.
        height: of the map.
        width: of the map.
        kernel_height: of the kernel.
        kernel_width: of the kernel.
        forward: PyTorch's time over theirs.
        training: likewise, of forward and backward pass.
    """

    device: str
    capability: str
    dtype: str
    layout: str
    planes: int
    height: int
    width: int
    kernel_height: int
    kernel_width: int
    forward: float
    training: float


@cache
def wins() -> tuple[Win, ...]:
    """All that is recorded."""
    return tuple(Win(**row) for row in json.loads(WINS.read_text()))


def write_wins(rows: list[Win]) -> None:
    """Replace what is recorded."""
    WINS.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")
    wins.cache_clear()


def is_recorded_win(x: Tensor, weight: Tensor, dtype: torch.dtype) -> bool:
    """Whether a win is recorded for this kind of GPU, type, layout, map and kernel.

    Args:
        x: (N, C, H, W), on a GPU.
        weight: (C, 1, KH, KW).
        dtype: in which is computed.
    """
    recorded = _recorded()
    if not recorded:
        return False
    capability = ".".join(map(str, torch.cuda.get_device_capability(x.device)))
    last = x.is_contiguous(memory_format=torch.channels_last)
    layout = "channels_last" if last else "contiguous"
    name = str(dtype).removeprefix("torch.")
    sizes = (*x.shape[2:], *weight.shape[2:])
    return any(
        (win.capability, win.dtype, win.layout) == (capability, name, layout)
        and (win.height, win.width, win.kernel_height, win.kernel_width) == sizes
        and SIMILAR * x.shape[0] * x.shape[1] >= win.planes
        and min(win.forward, win.training) > 1
        for win in recorded
    )


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _recorded() -> tuple[Win, ...]:
    return wins()
