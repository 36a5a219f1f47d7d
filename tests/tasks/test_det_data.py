"""Training samples of detection, and how they come together in batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.detection.batches import ShapeBatches
from tasks.detection.data import DetectionData
from tasks.detection.transforms import (
    DetRecipe,
    EvalTransform,
    TrainTransform,
    as_content,
    fitted,
)
from tasks.errors import SettingError

RECIPE = DetRecipe(
    resize=(200, 100),
    scales=(60, 80, 100),
    crop=(40, 70),
    crop_scales=(50, 60),
    jitter=None,
    flip=0.5,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)


def recipe(**changes):
    return DetRecipe(**{**vars(RECIPE), **changes})


def content(height=90, width=120):
    """Bright rectangles on black with their boxes and masks."""
    boxes = torch.tensor([[10, 20, 50, 60], [70, 5, 115, 85]], dtype=torch.float32)
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    masks = torch.zeros(2, height, width, dtype=torch.uint8)
    for i, (x0, y0, x1, y1) in enumerate(boxes.long().tolist()):
        image[i, y0:y1, x0:x1] = 255
        masks[i, y0:y1, x0:x1] = 1
    return as_content(image, boxes, torch.tensor([3, 7]), masks)


@pytest.mark.parametrize("changes", [{}, {"crop": None}, {"jitter": 80}, {"resize": None}])
def test_objects_move_with_the_image(changes):
    transform = TrainTransform(recipe(**changes))
    sizes = set()
    for seed in range(40):
        torch.manual_seed(seed)
        sample = transform(content())
        height, width = sample["image"].shape[:2]
        sizes.add((height, width))
        assert sample["image"].dtype == torch.uint8
        assert len(sample["boxes"]) == len(sample["labels"]) == len(sample["masks"])
        assert sample["masks"].shape[1:] == (height, width)
        if min(height, width) < 40:
            continue  # too coarse to compare
        parts = (sample[name] for name in ("boxes", "labels", "masks"))
        for box, label, mask in zip(*parts, strict=True):
            rows, columns = torch.where(mask > 0)
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box, [int(side) for side in found], atol=2.5)
            channel = {3: 0, 7: 1}[int(label)]
            bright = sample["image"][..., channel] > 127
            assert (bright == mask.bool()).float().mean() > 0.93
    assert (len(sizes) == 1) == (changes == {"resize": None})


def test_scales_are_the_published_choice():
    torch.manual_seed(0)
    transform = TrainTransform(recipe(crop=None, flip=0))
    shortest = {min(transform(content())["image"].shape[:2]) for _ in range(60)}
    assert shortest == {60, 80, 100}


def test_crops_are_within_their_range():
    torch.manual_seed(0)
    transform = TrainTransform(recipe(scales=(1000,), resize=(10_000, 100), flip=0))
    ratios = []
    for _ in range(40):
        height, width = transform(content())["image"].shape[:2]
        assert min(height, width) == 1000
        ratios.append(round(width / height, 3))
    whole = round(1333 / 1000, 3)
    cropped = [ratio for ratio in ratios if ratio != whole]
    assert 10 < len(cropped) < 30  # half of them
    assert all(40 / 70 - 0.01 <= ratio <= 70 / 40 + 0.01 for ratio in cropped)


def test_evaluation_keeps_both_sides_below_theirs():
    assert fitted((480, 640), (1333, 800)) == (800, 1067)
    assert fitted((400, 1200), (1333, 800)) == (444, 1333)
    assert fitted((1, 1), (1333, 800)) == (800, 800)
    assert fitted((50, 10_000), (1333, 800)) == (7, 1333)
    assert fitted((1, 10_000), (1333, 800)) == (1, 1333)
    view = EvalTransform(RECIPE)(content()["image"])
    assert view.shape == (100, 133, 3)
    assert EvalTransform(recipe(resize=None))(content()["image"]).shape == (90, 120, 3)


def test_recipes_that_cannot_work():
    with pytest.raises(SettingError, match=r"dataset\.recipe\.resize=\[0, 5\]"):
        recipe(resize=(0, 5))
    with pytest.raises(SettingError, match=r"dataset\.recipe\.scales is empty"):
        recipe(scales=())
    with pytest.raises(SettingError, match=r"crop=\[40, 70\] needs dataset\.recipe\.crop_scales"):
        recipe(crop_scales=())
    recipe(crop_scales=(), jitter=64)  # in place of scales and crop


def test_a_batch_is_padded_and_keeps_the_objects_of_each():
    transform = TrainTransform(recipe(flip=0, scales=(60,), crop=None))
    wide, tall = transform(content()), transform(content(width=116, height=200))
    batch = DetectionData.collate([{**wide, "index": 0}, {"unreadable": "x"}, {**tall, "index": 1}])
    assert batch["image"].shape == (2, 128, 96, 3)
    assert batch["size"] == [(60, 80), (103, 60)]
    assert [len(boxes) for boxes in batch["boxes"]] == [2, 2]
    assert [mask.shape[1:] for mask in batch["masks"]] == [(60, 80), (103, 60)]
    assert batch["unreadable"] == ["x"]
    assert not batch["image"][0, 60:].any()
    scenes = DetectionData.collate([{"view": wide["image"], "index": 0}, {"padding": True}])
    assert len(scenes["scenes"]) == 1


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.booleans(), max_size=60),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 100),
)
def test_batches_are_of_one_shape_and_the_same_number_everywhere(wide, size, world, seed):
    parts = [list(ShapeBatches(wide, size, world, rank, seed)) for rank in range(world)]
    expected = len(wide) // (size * world)
    assert [len(part) for part in parts] == [expected] * world
    assert len(ShapeBatches(wide, size, world, 0, seed)) == expected
    drawn = [index for part in parts for batch in part for index in batch]
    assert len(drawn) == len(set(drawn)) == expected * size * world
    mixed = sum(
        len({wide[i] for part in parts for i in part[step]}) > 1 for step in range(expected)
    )
    assert mixed <= 1


def test_every_epoch_has_its_own_order():
    batches = ShapeBatches([True] * 20, 2, 1, 0, seed=0)
    first = list(batches)
    assert list(batches) == first
    batches.sampler.set_epoch(1)
    assert list(batches) != first
