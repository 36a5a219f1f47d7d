"""Bad input: a message with the mend, exit code 1, no traceback, and nothing left half done."""

import pytest
from commands import TINY, TINY_SHAPES


def refused(run, *overrides):
    ended = run(*overrides)
    assert ended.code == 1, ended.out
    assert "Traceback" not in ended.err
    assert "error: " in ended.err
    return ended


def test_a_missing_dataset_names_the_tree_and_the_way_out(run, tmp_path):
    ended = refused(run, *TINY, "dataset=imagefolder", f"dataset.root={tmp_path / 'none'}")
    assert "no such folder" in ended.err
    assert "train/<class>" in ended.err
    assert "dataset=shapes" in ended.err
    assert ended.folders == []


def test_a_root_that_is_not_given(run):
    ended = refused(run, *TINY, "dataset=imagefolder")
    assert "dataset.root=..." in ended.err


def test_class_folders_that_are_not_imagenet(run, image_folder):
    ended = refused(run, *TINY, "dataset=imagenet", f"dataset.root={image_folder}")
    assert "2 class folders instead of 1000" in ended.err
    assert "n01440764" in ended.err
    assert "dark" in ended.err


def test_splits_with_different_classes(run, image_folder):
    (image_folder / "train" / "dark").rename(image_folder / "train" / "black")
    ended = refused(run, *TINY, "dataset=imagefolder", f"dataset.root={image_folder}")
    assert "black" in ended.err


def test_an_empty_split(run):
    ended = refused(run, *TINY, "dataset.counts={train:24,val:10,test:0}")
    assert "test" in ended.err


def test_a_batch_larger_than_the_training_split(run):
    ended = refused(run, *TINY_SHAPES, "dataset.batch_size=25")
    assert "dataset.batch_size=24 or less" in ended.err


def test_an_unknown_backbone_names_the_nearest(run):
    ended = refused(run, *TINY_SHAPES, "backbone.name=convnext_dcls_atta")
    assert "convnext_dcls_atto" in ended.err


def test_a_checkpoint_of_another_class_count(run, fitted, image_folder):
    best = fitted(*TINY_SHAPES).folder / "checkpoints/best.ckpt"
    ended = refused(
        run,
        *TINY,
        "dataset=imagefolder",
        f"dataset.root={image_folder}",
        "backbone.stem_stride=2",
        "mode=test",
        f"ckpt={best}",
    )
    assert "10" in ended.err
    assert "2" in ended.err


def test_a_file_that_is_no_checkpoint(run, tmp_path):
    page = tmp_path / "best.ckpt"
    page.write_text("<html>404</html>")
    refused(run, *TINY_SHAPES, "mode=test", f"ckpt={page}")


def test_images_smaller_than_the_stride(run):
    ended = refused(run, *TINY_SHAPES, "dataset.image_size=16", "backbone.stem_stride=4")
    assert "backbone.stem_stride=2" in ended.err


def test_testing_without_a_checkpoint(run):
    assert "ckpt=" in refused(run, *TINY_SHAPES, "mode=test").err


def test_a_checkpoint_path_that_does_not_exist(run):
    assert "is not a file" in refused(run, *TINY_SHAPES, "mode=test", "ckpt=none.ckpt").err


def test_an_unknown_mode(run):
    ended = run(*TINY_SHAPES, "mode=fly")
    assert ended.code == 1
    assert "fit" in ended.err
    assert ended.folders == []


def test_an_unknown_level(run):
    assert "medium" in refused(run, *TINY_SHAPES, "dataset.level=mild").err


@pytest.mark.parametrize("override", ["optim.lrr=1", "backbone=convnext_dcls_atta"])
def test_a_mistyped_override(run, override):
    ended = run(*TINY_SHAPES, override)
    assert ended.code == 1
    assert override.split("=")[-1] in ended.err or override.split("=")[0] in ended.err
    assert "Traceback" not in ended.err
    assert ended.folders == []


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(run):
    ended = refused(
        run, *TINY_SHAPES, "optim.lr=1e30", "trainer.gradient_clip_val=null", "trainer.max_epochs=3"
    )
    assert "at step" in ended.err
    assert "optim.lr" in ended.err
    assert not (ended.folder / "results.json").exists()


def test_debug_shows_where_it_was_raised(run):
    ended = run(*TINY_SHAPES, "depthwise=cuda", "debug=true")
    assert ended.code == 1
    assert "Traceback" in ended.err


def test_a_depthwise_that_does_not_exist(run):
    ended = refused(run, *TINY_SHAPES, "depthwise=cuda")
    assert "depthwise=cuda must be auto or torch or triton" in ended.err
    assert ended.folders == []


def test_triton_without_a_gpu(run, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    ended = refused(run, *TINY_SHAPES, "depthwise=triton")
    assert "set it to auto" in ended.err
    assert ended.folders == []
