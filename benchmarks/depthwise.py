"""Time `dcls.depthwise.depthwise_conv2d` beside `torch.nn.functional.conv2d` on this CPU.

python benchmarks/depthwise.py [--threads 1] [--cases 64x40x14x14k17 8x96x56x56k7 ...]

Four ways are timed in turn, again and again in one process (both functions, contiguous and
channels_last), so that another program's load falls on all alike. Printed are medians in
milliseconds of the forward pass without a graph and of the backward pass to input, weight and bias,
and how many times faster `depthwise_conv2d` is in the same layout.
"""

import argparse
import re
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from dcls.depthwise import depthwise_conv2d

TRAINING = [
    *("64x40x14x14k17", "64x80x12x12k17", "64x80x8x8k17", "64x80x7x7k17", "64x160x6x6k17"),
    *("64x160x4x4k17", "64x320x3x3k17", "64x320x2x2k17", "64x320x1x1k17"),
]
CONVNEXT_T = [
    f"{batch}x{channels}x{side}x{side}k{kernel}"
    for batch in (1, 8)
    for kernel in (7, 17)
    for channels, side in ((96, 56), (192, 28), (384, 14), (768, 7))
]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


Key = TypeVar("Key")


class Times(NamedTuple):
    """Medians in milliseconds."""

    forward: float
    backward: float


def conv2d(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What PyTorch does by itself."""
    return functional.conv2d(x, weight, bias, padding="same", groups=x.shape[1])


def measure(case: str, seconds: float) -> dict[tuple[str, str], Times]:
    """Times of each (layout, function) of a case written as NxCxHxWkK."""
    found = re.fullmatch(r"(\d+)x(\d+)x(\d+)x(\d+)k(\d+)", case)
    if found is None:
        raise SystemExit(f"case {case!r}: expected NxCxHxWkK, as in 64x40x14x14k17")
    batch, channels, height, width, kernel = map(int, found.groups())
    passes: dict[tuple[str, str, str], Callable[[], object]] = {}
    for layout, memory_format in LAYOUTS.items():
        for function in (conv2d, depthwise_conv2d):
            x = torch.randn(batch, channels, height, width).contiguous(memory_format=memory_format)
            inputs = (
                x.requires_grad_(),
                torch.randn(channels, 1, kernel, kernel, requires_grad=True),
                torch.randn(channels, requires_grad=True),
            )
            passes[layout, function.__name__, "forward"] = forward_pass(function, inputs)
            passes[layout, function.__name__, "backward"] = backward_pass(function, inputs)
    medians = interleave(passes, seconds)
    return {
        (layout, name): Times(medians[layout, name, "forward"], medians[layout, name, "backward"])
        for layout, name, direction in passes
        if direction == "forward"
    }


def forward_pass(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...]
) -> Callable[[], object]:
    @torch.no_grad()
    def run() -> Tensor:
        return function(*inputs)

    return run


def backward_pass(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...]
) -> Callable[[], object]:
    y = function(*inputs)
    gradient = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, inputs, gradient, retain_graph=True)


def interleave(passes: dict[Key, Callable[[], object]], seconds: float) -> dict[Key, float]:
    """Median milliseconds of each pass, over rounds of all (at least 3) until `seconds` are over.

    In a round each pass runs twice and the second is timed, so that none finds the caches as
    another left them.
    """
    samples: dict[Key, list[float]] = {key: [] for key in passes}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or any(len(times) < 3 for times in samples.values()):
        for key, run in passes.items():
            run()
            start = time.perf_counter()
            run()
            samples[key].append(1e3 * (time.perf_counter() - start))
    return {key: statistics.median(times) for key, times in samples.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="time per case")
    parser.add_argument("--cases", nargs="*", default=TRAINING + CONVNEXT_T)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, ", end="")
    print(
        f"{arguments.threads} thread(s); milliseconds, forward / backward; ratio = conv2d / here\n"
    )
    cells = [f"{layout} {part}" for layout in LAYOUTS for part in ("conv2d", "here", "ratio")]
    print(f"| case | {' | '.join(cells)} |\n|{' --- |' * (len(cells) + 1)}")
    for case in arguments.cases:
        times = measure(case, arguments.seconds)
        row = []
        for layout in LAYOUTS:
            plain, here = times[layout, "conv2d"], times[layout, "depthwise_conv2d"]
            row += [f"{t.forward:.2f} / {t.backward:.2f}" for t in (plain, here)]
            row += [f"{plain.forward / here.forward:.1f} / {plain.backward / here.backward:.1f}"]
        print(f"| {case} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
