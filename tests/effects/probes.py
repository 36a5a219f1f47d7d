"""Probes of a data set: what its batches hold, and what its transforms make of an image."""

from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from tasks.detection.transforms import as_content
from tasks.engine.unreadable import check_readable
from tasks.errors import DatasetError


def image(split):
    """The first image of a split, pixel by pixel."""
    return lambda case: case.image(split).tolist()


def images(case):
    """The images of the first batch of training."""
    return case.batch("train")["image"].tolist()


def inputs(stage):
    """What the backbone is given in a step of a stage."""
    return lambda case: [one.tolist() for one in case.inputs(stage)]


def sides(*splits):
    """Height and width of the first image of each split."""
    return lambda case: [tuple(case.image(split).shape[:2]) for split in splits]


def count(split):
    return lambda case: case.data.count(split)


def batch_sizes(case):
    """Samples in the first batches of training and of a test."""
    batches = [case.batch(split) for split in ("train", "test")]
    return [len(batch["image"] if "image" in batch else batch["scenes"]) for batch in batches]


def workers(case):
    loaders = ("train_dataloader", "val_dataloader", "test_dataloader")
    return {getattr(case.data, name)().num_workers for name in loaders}


def unreadable(case):
    """What becomes of an image of the test split that cannot be read."""
    samples = case.data.split(case.data.test_split)

    def broken(*_):
        raise OSError("broken")

    with patch.multiple(
        samples.samples,
        **{n: broken for n in ("pil_image", "image") if hasattr(samples.samples, n)},
    ):
        try:
            return list(samples[0])
        except DatasetError:
            return "an error"


def spares_a_fifth(case):
    """Whether a split of which a fifth cannot be read is used all the same."""
    try:
        check_readable([f"{i}.png" for i in range(4)], 20, "a split", case.data.loading)
    except DatasetError:
        return False
    return True


def labels(split):
    """The labels of the first batch of a split."""

    def probe(case):
        batch = case.batch(split)
        found = batch["label"] if "label" in batch else batch["scenes"][0]["label"]
        return found.tolist()

    return probe


def draws(arguments):
    """The different images that the training transform makes of one image in a dozen draws."""

    def probe(case):
        transform, found = case.data.transform("train"), set()
        case._seed()
        for _ in range(12):
            done = transform(*arguments())
            found.add((done["image"] if isinstance(done, dict) else done).numpy().tobytes())
        return found

    return probe


def number_of_draws(arguments):
    """How many of them there are: two, if the image is mirrored now and then."""
    return lambda case: len(draws(arguments)(case))


def noise():
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def stem(case):
    return case.backbone.downsample_layers[0][0].stride


def pil():
    return (Image.fromarray(noise()),)


def image_and_mask():
    return noise(), np.zeros((32, 32), np.uint8)


def with_masks(case):
    return "masks" in case.batch("train")


def image_and_boxes():
    box = torch.tensor([[2.0, 2.0, 14.0, 14.0]])
    return (as_content(torch.from_numpy(noise()).permute(2, 0, 1), box, torch.tensor([1]), None),)


def smallest_and_largest(case):
    """Sides of the training images made of one image of 32 pixels, over a dozen draws."""
    case._seed()
    transform = case.data.transform("train")
    shapes = [transform(*image_and_boxes())["image"].shape[:2] for _ in range(12)]
    return min(map(min, shapes)), max(map(max, shapes))
