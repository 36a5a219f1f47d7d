"""Tiny tar shards, as the webdataset project lays them out."""

import io
import tarfile

import numpy as np
from commands import TINY
from PIL import Image

CLASSES = ("dark", "light", "grey")
SHARDS = (
    *TINY,
    "dataset=webdataset",
    "dataset.batch_size=4",
    "dataset.image_size=32",
    "dataset.splits.train='train-{0..2}.tar'",
    "dataset.splits.val='val-{0..1}.tar'",
    "dataset.recipe.rand_augment=null",
)


def image(number):
    """Bytes of a JPEG that is unlike any other number's."""
    rng = np.random.default_rng(number)
    pixels = rng.normal(60 + 80 * (number % 3), 20, (20, 24, 3)).clip(0, 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write_shard(path, samples):
    """A tar file of `(key, {ending: content})`."""
    with tarfile.open(path, "w") as shard:
        for key, parts in samples:
            for ending, content in parts.items():
                info = tarfile.TarInfo(f"{key}.{ending}")
                info.size = len(content)
                shard.addfile(info, io.BytesIO(content))


def sample(number, **changes):
    """One of three classes in turn."""
    parts = {"cls": str(number % 3).encode(), "jpg": image(number)} | changes
    return f"{number:06d}", {ending: part for ending, part in parts.items() if part is not None}


def write_splits(root, train=(7, 9, 8), val=(6, 5)):
    """Shards of these sizes, and the names of the classes; returns settings that name both."""
    root.mkdir(exist_ok=True)
    for split, sizes in (("train", train), ("val", val)):
        first = 0
        for number, size in enumerate(sizes):
            samples = [sample(i) for i in range(first, first + size)]
            write_shard(root / f"{split}-{number}.tar", samples)
            first += size
    (root / "classes.txt").write_text("\n".join(CLASSES))
    return (f"dataset.root={root}", f"dataset.classes={root / 'classes.txt'}")
