"""The parts of a robustness evaluation one by one: images, subsets, outcomes and intervals."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from tasks.data.images import AlteredImages, ImageDataset, read_array
from tasks.errors import SettingError
from tasks.robustness.cells import Cell
from tasks.robustness.data import AlteredSource, CellBatches, Cells, balanced_subset
from tasks.robustness.on_the_fly import (
    Corruption,
    chosen_corruptions,
    corruptions_of,
    parse_corruption,
    published_crop,
)
from tasks.robustness.scoring.intervals import (
    apart,
    interval,
    mean_interval,
    resampled_means,
    share_interval,
)
from tasks.robustness.scoring.outcomes import NO_PREDICTION, joined, outcomes_of
from tasks.robustness.scoring.scores import LabelSpaces


class Numbers(ImageDataset):
    """Images of one colour each, in classes of unequal size."""

    def __init__(self, classes):
        self.classes = classes

    def __len__(self):
        return len(self.classes)

    def image(self, index):
        return np.full((12, 10, 3), index, np.uint8)

    def image_name(self, index):
        return f"{self.classes[index]}/{index}"

    def class_labels(self):
        return self.classes

    def sample(self, index, image):
        return {"image": image, "index": index}


@pytest.mark.parametrize(
    "size", [(300, 400), (400, 300), (224, 224), (97, 1000), (31, 8), (256, 257)]
)
def test_the_published_crop_is_torchvisions(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    steps = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224)])
    expected = np.asarray(steps(Image.fromarray(pixels)))
    np.testing.assert_array_equal(published_crop(pixels), expected)


def test_an_alteration_comes_between_reading_and_preparing():
    images = AlteredImages(Numbers([0, 1]), lambda image, name: image + int(name[-1]))
    assert images[1]["image"].max() == 2
    assert images[1]["index"] == 1
    assert images.image_name(1) == "1/1"


def test_without_a_name_only_the_profile_changes_a_image():
    image = np.random.default_rng(0).integers(0, 256, (300, 260, 3), np.uint8)
    assert Corruption("", 0, 0, "any-size")(image, "x") is image
    assert Corruption("", 0, 0, "imagenet-c")(image, "x").shape == (224, 224, 3)
    assert Corruption("fog", 3, 0, "any-size")(image, "x").shape == image.shape


def test_corruptions_are_chosen_by_kind_or_name_in_the_published_order():
    assert len(chosen_corruptions("published")) == 15
    assert len(chosen_corruptions("all")) == 19
    assert chosen_corruptions(["spatter", "fog", "gaussian_noise"]) == (
        "gaussian_noise",
        "fog",
        "spatter",
    )
    cells = [c.cell for c in corruptions_of(["fog"], 0, "any-size")]
    assert [cell.name for cell in cells[:2]] == ["clean", "corrupted/fog/1"]
    assert len(cells) == 6
    with pytest.raises(SettingError, match="mist"):
        chosen_corruptions(["mist"])
    with pytest.raises(SettingError, match="severity"):
        parse_corruption("fog/0", 0, "any-size")


@pytest.mark.parametrize("limit", [1, 5, 7, 12, 20])
def test_a_subset_has_classes_alike_and_depends_on_names_alone(limit):
    labels = [0] * 9 + [1] * 2 + [2] * 9
    names = [f"{label}/{i}" for i, label in enumerate(labels)]
    chosen = balanced_subset(names, labels, limit)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == limit
    counts = np.bincount([labels[i] for i in chosen], minlength=3)
    full = [count == total for count, total in zip(counts, (9, 2, 9), strict=True)]
    rest = [count for count, complete in zip(counts, full, strict=True) if not complete]
    assert not rest or max(rest) - min(rest) <= 1
    order = np.random.default_rng(0).permutation(20)
    moved = balanced_subset([names[i] for i in order], [labels[i] for i in order], limit)
    assert {names[order[i]] for i in moved} == {names[i] for i in chosen}


def test_every_image_of_every_cell_is_given_to_one_process_once():
    sources = [AlteredSource(Numbers([0] * 7), c) for c in corruptions_of(["fog"], 0, "any-size")]
    cells = Cells(sources, None)
    batches = [list(CellBatches(cells, [0, 2], 2, 3, rank)) for rank in range(3)]
    assert len({len(own) for own in batches}) == 1  # in step
    assert all(len({number for number, _ in batch}) == 1 for own in batches for batch in own)
    places = [place for own in batches for batch in own for place in batch if place[1] is not None]
    assert sorted(places) == [(number, i) for number in (0, 2) for i in range(7)]
    assert cells.digest(0) == cells.digest(2)
    assert cells.digest(0) != Cells(sources, 3).digest(0)


def test_outcomes_hold_predictions_and_what_is_none():
    nan, inf = float("nan"), float("inf")
    logits = torch.tensor(
        [[0.0, 2.0], [3.0, 3.0 - np.log(3)], [nan, 1.0], [-inf, 1.0], [-inf, -inf]]
    )
    outcomes = outcomes_of(logits, torch.tensor([1, 1, 1, 1, 0]), [4, 3, 2, 1, 0])
    assert outcomes.predicted.tolist() == [1, 0, NO_PREDICTION, 1, NO_PREDICTION]
    assert outcomes.confidence[1] == pytest.approx(0.75)
    assert outcomes.confidence[[2, 4]].tolist() == [0, 0]
    assert outcomes.right.tolist() == [1, 0, 0, 1, 0]
    assert outcomes.broken == 2
    whole = joined([outcomes.of(outcomes.index > 2), outcomes.of(outcomes.index <= 2)])
    assert whole.index.tolist() == [0, 1, 2, 3, 4]
    bins = whole.calibration
    assert bins.images.sum() == 5
    assert bins.images[0] == 2
    assert bins.bin_accuracy[int(0.75 * 15)] == 0
    assert np.isnan(bins.bin_confidence[bins.images == 0]).all()


def test_classes_of_a_model_are_put_in_their_places():
    spaces = LabelSpaces(outputs=(5, 2), count=8)
    wide = spaces.expanded(torch.tensor([[1.0, 2.0]]))
    assert wide.argmax().item() == 2
    assert torch.isneginf(wide).sum() == 6
    assert spaces.known(torch.tensor([2, 3, 5])).tolist() == [True, False, True]


def test_intervals_are_those_of_the_bootstrap():
    values = np.random.default_rng(1).normal(3, 2, 400)
    low, high = mean_interval(values)
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    assert mean_interval(np.ones(9)) == (1, 1)
    assert np.isnan(mean_interval(np.ones(0))).all()
    right = (np.arange(500) < 300).astype(float)
    assert share_interval(300, 500) == pytest.approx(mean_interval(right), abs=0.004)
    assert share_interval(0, 7) == (0, 0)
    assert np.isnan(share_interval(0, 0)).all()
    assert np.isnan(interval(np.array([1.0, np.nan]))).all()


def test_differences_of_the_same_images_are_narrower_than_of_others():
    rng = np.random.default_rng(2)
    first = rng.random(300)
    second = first + rng.normal(0.1, 0.01, 300)
    paired, unpaired = mean_interval(second - first), apart(second, first)
    assert paired[0] > 0.09
    assert unpaired[1] - unpaired[0] > 10 * (paired[1] - paired[0])
    spread = resampled_means(first).std() * np.sqrt(2)
    assert unpaired[1] - unpaired[0] == pytest.approx(2 * 1.96 * spread, rel=0.15)


def test_images_of_any_mode_are_read_as_rgb(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    deep = grey.astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    for name in ("deep", "grey"):
        image = read_array(tmp_path / f"{name}.png")
        assert image.shape == (16, 16, 3)
        np.testing.assert_array_equal(image[..., 1], grey)
    colour = Image.fromarray(np.stack([grey, 255 - grey, grey // 2], 2))
    for mode, suffix in (
        ("RGBA", "png"),
        ("P", "png"),
        ("CMYK", "jpg"),
        ("LA", "png"),
        ("1", "png"),
    ):
        colour.convert(mode).save(tmp_path / f"{mode}.{suffix}")
        image = read_array(tmp_path / f"{mode}.{suffix}")
        assert (image.shape, image.dtype) == ((16, 16, 3), np.uint8), mode


def test_names_of_cells():
    assert Cell("clean").name == "clean"
    assert Cell("imagenet-c", "fog", 3).name == "imagenet-c/fog/3"
