"""Defaults follow the size of the dataset, and say so; what the user chose is not replaced."""

import csv

import pytest
from commands import TINY, refused
from detection import DET, write_split
from PIL import Image
from segmentation import SEG, random_mask, write_pair
from shards import SHARDS, write_splits

from tasks.data.loaders import Loading, TaskData
from tasks.engine.callbacks import log_interval
from tasks.errors import SettingError


def without(settings, *names):
    return [item for item in settings if item.partition("=")[0] not in names]


@pytest.fixture
def quick_end(monkeypatch):
    """No report is looked at here."""
    monkeypatch.setattr("tasks.job.write_run_report", lambda *parts: parts[1] / "report.html")


def curve(folder):
    with (folder / "metrics.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]


@pytest.mark.parametrize(
    ("settings", "logged"),
    [
        ((), list(range(6))),
        (("trainer.log_every_n_steps=4",), [3]),
    ],
    ids=["auto", "as asked for"],
)
def test_few_steps_are_all_logged(run, quick_end, settings, logged):
    few = without(TINY, "trainer.log_every_n_steps", "trainer.max_epochs")
    counts = "dataset.counts={train:24,val:4,test:4}"
    ended = run(*few, counts, "trainer.max_epochs=2", *settings)
    assert ended.code == 0, ended.err
    assert curve(ended.folder) == logged
    assert (f"logged every {4 if settings else 1} step") in ended.out


@pytest.mark.parametrize(
    ("steps", "interval"), [(1, 1), (10, 1), (99, 1), (336, 6), (10_000, 20), (float("inf"), 20)]
)
def test_the_interval_of_logging_follows_the_number_of_steps(steps, interval):
    assert log_interval(steps) == interval


def test_an_interval_that_is_no_number_is_refused(run):
    ended = run(*TINY, "trainer.log_every_n_steps=often", "dataset.counts={train:8,val:4,test:4}")
    refused(ended, "trainer.log_every_n_steps=often", "auto")


def seg_folder(root):
    for split, count in (("train", 3), ("val", 2)):
        for i in range(count):
            write_pair(root, split, f"image{i}", random_mask(i, 48, 64, highest=1))
    (root / "classes.txt").write_text("water\nmeadow\n")
    return (*SEG, "backbone.stem_stride=2", "dataset=seg_folder", "dataset.recipe.resize=[96,32]")


def coco_folder(root):
    write_split(root, "train", 1)
    write_split(root, "val", 2, first=1)
    size = ("dataset.recipe.resize=[96,64]", "dataset.recipe.scales=[48,64]")
    crop = ("dataset.recipe.crop_scales=[40,56]", "dataset.recipe.crop=[32,48]")
    return (*DET, "backbone.stem_stride=2", "dataset=coco_folder", *size, *crop)


def shards(root):
    names = ("dataset.splits.train='train-{0..1}.tar'", "dataset.splits.val=val-0.tar")
    return (*SHARDS, *write_splits(root, train=(3, 2), val=(2,)), *names)


def image_folders(root):
    for split in ("train", "val"):
        for name, level in (("dark", 60), ("light", 190)):
            (root / split / name).mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (24, 20), (level, level, 10 * i)).save(
                    root / split / name / f"{i}.png"
                )
    return (*TINY, "backbone.stem_stride=2", "dataset=imagefolder", "dataset.image_size=32")


@pytest.mark.parametrize(
    ("folder", "images", "usual"),
    [(image_folders, 4, 128), (shards, 5, 128), (seg_folder, 3, 2), (coco_folder, 1, 2)],
    ids=["cls", "webdataset", "seg", "det"],
)
def test_a_default_batch_that_is_larger_than_the_split_is_lowered_and_said(
    run, quick_end, tmp_path, folder, images, usual
):
    settings = without(folder(tmp_path / "own"), "dataset.batch_size")
    root = f"dataset.root={tmp_path / 'own'}"
    ended = run(*settings, root)
    assert ended.code == 0, ended.err
    lowered = usual > images
    assert ended.results["facts"]["steps"] == 1
    told = [note for note in ended.results["notes"] if "dataset.batch_size" in note]
    assert bool(told) == lowered
    if lowered:
        assert f"{images} instead of {usual}" in told[0]
        assert told[0] in " ".join(ended.out.split())


def test_a_batch_size_that_was_asked_for_is_refused_and_leaves_no_folder(run, tmp_path):
    settings = without(image_folders(tmp_path / "own"), "dataset.batch_size")
    ended = run(*settings, f"dataset.root={tmp_path / 'own'}", "dataset.batch_size=128")
    refused(ended, "dataset.batch_size=128", "dataset.batch_size=4 or less")
    assert ended.folders == []


class Few(TaskData):
    """A dataset of so many training samples."""

    def __init__(self, samples, batch_size):
        super().__init__("few", Loading(batch_size))
        self.samples = samples

    def count(self, split):
        return self.samples


@pytest.mark.parametrize(
    ("samples", "processes", "size"), [(5, 1, 5), (5, 2, 2), (16, 2, 8), (17, 2, 8), (3, 3, 1)]
)
def test_processes_share_the_training_split(samples, processes, size):
    data = Few(samples, batch_size=8)
    told = data.fit_batches(processes, given=False)
    assert data.loading.batch_size == size
    assert (told is None) == (size == 8)
    again = data.fit_batches(processes, given=True)
    assert again is None


def test_more_processes_than_samples_are_refused():
    with pytest.raises(SettingError, match=r"trainer.devices=2 or less"):
        Few(2, batch_size=8).fit_batches(3, given=False)
