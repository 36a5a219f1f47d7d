"""COCO's figures of boxes beside torchmetrics: time and memory from arrays to figures.

    python benchmarks/detection_evaluation.py [--images 5000] [--repeats 3] [--threads 1]

Both sides get the same made-up split: 7.3 objects of 80 classes per image, of which one in a
hundred is a crowd, and 100 detections per image, half of them near objects. torchmetrics is
`MeanAveragePrecision` as it comes but for exact recalls, with pycocotools behind it: one `update`
with all images and one `compute`, without the figures of single classes that come with ours. Times
are medians of interleaved repeats in one process, in processor seconds, which other programs on the
machine disturb less than those of a clock. Memory is what the peak of a new process rises while it
evaluates, the split itself being made before. Printed last is what `mistakes` takes, once.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torchmetrics.detection import MeanAveragePrecision

from tasks.detection.records import ImageDetections, ImageTruth
from tasks.detection.scoring.coco import coco_figures
from tasks.detection.scoring.mistakes import mistakes

CLASSES, DETECTIONS, OBJECTS = 80, 100, 7.3
HEIGHT, WIDTH = 480, 640
SIDES = ("here", "torchmetrics")
Split = tuple[list[ImageTruth], list[ImageDetections]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--images", type=int, default=5000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--memory-of", choices=SIDES, help="print its growth in MiB, alone")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    memory = {}
    if not chosen.memory_of:  # before this process grows: a new one inherits its peak
        memory = {side: measured_alone(side, chosen.images) for side in SIDES}
    split = made_up(chosen.images)
    sides = {"here": ours(*split), "torchmetrics": theirs(*split)}
    if chosen.memory_of:
        print(growth(sides[chosen.memory_of]))
        return
    times = interleaved(sides, chosen.repeats)
    start = time.process_time()
    mistakes(*split, CLASSES)
    report(split, times, memory, time.process_time() - start)


def made_up(images: int) -> Split:
    """A split whose detections are good enough that matching has work to do."""
    rng = np.random.default_rng(0)
    return tuple(map(list, zip(*(scene(rng, i + 1) for i in range(images)), strict=True)))


def scene(rng: np.random.Generator, image_id: int) -> tuple[ImageTruth, ImageDetections]:
    count = int(rng.poisson(OBJECTS))
    boxes, labels = random_boxes(rng, count), rng.integers(0, CLASSES, count)
    crowd = rng.random(count) < 0.01
    size = (HEIGHT, WIDTH)
    truth = ImageTruth(image_id, size, boxes, labels, crowd, areas(boxes), None)
    near = DETECTIONS // 2 if count else 0
    source = rng.integers(0, max(1, count), near)
    sides = np.tile(boxes[source, 2:] - boxes[source, :2], 2)
    moved = boxes[source] + rng.normal(0, 0.15, (near, 4)) * sides
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    guesses = np.concatenate([labels, rng.integers(0, CLASSES, 8)])  # classes seen in one image
    kinds = guesses[rng.integers(0, len(guesses), DETECTIONS)]
    kinds[:near] = np.where(rng.random(near) < 0.8, labels[source], kinds[:near])
    scores = np.concatenate([rng.beta(2, 2, near), rng.beta(1, 6, DETECTIONS - near)])
    found = np.vstack([moved, random_boxes(rng, DETECTIONS - near)])
    best_first = np.argsort(-scores)
    return truth, ImageDetections(
        image_id,
        size,
        found[best_first].astype(np.float32),
        scores[best_first].astype(np.float32),
        kinds[best_first],
        None,
    )


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    low = rng.random((count, 2)) * [WIDTH - 100, HEIGHT - 100]
    sides = np.exp(rng.normal(4, 1, (count, 2))).clip(4, 400)
    return np.hstack([low, np.minimum(low + sides, [WIDTH, HEIGHT])])


def areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


def ours(truths: list[ImageTruth], detections: list[ImageDetections]) -> Callable[[], float]:
    return lambda: coco_figures(truths, detections, CLASSES, "bbox").ap


def theirs(truths: list[ImageTruth], detections: list[ImageDetections]) -> Callable[[], float]:
    found = [
        {name: torch.from_numpy(getattr(one, name)) for name in ("boxes", "scores", "labels")}
        for one in detections
    ]
    wanted = [
        {
            "boxes": torch.from_numpy(truth.boxes),
            "labels": torch.from_numpy(truth.labels),
            "iscrowd": torch.from_numpy(truth.crowd).long(),
            "area": torch.from_numpy(truth.areas),
        }
        for truth in truths
    ]

    recalls = np.linspace(0, 1, 101).tolist()  # torchmetrics' own are rounded to float32

    def evaluate() -> float:
        metric = MeanAveragePrecision(rec_thresholds=recalls)
        metric.update(found, wanted)
        return float(metric.compute()["map"])

    return evaluate


def interleaved(sides: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Processor seconds of each side in turn; stops where they do not agree."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(repeats):
        values = []
        for side, evaluate in sides.items():
            start = time.process_time()
            values.append(evaluate())
            times[side].append(time.process_time() - start)
        if abs(values[0] - values[1]) > 1e-6:
            raise SystemExit(f"AP {values[0]} here, {values[1]} by torchmetrics")
    return times


def growth(evaluate: Callable[[], float]) -> float:
    """MiB by which the peak memory of this process rises."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    evaluate()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def measured_alone(side: str, images: int) -> float:
    command = [sys.executable, __file__, "--images", str(images), "--memory-of", side]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def report(
    split: Split, times: dict[str, list[float]], memory: dict[str, float], mistakes_time: float
) -> None:
    truths, detections = split
    objects, found = (sum(len(one.labels) for one in images) for images in (truths, detections))
    print(f"{len(truths)} images, {objects} objects, {found} detections, {CLASSES} classes\n")
    print("| side | processor seconds (median) | least and most | peak memory, MiB more |")
    print("| --- | --- | --- | --- |")
    for side, values in times.items():
        spread = f"{min(values):.1f} to {max(values):.1f}"
        print(f"| {side} | {statistics.median(values):.1f} | {spread} | {memory[side]:.0f} |")
    here, others = (statistics.median(times[side]) for side in SIDES)
    print(
        f"\ntorchmetrics takes {others / here:.1f} times as long; mistakes: {mistakes_time:.1f} s"
    )


if __name__ == "__main__":
    main()
