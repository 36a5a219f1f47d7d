"""Corruptions made on the fly beside the package imagecorruptions, on one core.

    OMP_NUM_THREADS=1 python benchmarks/corruptions.py

imagecorruptions-imaug comes with the `test` extra. Every cell, a corruption at a severity, is made
by both sides in turn from the same image, after one turn that warms up caches and numba. Printed
are milliseconds per image, the mean over five severities of the median over repeats. Without the
package, ours alone are printed.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from tasks.robustness.corruptions import CORRUPTIONS, EXTRA, SEVERITIES, corrupt, generator_for

try:
    import cv2
    import imagecorruptions
except ImportError:
    imagecorruptions = None


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--height", type=int, default=224)
    options.add_argument("--width", type=int, default=224)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    if imagecorruptions is not None:
        cv2.setNumThreads(1)
    warnings.simplefilter("ignore")
    image = photograph(chosen.height, chosen.width)
    start = time.perf_counter()
    for turn in range(40):  # until all six sheets of frost are drawn: once per process
        corrupt(image, "frost", 1, generator_for(0, turn, "frost", 1))
    print(f"first use of frost: {time.perf_counter() - start:.1f} s, once per process")
    if imagecorruptions is None:
        print("imagecorruptions is not installed: see the head of this file. Ours alone:")
    print(f"| ms at {chosen.height} x {chosen.width} | ours | imagecorruptions | ratio |")
    print("|---|---|---|---|")
    rows = {name: both(image, name, chosen.repeats) for name in (*CORRUPTIONS, *EXTRA)}
    for name, row in rows.items():
        show(name, row)
    show("the 15, mean", average([rows[name] for name in CORRUPTIONS]))
    cells = [rows[name] for name in CORRUPTIONS]
    mine, others = (sum(row[side] for row in cells) * len(SEVERITIES) for side in (0, 1))
    show("all 75 cells", (mine, others))


def photograph(height: int, width: int) -> np.ndarray:
    """A photograph is imitated by coarse noise with a little fine noise on it."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 12, 3)).astype(np.uint8)
    image = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def both(image: np.ndarray, name: str, repeats: int) -> tuple[float, float]:
    """Milliseconds of both sides (NaN without the package), mean over severities."""
    return average([cell(image, name, severity, repeats) for severity in SEVERITIES])


def cell(image: np.ndarray, name: str, severity: int, repeats: int) -> tuple[float, float]:
    sides: list[Callable[[int], object]] = [
        lambda turn: corrupt(image, name, severity, generator_for(0, turn, name, severity))
    ]
    if imagecorruptions is not None:
        sides.append(
            lambda _: imagecorruptions.corrupt(image, severity=severity, corruption_name=name)
        )
    times: list[list[float]] = [[], []]
    for turn in range(repeats + 1):
        for side, run in zip(times, sides, strict=False):
            start = time.perf_counter()
            run(turn)
            if turn:  # the first one warms up
                side.append(1000 * (time.perf_counter() - start))
    mine, others = times
    return statistics.median(mine), statistics.median(others) if others else float("nan")


def average(rows: list[tuple[float, float]]) -> tuple[float, float]:
    mine, others = zip(*rows, strict=True)
    return statistics.fmean(mine), statistics.fmean(others)


def show(what: str, row: tuple[float, float]) -> None:
    print(f"| {what} | {row[0]:.2f} | {row[1]:.2f} | {row[1] / row[0]:.1f} |")


if __name__ == "__main__":
    main()
