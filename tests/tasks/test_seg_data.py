"""Images and masks: mmsegmentation's pipelines, and what indices mean."""

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.datasets import ADE20KDataset
from mmseg.models import SegDataPreProcessor
from segmentation import random_mask, write_pair

from tasks.data.loaders import Loading
from tasks.data.pixels import Pixels
from tasks.segmentation.data import Ade20k, Shapes, generic_palette
from tasks.segmentation.masks import Labels, read_mask

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RECIPE = {
    "image_size": 64,
    "resize": (256, 64),
    "ratio_range": (0.5, 2.0),
    "max_class_share": 0.75,
    "flip": 0.5,
    "distort": True,
    "tta": "none",
    "mean": MEAN,
    "std": STD,
}
PUBLISHED_TRAINING = [
    {"type": "LoadImageFromFile"},
    {"type": "LoadAnnotations"},
    {"type": "RandomResize", "scale": (256, 64), "ratio_range": (0.5, 2.0), "keep_ratio": True},
    {"type": "RandomCrop", "crop_size": (64, 64), "cat_max_ratio": 0.75},
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "PhotoMetricDistortion"},
    {"type": "PackSegInputs"},
]
PUBLISHED_EVALUATION = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "scale": (256, 64), "keep_ratio": True},
    {"type": "LoadAnnotations"},
    {"type": "PackSegInputs"},
]


@pytest.fixture
def root(tmp_path):
    for split in ("training", "validation"):
        for i in range(4):
            mask = random_mask(i, 50 + 10 * i, 90 - 10 * i, highest=150)
            write_pair(tmp_path, split, f"ADE_{i}", mask, masks="annotations")
    return tmp_path


def ours(root, split):
    data = Ade20k("ade20k", str(root), None, True, Loading(2), RECIPE)
    return data.split(split)


def theirs(root, folder, pipeline):
    init_default_scope("mmseg")
    prefix = {"img_path": f"images/{folder}", "seg_map_path": f"annotations/{folder}"}
    return ADE20KDataset(data_root=str(root), data_prefix=prefix, pipeline=pipeline)


def test_training_samples_are_those_of_the_published_pipeline(root):
    found, wanted = ours(root, "train"), theirs(root, "training", PUBLISHED_TRAINING)
    normalise = SegDataPreProcessor(
        mean=[255 * m for m in MEAN],
        std=[255 * s for s in STD],
        bgr_to_rgb=True,
        size=(64, 64),
        pad_val=0,
        seg_pad_val=255,
    )
    pixels = Pixels(MEAN, STD)
    for index in [0, 1, 2, 3] * 3:
        seed = np.random.randint(2**31)
        np.random.seed(seed)
        sample = found[index]
        np.random.seed(seed)
        packed = wanted[index]
        batch = normalise(
            {"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]}, training=True
        )
        image = pixels(sample["image"][None], [sample["size"]])
        torch.testing.assert_close(image, batch["inputs"], atol=1e-5, rtol=1e-5)
        label = batch["data_samples"][0].gt_sem_seg.data[0]
        assert torch.equal(sample["label"].long(), label.long())


def test_evaluation_samples_are_those_of_the_published_pipeline(root):
    found, wanted = ours(root, "val"), theirs(root, "validation", PUBLISHED_EVALUATION)
    assert len(found) == len(wanted) == 4
    for index in range(4):
        sample, packed = found[index], wanted[index]
        assert torch.equal(sample["views"][0].flip(2).permute(2, 0, 1), packed["inputs"])
        label = packed["data_samples"].gt_sem_seg.data[0]
        assert torch.equal(sample["label"].long(), label.long())


def test_pixels_are_normalised_and_padding_is_zero():
    images = torch.full((2, 4, 4, 3), 255, dtype=torch.uint8)
    out = Pixels((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))(images, [(4, 4), (2, 3)])
    torch.testing.assert_close(out[0], torch.full((3, 4, 4), 2.0))
    assert float(out[1].sum()) == pytest.approx(3 * 2 * 3 * 2.0)
    assert (out[1, :, 2:] == 0).all()
    assert (out[1, :, :, 3:] == 0).all()


@pytest.mark.parametrize("ignore_zero", [False, True])
def test_what_indices_mean(tmp_path, ignore_zero):
    mask = random_mask(0, 16, 16, highest=3)
    write_pair(tmp_path, ".", "a", mask)
    found = read_mask(tmp_path / "masks/a.png", Labels(3 if ignore_zero else 4, ignore_zero))
    wanted = np.where(mask == 0, 255, mask - 1.0) if ignore_zero else mask
    assert np.array_equal(found, wanted)


def test_shapes_have_a_background_and_both_of_several_objects():
    counts = {"train": 40, "val": 1, "test": 1}
    recipe = RECIPE | {"resize": None, "ratio_range": None, "distort": False, "flip": 0.0}
    data = Shapes("shapes", "easy", counts, (2, 3), 0, Loading(4), recipe)
    samples = [data.split("train")[i] for i in range(40)]
    assert all((sample["label"] == 0).any() for sample in samples)
    assert max(len(sample["label"].unique()) for sample in samples) >= 3
    batch = data.collate(samples[:4])
    assert batch["image"].shape == (4, 64, 64, 3)
    assert batch["size"] == [(64, 64)] * 4
    assert batch["image"].dtype == torch.uint8


@pytest.mark.parametrize("count", [2, 21, 150])
def test_generic_colours_differ(count):
    palette = generic_palette(count)
    assert palette.shape == (count, 3)
    assert len(np.unique(palette, axis=0)) == count
