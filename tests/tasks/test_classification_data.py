"""Class folders, idx files, unreadable images and shards."""

import gzip
import random
import struct

import numpy as np
import pytest
import torch
from commands import TINY, TINY_SHAPES
from optimization import SETTINGS
from PIL import Image
from timm.data import create_transform
from timm.data.random_erasing import RandomErasing
from torch import nn

from tasks.classification.data import Shapes
from tasks.classification.datasets import read_idx
from tasks.classification.task import ClassificationTask
from tasks.classification.transforms import ImageRecipe, eval_transform, train_transform
from tasks.data.images import Readable
from tasks.data.loaders import Loading, Shard, collate
from tasks.data.pixels import Pixels
from tasks.errors import DatasetError, SettingError

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


def write_idx(path, values, packed):
    content = struct.pack(">HBB", 0, 8, values.ndim)
    content += struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    if packed:
        path.with_suffix(".gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


@pytest.fixture(params=[True, False], ids=["gzipped", "plain"])
def fashion(request, tmp_path):
    root = tmp_path / "fashion"
    root.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", 30), ("t10k", 12)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_idx(root / f"{part}-images-idx3-ubyte", images, request.param)
        write_idx(root / f"{part}-labels-idx1-ubyte", labels, request.param)
    return root


def test_the_fashion_mnist_experiment_runs(run, fashion):
    ended = run(
        "experiment=fashion_mnist",
        f"dataset.root={fashion}",
        "dataset.val_count=10",
        *TINY,
        "dataset.image_size=28",
    )
    assert ended.code == 0, ended.err
    assert ended.results["facts"]["train_samples"] == 20
    assert ended.results["facts"]["val_samples"] == 10


def test_a_broken_idx_file_is_named(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\x00\x00\x08\x03\x00")
    with pytest.raises(DatasetError, match="train-images-idx3-ubyte is not a readable idx file"):
        read_idx(tmp_path, "train-images-idx3-ubyte")


def test_a_missing_idx_file_shows_the_expected_tree(tmp_path):
    with pytest.raises(DatasetError, match=r"t10k-labels-idx1-ubyte(.|\n)*dataset=shapes"):
        read_idx(tmp_path, "train-images-idx3-ubyte")


def test_a_class_folder_run_and_its_test_split(run, image_folder):
    ended = run(
        *TINY,
        "dataset=imagefolder",
        f"dataset.root={image_folder}",
        "dataset.image_size=32",
        "dataset.batch_size=4",
    )
    assert ended.code == 0, ended.err
    results = ended.results
    assert results["facts"]["test_split"] == "val"
    assert results["metrics"]["test/top1"] == pytest.approx(results["metrics"]["val/top1"])


def test_an_unreadable_image_is_skipped_logged_once_and_counted(run, image_folder):
    (image_folder / "val" / "dark" / "0.png").write_bytes(b"not an image")
    (image_folder / "train" / "dark" / "0.png").write_bytes(b"not an image")
    ended = run(
        *TINY,
        "dataset=imagefolder",
        f"dataset.root={image_folder}",
        "dataset.image_size=32",
        "dataset.batch_size=4",
        "trainer.max_epochs=2",
    )
    assert ended.code == 0, ended.err
    assert ended.results["facts"]["unreadable_samples"] == 2
    assert ended.err.count("val/dark/0.png") == 1


def test_an_unreadable_image_is_an_error_if_asked_for(run, image_folder):
    (image_folder / "val" / "light" / "3.png").write_bytes(b"not an image")
    ended = run(
        *TINY,
        "dataset=imagefolder",
        f"dataset.root={image_folder}",
        "dataset.image_size=32",
        "dataset.batch_size=4",
        "dataset.on_corrupt=error",
    )
    assert ended.code == 1
    assert "3.png" in ended.err
    assert "dataset.on_corrupt=skip" in ended.err


def test_shards_cover_every_sample_once():
    samples = [{"value": i} for i in range(7)]
    shards = [Shard(samples, rank, 3) for rank in range(3)]
    assert {len(shard) for shard in shards} == {3}
    seen = [s["value"] for shard in shards for s in (shard[i] for i in range(3)) if "value" in s]
    assert sorted(seen) == list(range(7))


def test_collate_leaves_out_padding_and_notes_unreadable():
    batch = collate([{"x": torch.ones(2)}, {"padding": True}, {"unreadable": "a.png"}])
    assert batch["x"].shape == (1, 2)
    assert batch["unreadable"] == ["a.png"]
    assert collate([{"padding": True}]) == {"unreadable": []}


def test_readable_passes_other_errors_on():
    class Broken:
        def __len__(self):
            return 1

        def __getitem__(self, index):
            raise KeyError(index)

    with pytest.raises(KeyError):
        Readable(Broken(), "skip")[0]


def noise(height, width):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


class Kept(nn.Module):
    """Keeps the images that it is given."""

    def forward(self, images):
        self.seen = images.clone()
        return torch.zeros(len(images), 10)


def drawn(transform, image, seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return transform(image)


def test_evaluation_is_bicubic_256_then_the_centre_224():
    image = noise(300, 400)
    out = eval_transform(ImageRecipe(**RECIPE))(image)
    by_hand = image.resize((341, 256), Image.Resampling.BICUBIC)
    left, top = round((341 - 224) / 2), (256 - 224) // 2
    np.testing.assert_array_equal(out, by_hand.crop((left, top, left + 224, top + 224)))


@pytest.mark.parametrize("size", [(300, 400), (500, 375), (256, 256), (100, 90)])
def test_evaluation_gives_timms_pixels(size):
    image = noise(*size)
    ours = eval_transform(ImageRecipe(**RECIPE))(image)
    theirs = create_transform(224, crop_pct=0.875, interpolation="bicubic", use_prefetcher=True)
    np.testing.assert_array_equal(ours.permute(2, 0, 1), theirs(image))
    plain = create_transform(224, crop_pct=0.875, interpolation="bicubic")
    normalised = Pixels(RECIPE["mean"], RECIPE["std"])(ours[None])[0]
    torch.testing.assert_close(normalised, plain(image), atol=1e-6, rtol=0)


def test_training_gives_timms_pixels():
    recipe = RECIPE | {"image_size": 64}
    theirs = create_transform(
        64,
        is_training=True,
        color_jitter=None,
        auto_augment=RECIPE["rand_augment"],
        interpolation="bicubic",
        use_prefetcher=True,
    )
    ours, image, seen = train_transform(ImageRecipe(**recipe)), noise(90, 120), set()
    for seed in range(150):
        mine = drawn(ours, image, seed)
        assert mine.shape == (64, 64, 3)
        seen.add(mine.numpy().tobytes())
        np.testing.assert_array_equal(mine.permute(2, 0, 1), drawn(theirs, image, seed))
    assert len(seen) == 150


def test_the_strongest_posterization_draws_black():
    transform = train_transform(ImageRecipe(**(RECIPE | {"image_size": 16})))
    (policy,) = (step for step in transform.transforms if type(step).__name__ == "RandAugment")
    (posterize,) = (op for op in policy.ops if op.name == "PosterizeIncreasing")
    image = noise(16, 16)
    for bits in range(1, 9):
        expected = np.asarray(image) & (256 - 2 ** (8 - bits))
        np.testing.assert_array_equal(posterize.aug_fn(image, bits), expected)
    assert not np.asarray(posterize.aug_fn(image, 0)).any()


def test_erasing_follows_normalisation_and_draws_as_timms_loader_does(monkeypatch):
    recipe = RECIPE | {"image_size": 32, "erase": 1.0}
    data = Shapes("shapes", "easy", {"train": 8, "val": 8, "test": 8}, 0, Loading(8), recipe)
    backbone = Kept()
    task = ClassificationTask(backbone, data, SETTINGS, "val/top1", {})
    monkeypatch.setattr(task, "log", lambda *_, **__: None)
    batch = data.collate([data.images("val")[i] for i in range(8)])
    random.seed(3)
    torch.manual_seed(3)
    task.shared_step(batch, "train")
    random.seed(3)
    torch.manual_seed(3)
    normalised = task.pixels(batch["image"])
    expected = RandomErasing(1.0, mode="pixel", max_count=1, device="cpu")(normalised.clone())
    torch.testing.assert_close(backbone.seen, expected, rtol=0, atol=0)
    task.classify(batch)
    torch.testing.assert_close(backbone.seen, normalised, rtol=0, atol=0)


def test_pixels_are_normalised_in_float32_whatever_the_network_computes_in(run):
    images = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 16, 16, 3)
    exact = Pixels(RECIPE["mean"], RECIPE["std"])
    expected = exact(images)
    rounded_once = expected.bfloat16()
    torch.testing.assert_close(exact.bfloat16()(images), rounded_once, rtol=0, atol=0)
    ended = run(*TINY_SHAPES, "trainer.precision=bf16-mixed", "dataset.recipe.erase=0.5")
    assert ended.code == 0, ended.err


def test_processes_erase_other_places(monkeypatch):
    draws = []
    for rank in (0, 1, 2):
        monkeypatch.setattr(ClassificationTask, "global_rank", rank)
        random.seed(5)
        ClassificationTask.on_fit_start(ClassificationTask.__new__(ClassificationTask))
        draws.append(random.random())
    assert len(set(draws)) == 3


def test_a_recipe_that_contradicts_itself_is_refused():
    with pytest.raises(SettingError, match="crop_scale"):
        ImageRecipe(**(RECIPE | {"crop_scale": None}))
