"""Time the Triton kernels beside PyTorch's own depthwise convolutions on this GPU.

python benchmarks/gpu_depthwise.py [--cases 128x96x56x56k17 ...] [--dtypes bfloat16] [--record]

First the two ceilings: bytes per second of an element-wise operation, and operations per second
of a product of matrices of 8192. Then a line per case, type, memory format and pass, in
microseconds: "forward", "input" and "weight" (the gradients), and "all" (forward and backward pass
through autograd, with the bias): bytes that must be moved (each tensor once), operations of the
dense kernel, the longer of the two times that these take at the ceilings (the limit), PyTorch's
time, that of the kernels (`backend = "triton"`, copies into and out of planes included), how many
times faster they are, and how many times the limit they take.

Each time is the median of replays of a CUDA graph that works through several sets of tensors in
turn, more than fit the card's cache. `--record` adds the cases to `dcls/gpu/wins.json`, which the
backend "auto" reads: a case is a win if forward and backward pass are both quicker.
"""

import argparse
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

import dcls.depthwise
from dcls.depthwise import depthwise_conv2d
from dcls.gpu.availability import obstacle
from dcls.gpu.records import Win, wins, write_wins

CASES = [
    f"{samples}x{channels}x{side}x{side}k{kernel}"
    for samples, kernel in ((128, 7), (128, 9), (128, 11), (128, 13), (128, 17), (8, 17), (1, 17))
    for channels, side in ((96, 56), (192, 28), (384, 14), (768, 7))
]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
PASSES = ("forward", "input", "weight", "all")
CACHES = 150e6
"""Bytes of all sets of tensors together: more than any card's cache."""

FEWEST, ENOUGH = 2, 9
"""Replays of a graph that takes long, and of any other."""

LONG = 1e5
"""Microseconds."""

SIDE = 8192
ROW = "{:>16} {:>9} {:>14} {:>8} {:>9} {:>9} {:>7} {:>9} {:>8} {:>7} {:>7}"


class Case(NamedTuple):
    """A convolution, in a type and a memory format."""

    samples: int
    channels: int
    height: int
    width: int
    kernel: int
    dtype: torch.dtype
    layout: str

    @property
    def cells(self) -> int:
        """Of input or output."""
        return self.samples * self.channels * self.height * self.width

    @property
    def label(self) -> str:
        """As on the command line."""
        return f"{self.samples}x{self.channels}x{self.height}x{self.width}k{self.kernel}"


def cases(texts: Sequence[str], dtypes: Sequence[str]) -> Iterator[Case]:
    """All that are asked for, written as NxCxHxWkK."""
    for text in texts:
        found = re.fullmatch(r"(\d+)x(\d+)x(\d+)x(\d+)k(\d+)", text)
        if found is None:
            raise SystemExit(f"case {text!r}: expected NxCxHxWkK, as in 128x96x56x56k17")
        for dtype in dtypes:
            for layout in LAYOUTS:
                samples, channels, height, width, kernel = map(int, found.groups())
                kind = getattr(torch, dtype)
                yield Case(samples, channels, height, width, kernel, kind, layout)


def graphed(functions: Sequence[Callable[[], object]]) -> float:
    """Median microseconds of one of the functions, which are run one after the other."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        functions[0]()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin()  # `torch.cuda.graph` would empty the caches each time
        for function in functions:
            function()
        graph.capture_end()
    graph.replay()
    times = []
    while len(times) < FEWEST or (len(times) < ENOUGH and sum(times) * len(functions) < LONG):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(1e3 * start.elapsed_time(end) / len(functions))
    return statistics.median(times)


def ceilings() -> tuple[float, float]:
    """Bytes and operations per second."""
    a = torch.randn(2**29, device="cuda").bfloat16()
    b = torch.empty_like(a)
    bandwidth = 1e6 * 2 * a.nbytes / graphed([lambda: torch.neg(a, out=b)] * 3)
    a = torch.randn(SIDE, SIDE, device="cuda").bfloat16()
    return bandwidth, 1e6 * 2 * SIDE**3 / graphed([lambda: a @ a] * 3)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What PyTorch does by itself."""
    return functional.conv2d(x, weight, bias, padding=weight.shape[2] // 2, groups=x.shape[1])


def times_of(case: Case, convolve: Callable[..., Tensor]) -> dict[str, float]:
    """Microseconds of each pass."""
    size = torch.finfo(case.dtype).bits // 8
    sets = max(2, round(CACHES / (2 * case.cells * size)))
    shape = (case.samples, case.channels, case.height, case.width)
    xs, gradients = (
        [
            torch.randn(shape, device="cuda", dtype=case.dtype).contiguous(
                memory_format=LAYOUTS[case.layout]
            )
            for _ in range(sets)
        ]
        for _ in range(2)
    )
    weight = torch.randn(
        case.channels, 1, case.kernel, case.kernel, device="cuda", dtype=case.dtype
    )
    bias = torch.randn(case.channels, device="cuda", dtype=case.dtype)
    wanted = {"input": (0,), "weight": (1,), "all": (0, 1, 2)}

    def backward(x: Tensor, gradient: Tensor, places: tuple[int, ...]) -> Callable[[], object]:
        def run() -> object:
            inputs = [
                tensor.detach().requires_grad_(place in places)
                for place, tensor in enumerate((x, weight, bias))
            ]
            y = convolve(inputs[0], inputs[1], inputs[2] if 2 in places else None)
            return torch.autograd.grad(y, [inputs[place] for place in places], gradient)

        return run

    def forward(x: Tensor) -> Callable[[], object]:
        @torch.no_grad()
        def run() -> object:
            return convolve(x, weight, bias)

        return run

    found = {"forward": graphed([forward(x) for x in xs])}
    for name, places in wanted.items():
        runs = [backward(x, g, places) for x, g in zip(xs, gradients, strict=True)]
        found[name] = graphed(runs)
    for name in ("input", "weight"):  # without the forward pass that autograd needs
        found[name] -= found["forward"]
    return found


def report(case: Case, bandwidth: float, rate: float) -> Win:
    """Measure, print, and return the record of a case."""
    dcls.depthwise.backend = "torch"
    theirs = times_of(case, conv2d)
    dcls.depthwise.backend = "triton"
    ours = times_of(case, depthwise_conv2d)
    size = torch.finfo(case.dtype).bits // 8
    for name in PASSES:
        tensors, products = (6, 3) if name == "all" else (2, 1)
        moved = tensors * case.cells * size
        operations = products * 2 * case.cells * case.kernel**2
        limit = 1e6 * max(moved / bandwidth, operations / rate)
        figures = [moved / 1e6, operations / 1e9, limit, theirs[name], ours[name]]
        ratios = [theirs[name] / ours[name], ours[name] / limit]
        row = [f"{figure:.0f}" for figure in figures] + [f"{ratio:.1f}" for ratio in ratios]
        dtype = str(case.dtype).removeprefix("torch.")
        print(ROW.format(case.label, dtype, case.layout, name, *row), flush=True)
    capability = ".".join(map(str, torch.cuda.get_device_capability()))
    return Win(
        device=torch.cuda.get_device_name(),
        capability=capability,
        dtype=dtype,
        layout=case.layout,
        planes=case.samples * case.channels,
        height=case.height,
        width=case.width,
        kernel_height=case.kernel,
        kernel_width=case.kernel,
        forward=round(theirs["forward"] / ours["forward"], 2),
        training=round(theirs["all"] / ours["all"], 2),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--cases", nargs="*", default=CASES)
    parser.add_argument(
        "--dtypes", nargs="*", default=["bfloat16"], choices=["bfloat16", "float16", "float32"]
    )
    parser.add_argument("--record", action="store_true", help="write dcls/gpu/wins.json")
    options = parser.parse_args()
    found = "no GPU is there" if not torch.cuda.is_available() else obstacle("cuda")
    if found is not None:
        sys.exit(f"nothing to measure: {found}")
    torch.manual_seed(0)
    bandwidth, rate = ceilings()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: ", end="")
    print(f"{bandwidth / 1e12:.2f} TB/s, {rate / 1e12:.0f} TFLOP/s in bfloat16\n")
    names = ("case", "type", "layout", "pass", "MB", "GFLOP", "limit", "PyTorch", "here")
    print(ROW.format(*names, "ratio", "limits"))
    rows = [report(case, bandwidth, rate) for case in cases(options.cases, options.dtypes)]
    if options.record:
        measured = {row[:10] for row in rows}
        write_wins([*(row for row in wins() if row[:10] not in measured), *rows])


if __name__ == "__main__":
    main()
