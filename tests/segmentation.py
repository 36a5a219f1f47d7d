"""Small segmentation runs and folders for the tests."""

import numpy as np
from commands import TINY
from PIL import Image

SEG = (
    *TINY,
    "task=seg",
    "dataset.image_size=32",
    "task.decode_head.channels=8",
    "task.auxiliary_head.channels=8",
)
SEG_SHAPES = (*SEG, "dataset.counts={train:16,val:6,test:7}")
SEG_FILES = (
    *SEG,
    "backbone.stem_stride=2",
    "dataset.batch_size=2",
    "dataset.recipe.resize=[96,32]",
)


def write_pair(folder, split, name, mask, images="images", masks="masks", suffix=".jpg"):
    """An image whose brightness follows its mask, and the mask itself."""
    rng = np.random.default_rng(len(name))
    pixels = 60 * (mask[..., None] % 4) + rng.integers(0, 60, (*mask.shape, 3))
    for kind, array, end in ((images, pixels.astype(np.uint8), suffix), (masks, mask, ".png")):
        place = folder / kind / split
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(place / f"{name}{end}")


def random_mask(seed, height, width, highest, lowest=0):
    """Blocks of random classes (H, W), uint8, lowest to highest."""
    blocks = np.random.default_rng(seed).integers(
        lowest, highest + 1, (-(-height // 8), -(-width // 8))
    )
    return np.kron(blocks, np.ones((8, 8), int))[:height, :width].astype(np.uint8)
