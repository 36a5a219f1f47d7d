"""Print what the compiler makes of the Triton kernels, for a GPU that need not be there.

python benchmarks/gpu_code.py [--arch 90] [--dtype bfloat16] [--samples 128]
    [--kernel 17] [--layout channels_last]

One line per shape of ConvNeXt-T and pass: programs, registers per thread, bytes spilled to memory,
shared memory per program, matrix instructions and asynchronous copies in the code, multiply-adds
per output cell (with those that meet a zero of a matrix), and two least times in microseconds by an
H200's published peaks: of these products on its matrix units, and of reading and writing all
tensors once.
"""

import argparse
from collections.abc import Iterator

import torch

from dcls.gpu.convolution import _convolution, _weight_gradient
from dcls.gpu.launches import Case, Launch
from dcls.gpu.layout import padded_layout, plain_layout
from dcls.gpu.machine_code import machine_code
from dcls.gpu.tiling import Tiling

SHAPES = ((96, 56), (192, 28), (384, 14), (768, 7))
PEAK_PRODUCTS = {"bfloat16": 989e12 / 2, "float16": 989e12 / 2, "float32": 495e12 / 2 / 3}
"""Multiply-adds per second; those of float32 are three of tf32."""

PEAK_BYTES = 4.8e12
COLUMNS = "{:>9} {:>15} {:>8} {:>9} {:>7} {:>7} {:>6} {:>6} {:>11} {:>11} {:>8}"


def main() -> None:
    """Compile and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", type=int, default=90)
    parser.add_argument("--dtype", default="bfloat16", choices=PEAK_PRODUCTS)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--kernel", type=int, default=17)
    parser.add_argument(
        "--layout", default="channels_last", choices=["channels_last", "contiguous"]
    )
    options = parser.parse_args()
    print(
        COLUMNS.format(
            *("shape", "pass", "programs", "registers", "spilled", "shared", "matrix", "copies"),
            *("products", "products us", "bytes us"),
        )
    )
    dtype = getattr(torch, options.dtype)
    for channels, side in SHAPES:
        for name, tiling, launch, types in launches(channels, side, options):
            code = machine_code(launch, types, options.arch)
            cells = options.samples * channels * side * side
            per_cell = tiling.products / side**2
            matrix = sum(code.instructions[key] for key in ("HGMMA", "HMMA", "UTCHMMA"))
            print(
                COLUMNS.format(
                    f"{channels}x{side}x{side}",
                    name,
                    launch.grid[0],
                    code.registers,
                    code.spilled,
                    code.shared,
                    matrix,
                    code.instructions["LDGSTS"],
                    f"{per_cell:.0f}",
                    f"{1e6 * cells * per_cell / PEAK_PRODUCTS[options.dtype]:.0f}",
                    f"{1e6 * 2 * cells * dtype.itemsize / PEAK_BYTES:.0f}",
                )
            )


def launches(
    channels: int, side: int, options: argparse.Namespace
) -> Iterator[tuple[str, Tiling, Launch, list[torch.dtype | None]]]:
    """The two large kernels for maps of one size, and the types of their tensors."""
    kernel, dtype = options.kernel, getattr(torch, options.dtype)
    layout = (
        plain_layout(side)
        if options.layout == "contiguous"
        else padded_layout(side, side, kernel, kernel)
    )
    case = Case(options.samples, channels, side, layout, kernel, kernel)
    _, _, launch = _convolution(case, dtype, True, False)
    yield "convolution", case.tiling, launch, [dtype, dtype, dtype, dtype]
    launch, _ = _weight_gradient(case, dtype)
    yield "weight gradient", case.gradient_tiling, launch, [dtype, dtype, torch.float32]


if __name__ == "__main__":
    main()
