"""Streaming from tar shards: who reads what, in which order, and what is wrong with shards."""

import io
import json
import tarfile
from pathlib import Path

import pytest
import torch
from commands import refused
from shards import SHARDS, sample, write_shard, write_splits

from tasks.classification.shards import TarShard, count_samples, find_shards
from tasks.classification.streams import ShardSamples, read_shard
from tasks.data.sequential import BlockBatches
from tasks.errors import DatasetError

TRAIN, VAL = "train-{0..2}.tar", "val-{0..1}.tar"


def samples_of(root, pattern, buffer=0, seed=0):
    def transform(image):
        return torch.tensor(image.size)

    return ShardSamples(find_shards(str(root), pattern), 3, transform, "error", None, buffer, seed)


def read(samples, size, world, workers, drop_last, epoch=0):
    """Numbers of the samples of every batch: [rank][step]."""
    ranks = []
    for rank in range(world):
        batches = BlockBatches(len(samples), size, world, rank, workers, drop_last)
        batches.set_epoch(epoch)
        steps = [[samples[place] for place in batch] for batch in batches]
        assert len(steps) == len(batches)
        ranks.append([[s["index"] for s in step if "padding" not in s] for step in steps])
    return ranks


@pytest.mark.parametrize("workers", [0, 1, 3, 5])
@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 4])
def test_evaluation_reads_every_sample_once(tmp_path, world, workers, size):
    write_splits(tmp_path)
    ranks = read(samples_of(tmp_path, TRAIN), size, world, workers, drop_last=False)
    assert len({len(steps) for steps in ranks}) == 1
    assert sorted(i for steps in ranks for step in steps for i in step) == list(range(24))
    if workers < 2:  # in the order of the shards
        assert [i for steps in ranks for step in steps for i in step] == list(range(24))


@pytest.mark.parametrize("workers", [0, 1, 3, 5])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_training_gives_every_process_as_many_full_batches_of_its_own(tmp_path, world, workers):
    write_splits(tmp_path)
    samples = samples_of(tmp_path, TRAIN, buffer=5)
    ranks = read(samples, 3, world, workers, drop_last=True)
    assert {len(steps) for steps in ranks} == {24 // (3 * world)}
    seen = [i for steps in ranks for step in steps for i in step]
    assert len(set(seen)) == len(seen) == 24 // (3 * world) * 3 * world


def test_epochs_differ_and_come_again(tmp_path):
    write_splits(tmp_path)

    def order(epoch, seed=0):
        samples = samples_of(tmp_path, TRAIN, buffer=5, seed=seed)
        (steps,) = read(samples, 4, 1, 2, drop_last=True, epoch=epoch)
        return [i for step in steps for i in step]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != order(0, seed=1)
    assert sorted(order(1)) == list(range(24))
    assert [i // 8 for i in order(0)] != sorted(i // 8 for i in order(0))  # shards are mixed


def test_a_block_can_be_entered_anywhere(tmp_path):
    write_splits(tmp_path)
    (batches,) = [list(BlockBatches(24, 4, 1, 0, 2, drop_last=True))]
    samples = samples_of(tmp_path, TRAIN, buffer=5)
    expected = {place: samples[place]["index"] for batch in batches for place in batch}
    anew = samples_of(tmp_path, TRAIN, buffer=5)
    for place in reversed(expected):
        assert anew[place]["index"] == expected[place]


def test_a_worker_opens_only_the_shards_of_its_block(tmp_path, monkeypatch):
    write_splits(tmp_path)
    opened = []

    def watched(shard, classes):
        opened.append(Path(shard.url).name)
        return read_shard(shard, classes)

    monkeypatch.setattr("tasks.classification.streams.read_shard", watched)
    read(samples_of(tmp_path, TRAIN), 4, 3, 1, drop_last=False)  # stretches of 8; shards 7, 9, 8
    assert opened == ["train-0.tar", "train-1.tar", "train-1.tar", "train-2.tar"]


def test_labels_and_images_belong_together(tmp_path):
    write_splits(tmp_path)
    records = list(read_shard(find_shards(str(tmp_path), VAL)[1], 3))
    assert [record.label for record in records] == [i % 3 for i in range(6, 11)]
    assert [record.image for record in records] == [sample(i)[1]["jpg"] for i in range(6, 11)]


@pytest.mark.parametrize("prefix", ["", "file:", "pipe:cat "])
@pytest.mark.parametrize("kind", ["_info.json", "sizes.json"])
def test_sizes_come_from_an_index(tmp_path, prefix, kind):
    write_splits(tmp_path)
    sizes = {"val-0.tar": 6, "val-1.tar": 5}
    split = {"filenames": list(sizes), "shard_lengths": list(sizes.values())}
    content = sizes if kind == "sizes.json" else {"splits": {"validation": split}}
    (tmp_path / kind).write_text(json.dumps(content))
    shards = find_shards(f"{prefix}{tmp_path}", VAL)
    assert [shard.samples for shard in shards] == [6, 5]
    assert [len(list(read_shard(shard, 3))) for shard in shards] == [6, 5]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("folder", ["", "a" * 120 + "/"], ids=["short", "long"])
def test_samples_are_counted_in_any_tar_file(tmp_path, kind, mode, folder):
    with tarfile.open(tmp_path / "x.tar", mode, format=kind) as shard:
        directory = tarfile.TarInfo("folder")
        directory.type = tarfile.DIRTYPE
        shard.addfile(directory)
        for name, size in (
            ("0.cls", 1),
            ("0.jpg", 700),
            ("1.jpg", 512),
            ("1.cls", 1),
            ("2.jpg", 0),
        ):
            info = tarfile.TarInfo(f"{folder}{name}")
            info.size = size
            shard.addfile(info, io.BytesIO(bytes(size)))
    assert count_samples(tmp_path / "x.tar") == 3


def test_a_url_without_an_index_is_an_error(tmp_path, capfd):
    write_splits(tmp_path)
    with pytest.raises(DatasetError, match=r"2 of 2 shards is unknown(.|\n)*_info\.json"):
        find_shards(f"pipe:cat {tmp_path}", VAL)
    capfd.readouterr()  # cat's complaint


def test_a_wrong_index_is_an_error(tmp_path):
    write_splits(tmp_path)
    records = list(read_shard(TarShard(str(tmp_path / "val-1.tar"), 7), 3))
    assert ["speaks of 7 samples" in record.fault for record in records] == 5 * [False] + 2 * [True]
    (tmp_path / "_info.json").write_text('{"splits": {"val": {}}}')
    with pytest.raises(DatasetError, match="does not tell the sizes"):
        find_shards(str(tmp_path), VAL)


@pytest.mark.parametrize("length", [600, 4000, 4196, 6000])
def test_a_broken_shard_leaves_its_samples_unreadable(tmp_path, length):
    write_splits(tmp_path)
    path = tmp_path / "val-0.tar"
    whole = list(read_shard(TarShard(str(path), 6), 3))
    path.write_bytes(path.read_bytes()[:length])
    records = list(read_shard(TarShard(str(path), 6), 3))
    assert len(records) == 6
    assert records[5].fault
    assert all(
        record.fault or record == before for record, before in zip(records, whole, strict=True)
    )


def test_a_missing_remote_shard_is_unreadable(tmp_path, capfd):
    records = list(read_shard(TarShard(f"pipe:cat {tmp_path}/none.tar", 2), 3))
    assert [bool(record.fault) for record in records] == [True, True]
    assert "none.tar" in capfd.readouterr().err


def test_training_and_testing_from_shards(run, tmp_path):
    ended = run(*SHARDS, *write_splits(tmp_path / "shards"), "trainer.max_epochs=2")
    assert ended.code == 0, ended.err
    facts = ended.results["facts"]
    assert (facts["train_samples"], facts["val_samples"], facts["test_samples"]) == (24, 11, 11)
    assert facts["steps"] == 2 * 24 // 4
    assert facts["test_split"] == "val"


def test_a_resumed_run_goes_on_with_the_order_of_its_epoch(run, tmp_path, monkeypatch):
    root, epochs = write_splits(tmp_path / "shards"), []
    read = ShardSamples.__getitem__

    def watched(self, place):
        if self.buffer:
            epochs.append(place.block.epoch)
        return read(self, place)

    monkeypatch.setattr(ShardSamples, "__getitem__", watched)
    first = run(*SHARDS, *root, "trainer.max_epochs=2")
    assert set(epochs) == {0, 1}
    epochs.clear()
    last = first.folder / "checkpoints/last.ckpt"
    resumed = run(*SHARDS, *root, "trainer.max_epochs=3", f"ckpt={last}")
    assert resumed.code == 0, resumed.err
    assert set(epochs) == {2}


def test_the_published_recipe_runs_on_shards(run, tmp_path):
    ended = run(
        "experiment=imagenet_convnext_dcls_tiny",
        *SHARDS,
        *write_splits(tmp_path / "shards"),
        "dataset.recipe.rand_augment=rand-m9-mstd0.5-inc1",
        "optim.total_batch_size=8",
    )
    assert ended.code == 0, ended.err
    assert ended.results["facts"]["steps"] == 3


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # of one core
def test_loading_workers_and_more_of_them_than_shards(run, tmp_path):
    root = write_splits(tmp_path / "shards")
    alone = run(*SHARDS, *root)
    best = alone.folder / "checkpoints/best.ckpt"
    ended = run(*SHARDS, *root, "mode=test", f"ckpt={best}", "dataset.workers=3")
    assert ended.code == 0, ended.err
    for name in ("test/top1", "test/loss"):
        assert ended.results["metrics"][name] == pytest.approx(alone.results["metrics"][name])
    trained = run(*SHARDS, *root, "dataset.workers=3", "trainer.max_epochs=2")
    assert trained.results["facts"]["steps"] == 12, trained.err


def test_an_unreadable_sample_is_skipped_and_counted_or_an_error(run, tmp_path):
    root = write_splits(tmp_path / "shards")
    broken = [sample(0), sample(1, jpg=b"not an image"), sample(2)]
    write_shard(tmp_path / "shards/val-1.tar", broken)
    ended = run(*SHARDS, *root)
    assert ended.code == 0, ended.err
    assert ended.results["facts"]["unreadable_samples"] == 1
    assert ended.err.count("val-1.tar: 000001") == 1
    refused(run(*SHARDS, *root, "dataset.on_corrupt=error"), "000001", "on_corrupt=skip")
    write_shard(tmp_path / "shards/val-1.tar", [*broken[:2], sample(2, jpg=b"nor this one")])
    refused(run(*SHARDS, *root), "2 of 9 samples of the val split of dataset=webdataset")


def test_a_corruption_alters_the_images_of_evaluation(run, tmp_path):
    root = write_splits(tmp_path / "shards")
    best = run(*SHARDS, *root).folder / "checkpoints/best.ckpt"
    tests = [
        run(*SHARDS, *root, "mode=test", f"ckpt={best}", *more)
        for more in ((), ("corruption=contrast/5",))
    ]
    losses = [ended.results["metrics"]["test/loss"] for ended in tests]
    assert losses[0] != losses[1]
    assert "contrast" in tests[1].results["facts"]["corruption"]
    refused(
        run(*SHARDS, *root, "mode=robustness", f"ckpt={best}"), "only read forwards", "imagefolder"
    )


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda root: (root / "train-1.tar").unlink(), ("1 of 3 shards", "train-1.tar", "4 tar")),
        (lambda root: write_shard(root / "val-0.tar", [sample(0, cls=None)]), (".cls", "<key>")),
        (lambda root: write_shard(root / "val-0.tar", [sample(0, jpg=None)]), (".jpg", "<key>")),
        (lambda root: write_shard(root / "val-0.tar", [sample(0, cls=b"7")]), ("'7'", "classes")),
        (lambda root: write_shard(root / "val-0.tar", [sample(0, cls=b"cat")]), ("'cat'",)),
        (lambda root: (root / "val-0.tar").write_bytes(b"x" * 2000), ("val-0.tar", "tar file")),
        (lambda root: (root / "sizes.json").write_text("{"), ("sizes.json", "JSON")),
        (lambda root: (root / "classes.txt").unlink(), ("classes.txt", "dataset.classes=imagenet")),
    ],
    ids=["missing", "no-cls", "no-jpg", "class-7", "class-cat", "no-tar", "index", "classes"],
)
def test_what_is_wrong_with_shards_is_said(run, tmp_path, change, parts):
    root = write_splits(tmp_path / "shards")
    change(tmp_path / "shards")
    ended = run(*SHARDS, *root)
    refused(ended, *parts)
    assert not ended.folders


def test_an_empty_pattern_and_empty_shards_are_errors(run, tmp_path):
    root = write_splits(tmp_path / "shards", val=(0, 0))
    refused(run(*SHARDS, *root), "val split of dataset=webdataset is empty")
    refused(run(*SHARDS, *root, "dataset.splits.train=null"), "dataset.splits.train=null must be")
    refused(run(*SHARDS, *root, "dataset.splits.train='{0..2.tar'"), "cannot be expanded")
    refused(run(*SHARDS, *root, "dataset.shuffle=0"), "dataset.shuffle=0")
