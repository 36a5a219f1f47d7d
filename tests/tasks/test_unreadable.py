"""Images that cannot be read: a few are left out, many end the run with one line."""

from types import SimpleNamespace

import pytest
from commands import TINY, refused
from detection import DET_FILES, write_split
from segmentation import SEG_FILES, random_mask, write_pair

from tasks.data.loaders import Loading
from tasks.engine.unreadable import UnreadableLimit, check_readable
from tasks.errors import DatasetError

FOLDERS = ("dataset.batch_size=4", "dataset.image_size=32")
BROKEN = b"no image"


def damage(folder, count):
    """Overwrite the first `count` images below a folder."""
    images = sorted(p for p in folder.rglob("*") if p.suffix in (".png", ".jpg"))
    for path in images[:count]:
        path.write_bytes(BROKEN)


@pytest.fixture
def classes(image_folder):
    return image_folder, (*TINY, "dataset=imagefolder", *FOLDERS), "val", 10


@pytest.fixture
def masks(tmp_path):
    root = tmp_path / "fields"
    for split, count in (("train", 6), ("val", 5)):
        for i in range(count):
            write_pair(root, split, f"image{i}", random_mask(i, 40, 64, highest=1))
    (root / "classes.txt").write_text("water\nmeadow\n")
    return root, (*SEG_FILES, "dataset=seg_folder"), "images/val", 5


@pytest.fixture
def boxes(tmp_path):
    root = tmp_path / "toys"
    write_split(root, "train", 6)
    write_split(root, "val", 5, first=1)
    return root, DET_FILES, "val", 5


@pytest.mark.parametrize(
    ("count", "share", "stops"),
    [(0, 0.01, 0), (1, 0.01, 0), (1, 0.0, 0), (2, 0.01, 1), (2, 0.02, 0), (3, 0.02, 1), (99, 1, 0)],
)
def test_the_limit_is_a_share_but_one_image_never_stops_a_run(count, share, stops):
    loading = Loading(batch_size=1, max_unreadable=share)
    names = [f"{i}.png" for i in range(count)]
    if stops:
        with pytest.raises(DatasetError, match=rf"^{count} of 100 samples of the val split"):
            check_readable(names, 100, "the val split", loading)
    else:
        check_readable(names, 100, "the val split", loading)


def test_a_set_of_which_nothing_is_left_is_an_error_unless_others_are_left():
    generous = Loading(batch_size=1, max_unreadable=1)
    with pytest.raises(DatasetError):
        check_readable(["a.png"], 1, "a set", generous)
    check_readable(["a.png"], 1, "one of many sets", generous, need_some=False)


@pytest.mark.parametrize("dataset", ["classes", "masks", "boxes"])
def test_too_many_or_all_images_of_a_split_end_every_mode(run, request, dataset):
    root, settings, folder, total = request.getfixturevalue(dataset)
    settings = (*settings, f"dataset.root={root}")
    damage(root / folder, 1)
    fitted = run(*settings, "dataset.max_unreadable=0")
    assert fitted.code == 0, fitted.err
    assert fitted.results["facts"]["unreadable_samples"] == 1
    best = f"ckpt={fitted.folder / 'checkpoints/best.ckpt'}"
    damage(root / folder, 2)
    expected = (f"2 of {total} samples of", "cannot be read", "dataset.max_unreadable")
    refused(run(*settings), *expected)
    refused(run(*settings, "mode=test", best), *expected)
    robust = ("mode=robustness", "corruptions=[fog]", "profile=any-size", best)
    refused(run(*settings, *robust), *expected)
    copies = ("mode=corrupt", "corruptions=[fog]", "profile=any-size", f"out={root / 'copies'}")
    refused(run(*settings, *copies), *expected)
    damage(root / folder, total)
    generous = (*settings, "dataset.max_unreadable=1")
    refused(run(*generous), f"{total} of {total} samples of the val split")
    refused(run(*generous, *robust), "No image of dataset=", "was scored")


def test_images_of_training_count_too(run, classes):
    root, settings, _, _ = classes
    damage(root / "train", 2)
    refused(run(*settings, f"dataset.root={root}"), "2 of 16 samples of the train split")


def test_a_raised_limit_goes_on_where_the_run_was_stopped(run, classes, tmp_path):
    root, settings, folder, _ = classes
    settings = (*settings, f"dataset.root={root}", "corruptions=[fog]", "profile=any-size")
    best = f"ckpt={run(*settings).folder / 'checkpoints/best.ckpt'}"
    damage(root / folder, 2)
    copies = (*settings, "mode=corrupt", f"out={tmp_path / 'copies'}")
    refused(run(*copies, "dataset.on_corrupt=error"), "dataset.on_corrupt=skip")
    refused(run(*copies), "dataset.max_unreadable")
    raised = run(*copies, "dataset.max_unreadable=0.5")
    assert raised.code == 0, raised.err
    assert "0 images written" in raised.out
    robust = (*settings, "mode=robustness", best, f"run_dir={tmp_path / 'robust'}")
    refused(run(*robust), "dataset.max_unreadable")
    raised = run(*robust, "dataset.max_unreadable=0.5")
    assert raised.code == 0, raised.err


class Split:
    """Data of which the validation split has 100 samples."""

    name, loading = "shapes", Loading(batch_size=4)

    def count(self, split):
        return 100


def test_processes_count_together_and_a_sample_once(monkeypatch):
    limit = UnreadableLimit(Split())
    trainer = SimpleNamespace(world_size=2)
    batch = {"unreadable": ["a.png", "b.png"]}
    for _ in range(2):  # the same samples in each epoch
        limit.on_validation_batch_end(trainer, None, None, batch, 0)  # does not stop alone
    others = []
    monkeypatch.setattr("tasks.engine.unreadable.gather_lists", lambda own: [*own, *others])
    with pytest.raises(DatasetError, match=r"^2 of 100 samples of the val split"):
        limit.on_validation_epoch_end(trainer, None)
    limit = UnreadableLimit(Split())
    limit.on_validation_batch_end(trainer, None, None, {"unreadable": ["a.png"]}, 0)
    limit.on_validation_epoch_end(trainer, None)
    others.append("b.png")
    with pytest.raises(DatasetError, match=r"^2 of 100 samples of the val split"):
        limit.on_validation_epoch_end(trainer, None)
