"""For which shapes the Triton kernels were measured to be quicker than PyTorch.

The file `wins.json` is where the backend "auto" looks: what was never measured on such a GPU is
left to PyTorch. `python benchmarks/gpu_depthwise.py --record` adds to it.
"""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

WINS = Path(__file__).with_name("wins.json")


class Win(NamedTuple):
    """A shape with the times of both; it is a win if both ratios are above 1.

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

    @property
    def sizes(self) -> tuple[int, int, int, int, int]:
        """Planes, and rows and columns of map and kernel."""
        return self.planes, self.height, self.width, self.kernel_height, self.kernel_width


@cache
def wins() -> tuple[Win, ...]:
    """All that is recorded."""
    return tuple(Win(**row) for row in json.loads(WINS.read_text()))


def write_wins(rows: list[Win]) -> None:
    """Replace what is recorded."""
    WINS.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")
    wins.cache_clear()


def is_recorded_win(x: Tensor, weight: Tensor, dtype: torch.dtype) -> bool:
    """Whether a win is recorded for this kind of GPU, type and layout at these sizes or smaller.

    With the size of maps and kernels, and with their number, PyTorch's operators take longer in
    proportion, and these kernels do not: what was won is not lost by more of it.

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
    kind = (capability, str(dtype).removeprefix("torch."), layout)
    samples, channels, height, width = x.shape
    sizes = (samples * channels, height, width, *weight.shape[2:])
    return any(
        (win.capability, win.dtype, win.layout) == kind
        and min(win.forward, win.training) > 1
        and all(own <= size for own, size in zip(win.sizes, sizes, strict=True))
        for win in recorded
    )


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _recorded() -> tuple[Win, ...]:
    return wins()
