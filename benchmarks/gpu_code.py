"""Print what the compiler makes of the Triton kernels, for a GPU that need not be there.

python benchmarks/gpu_code.py [--arch 90] [--dtype bfloat16] [--samples 128] [--kernel 17]

One line per shape of ConvNeXt-T and pass: programs, registers per thread, bytes spilled to memory,
shared memory per program, matrix instructions and asynchronous copies in the code, multiply-adds
per output cell (with those that meet a zero of a matrix), and two least times in microseconds by an
H200's published peaks: of these products on its matrix units, and of reading and writing all
tensors once.
"""

import argparse
from collections.abc import Iterator

import torch

from dcls.gpu.launches import Launch, convolution_launch, weight_gradient_launch
from dcls.gpu.machine_code import machine_code
from dcls.gpu.tiling import Tiling, tiling_of

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
    options = parser.parse_args()
    print(
        COLUMNS.format(
            *("shape", "pass", "programs", "registers", "spilled", "shared", "matrix", "copies"),
            *("products", "products us", "bytes us"),
        )
    )
    for channels, side in SHAPES:
        for name, tiling, launch in launches(channels, side, options):
            code = machine_code(launch, options.arch)
            cells = options.samples * channels * side * side
            size = launch.arguments["x"].element_size()
            per_cell = tiling.products / side**2
            matrix = sum(code.instructions[key] for key in ("HGMMA", "HMMA", "UTCHMMA"))
            print(
                COLUMNS.format(
                    f"{channels}x{side}x{side}",
                    name,
                    launch.programs,
                    code.registers,
                    code.spilled,
                    code.shared,
                    matrix,
                    code.instructions["LDGSTS"],
                    f"{per_cell:.0f}",
                    f"{1e6 * cells * per_cell / PEAK_PRODUCTS[options.dtype]:.0f}",
                    f"{1e6 * 2 * cells * size / PEAK_BYTES:.0f}",
                )
            )


def launches(
    channels: int, side: int, options: argparse.Namespace
) -> Iterator[tuple[str, Tiling, Launch]]:
    """The two large kernels for maps of one size."""
    kernel = min(options.kernel, 2 * side - 1)
    tiling = tiling_of(side, side, kernel, kernel)
    x = torch.empty(
        options.samples,
        channels,
        side,
        side,
        dtype=getattr(torch, options.dtype),
        device="meta",
    )
    stored = kernel + 2 * tiling.rows - 2
    matrices = x.new_empty(channels, stored, tiling.span, tiling.columns)
    size = (kernel, kernel)
    convolution = convolution_launch(x, matrices, x.new_empty(channels), x, tiling, size)
    yield "convolution", tiling, convolution
    yield "weight gradient", tiling, weight_gradient_launch(x, x, tiling, size)


if __name__ == "__main__":
    main()
