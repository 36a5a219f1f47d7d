"""Reading images for classification beside timm's loader, on one core.

    OMP_NUM_THREADS=1 python benchmarks/loading.py [--repeats 9] [--images 128]

Both sides read the same JPEG files, made here in a temporary folder: photographs of 500 x 375 are
imitated by noise of several scales with shapes, at quality 90. They draw the same random numbers,
and their batches of bytes are checked to be equal. timm's side is its `ImageDataset`, transforms
and collation, as `create_loader` puts them together, up to where batches leave for the device.
Printed are images per second of processor time, medians of interleaved repeats, and the ratio with
its least and largest value; training also from tar shards (dataset=webdataset), beside timm's
from files; then where the time goes.
"""

import argparse
import io
import random
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image, ImageDraw
from timm.data import ImageDataset, create_loader

from tasks.classification.data import Folders
from tasks.classification.transforms import mend_posterize
from tasks.classification.webdataset import WebShards
from tasks.data.images import read_image
from tasks.data.loaders import Loading
from tasks.data.transforms import image_bytes

SIZE = (500, 375)
BATCH = 32
RECIPE = {
    "image_size": 224,
    "crop_fraction": 0.875,
    "interpolation": "bicubic",
    "crop_scale": (0.08, 1.0),
    "crop_padding": 0,
    "flip": 0.5,
    "rand_augment": "rand-m9-mstd0.5-inc1",
    "erase": 0.25,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--repeats", type=int, default=9)
    options.add_argument("--images", type=int, default=128, help=f"a multiple of {BATCH}")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = write_files(root, chosen.images)
        print(f"timm {timm.__version__}, torch {torch.__version__}, {size / 1024:.0f} kB a file")
        print("| recipe | ours, images/s | timm, images/s | ratio | least and most |")
        print("|---|---|---|---|---|")
        files = {split: (ours(root, split), timms(root, split)) for split in ("train", "val")}
        check_equal(*files["train"])
        check_equal(*files["val"])
        compare("training", *files["train"], chosen.images, chosen.repeats)
        compare("evaluation", *files["val"], chosen.images, chosen.repeats)
        sides = ours_from_shards(root), files["train"][1]
        compare("training, ours from shards", *sides, chosen.images, chosen.repeats)
        stages(root)


def write_files(root: Path, count: int) -> float:
    """Class folders of both splits; returns the mean size of a file in bytes."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for number in range(count):
            folder = root / split / f"class-{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            photograph(rng).save(folder / f"{number:04d}.jpg", quality=90)
    sizes = [path.stat().st_size for path in root.glob("*/*/*.jpg")]
    return statistics.fmean(sizes)


def photograph(rng: np.random.Generator) -> Image.Image:
    """Noise whose amplitude falls with its frequency, ellipses, and a little grain."""
    width, height = SIZE
    image = np.zeros((height, width, 3))
    for cells in (6, 16, 48, 128):
        coarse = rng.integers(0, 256, (cells * 3 // 4, cells, 3), np.uint8)
        smooth = Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)
        image += np.asarray(smooth, np.float64) / cells**0.7
    image = 255 * (image - image.min()) / np.ptp(image)
    image = Image.fromarray(image.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, w, h = (int(rng.integers(20, limit)) for limit in (450, 330, 150, 150))
        draw.ellipse((x, y, x + w, y + h), fill=tuple(map(int, rng.integers(0, 256, 3))))
    grained = np.asarray(image) + rng.normal(0, 5, image.shape)
    return Image.fromarray(grained.clip(0, 255).astype(np.uint8))


def ours(root: Path, split: str) -> Iterable[torch.Tensor]:
    data = Folders("imagefolder", str(root), Loading(BATCH, workers=0), RECIPE)
    loader = data.train_dataloader() if split == "train" else data.val_dataloader()
    return Mapped(loader, lambda batch: batch["image"])


def timms(root: Path, split: str) -> Iterable[torch.Tensor]:
    loader = create_loader(
        ImageDataset(str(root / split)),
        RECIPE["image_size"],
        BATCH,
        is_training=split == "train",
        auto_augment=RECIPE["rand_augment"],
        interpolation=RECIPE["interpolation"],
        crop_pct=RECIPE["crop_fraction"],
        num_workers=0,
        persistent_workers=False,
        device=torch.device("cpu"),
    )
    if split == "train":  # or a run would end here now and then, with Pillow 13
        mend_posterize(loader.loader.dataset.transform)
    return Mapped(loader.loader, lambda batch: batch[0])  # without normalisation


def ours_from_shards(root: Path) -> Iterable[torch.Tensor]:
    paths = sorted(root.glob("train/*/*.jpg"))
    with tarfile.open(root / "train.tar", "w") as shard:
        for path in paths:
            label = path.parent.name[-1].encode()
            shard.add(path, path.name)
            info = tarfile.TarInfo(f"{path.stem}.cls")
            info.size = len(label)
            shard.addfile(info, io.BytesIO(label))
    (root / "classes.txt").write_text("0\n1\n")
    splits = {"train": "train.tar"}
    loading, names = Loading(BATCH, workers=0), str(root / "classes.txt")
    data = WebShards("webdataset", str(root), splits, names, 1000, loading, RECIPE)
    return Mapped(data.train_dataloader(), lambda batch: batch["image"])


class Mapped:
    """Batches of a loader, as often as they are asked for."""

    def __init__(self, loader: Iterable, function: Callable) -> None:
        self.loader = loader
        self.function = function

    def __iter__(self):
        return map(self.function, self.loader)


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def check_equal(first: Iterable[torch.Tensor], second: Iterable[torch.Tensor]) -> None:
    """Equal seeds must give equal batches."""
    seed(0)
    mine = [*first]
    seed(0)
    for batch, other in zip(mine, second, strict=True):
        if not torch.equal(batch.permute(0, 3, 1, 2), other):
            raise SystemExit("The batches of both sides differ: they are not comparable.")


def compare(
    name: str, first: Iterable[torch.Tensor], second: Iterable[torch.Tensor], count: int, turns: int
) -> None:
    """Time both in turn; print medians and the ratio of ours to timm's."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        for side, batches in zip(times, (first, second), strict=True):
            seed(turn)
            start = time.process_time()
            for _ in batches:
                pass
            side.append(time.process_time() - start)
    rates = [count / statistics.median(side) for side in times]
    ratios = sorted(other / own for own, other in zip(*times, strict=True))
    spread = f"{ratios[0]:.3f} to {ratios[-1]:.3f}"
    print(f"| {name} | {rates[0]:.0f} | {rates[1]:.0f} | {rates[0] / rates[1]:.3f} | {spread} |")


def stages(root: Path) -> None:
    """Milliseconds per image of each step of our training."""
    data = Folders("imagefolder", str(root), Loading(BATCH, workers=0), RECIPE)
    paths = [path for path, _ in data.images("train").files.samples]
    seed(0)
    images, start = [read_image(path) for path in paths], 0.0
    start = time.process_time()
    for path in paths:
        read_image(path)
    spent = {"read and decode": time.process_time() - start}
    for step in data.transform("train").transforms:
        start = time.process_time()
        images = [step(image) for image in images]
        spent[step.__name__ if step is image_bytes else type(step).__name__] = (
            time.process_time() - start
        )
    print("\n| step | ms an image |\n|---|---|")
    for name, seconds in spent.items():
        print(f"| {name} | {1000 * seconds / len(paths):.2f} |")


if __name__ == "__main__":
    main()
