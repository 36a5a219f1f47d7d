"""Segmentation from the command: every dataset, both ways to label an image, and bad input."""

import csv

import numpy as np
import pytest
import torch
from commands import refused
from PIL import Image
from segmentation import SEG, SEG_FILES, SEG_SHAPES, random_mask, write_pair

from tasks.segmentation.openmmlab import ADE20K, VOC


@pytest.fixture
def seg_folder(tmp_path):
    """Images of several sizes with masks of three classes and a few pixels of none."""
    root = tmp_path / "fields"
    for split, count in (("train", 6), ("val", 3)):
        for i in range(count):
            mask = random_mask(i, 40 + 8 * i, 64, highest=2)
            mask[:4, :4] = 255
            write_pair(root, split, f"image{i}", mask)
    (root / "classes.txt").write_text("water\nmeadow\nroof\n")
    return root


@pytest.fixture
def ade20k(tmp_path):
    """A tree of ADE20K's shape; labels 0 to 150, of which 0 is no class."""
    root = tmp_path / "ADEChallengeData2016"
    for split, count in (("training", 4), ("validation", 3)):
        for i in range(count):
            mask = random_mask(10 + i, 48, 40 + 16 * i, highest=150)
            write_pair(root, split, f"ADE_{split}_{i:08}", mask, masks="annotations")
    return root


def test_fit_on_shapes_leaves_figures_and_images(run):
    ended = run(*SEG_SHAPES, "figures=true")
    assert ended.code == 0, ended.err
    assert ended.folder.parent.name == "seg"
    metrics = ended.results["metrics"]
    for name in ("val/miou", "test/miou", "test/macc", "test/aacc", "test/iou/background"):
        assert 0 <= metrics[name] <= 1, name
    for image in ("examples", "iou", "confusion", "curve_loss"):
        assert (ended.folder / "figures" / f"{image}.png").is_file(), image
    html = (ended.folder / "report.html").read_text()
    for heading in ("Examples", "Per class", "Confusions", "Curves", "Learned positions"):
        assert heading in html, heading


def test_a_checkpoint_has_mmsegmentations_keys_and_tests_the_same(run, fitted):
    trained = fitted(*SEG_SHAPES)
    best = trained.folder / "checkpoints/best.ckpt"
    state = torch.load(best, weights_only=True)["state_dict"]
    parts = {key.split(".")[0] for key in state}
    assert parts == {"backbone", "decode_head", "auxiliary_head"}
    assert "decode_head.psp_modules.0.1.conv.weight" in state
    tested = run(*SEG_SHAPES, "mode=test", f"ckpt={best}")
    assert tested.code == 0, tested.err
    for name in ("test/miou", "test/aacc"):
        expected = trained.results["metrics"][name]
        assert tested.results["metrics"][name] == pytest.approx(expected, abs=1e-6)
    slid = ("eval=slide", "task.inference.crop=24", "task.inference.stride=16")
    for views in ("none", "flip", "ms_flip"):
        ended = run(*SEG_SHAPES, *slid, f"tta={views}", "mode=test", f"ckpt={best}")
        assert ended.code == 0, ended.err
        assert 0 < ended.results["metrics"]["test/aacc"] <= 1


def test_steps_are_counted_in_updates_as_the_recipes_do(run):
    """Two updates of two batches each, a validation after each update, none at an epoch's end."""
    ended = run(
        *SEG_SHAPES,
        "dataset.batch_size=4",
        "optim.total_batch_size=8",
        "optim.schedule=polynomial",
        "optim.layer_decay=0.9",
        "optim.layer_scheme=stage_wise",
        "trainer.max_epochs=-1",
        "trainer.max_steps=3",
        "trainer.check_val_every_n_epoch=null",
        "trainer.val_check_interval=1",
    )
    assert ended.code == 0, ended.err
    assert ended.results["facts"]["steps"] == 3
    with (ended.folder / "metrics.csv").open() as file:
        steps = [row["step"] for row in csv.DictReader(file) if row["val/miou"]]
    assert steps == ["0", "1", "2"]


def test_any_folder_of_images_and_masks(run, seg_folder):
    ended = run(*SEG_FILES, "dataset=seg_folder", f"dataset.root={seg_folder}", "eval=slide")
    assert ended.code == 0, ended.err
    names = {name for name in ended.results["metrics"] if name.startswith("test/iou/")}
    assert names == {"test/iou/water", "test/iou/meadow", "test/iou/roof"}
    assert ended.results["facts"]["test_split"] == "val"


def test_ade20k_end_to_end(run, ade20k):
    ended = run(*SEG_FILES, "dataset=ade20k", f"dataset.root={ade20k}", "eval=slide", "tta=ms_flip")
    assert ended.code == 0, ended.err
    found = {name.split("/")[-1] for name in ended.results["metrics"] if "/iou/" in name}
    assert found <= {name.strip() for name in ADE20K["classes"]}


def test_voc(run, tmp_path):
    root = tmp_path / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split in ("train", "val"):
        names = [f"{split}_{i}" for i in range(3)]
        (lists / f"{split}.txt").write_text("\n".join(names))
        for i, name in enumerate(names):
            mask = random_mask(i, 40, 48, highest=20)
            write_pair(root, ".", name, mask, images="JPEGImages", masks="SegmentationClass")
            palette = Image.fromarray(mask, "P")
            palette.putpalette(np.array(VOC["palette"]).ravel().tolist())
            palette.save(root / "SegmentationClass" / f"{name}.png")
    ended = run(*SEG_FILES, "dataset=voc", f"dataset.root={root}")
    assert ended.code == 0, ended.err
    assert ended.results["facts"]["test_samples"] == 3


def test_a_wrong_root_shows_the_tree(run, seg_folder, tmp_path):
    ended = run(*SEG_FILES, "dataset=seg_folder", f"dataset.root={tmp_path / 'none'}")
    refused(ended, "none", "masks/train/*.png", "dataset=shapes")
    ended = run(*SEG_FILES, "dataset=ade20k", f"dataset.root={seg_folder}")
    refused(ended, "images/training", "annotations/validation")
    ended = run(*SEG_FILES, "dataset=voc", f"dataset.root={seg_folder}")
    refused(ended, "ImageSets/Segmentation")
    assert ended.folders == []


def test_a_image_without_a_mask(run, seg_folder):
    (seg_folder / "masks/train/image3.png").unlink()
    ended = run(*SEG_FILES, "dataset=seg_folder", f"dataset.root={seg_folder}")
    refused(ended, "1 of 6 images have no mask", "image3.jpg", "masks/train/image3.png")


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (lambda mask: mask[:32], ("64x32 pixels", "64x56", "nearest-neighbour")),
        (lambda mask: np.where(mask == 2, 3, mask).astype(np.uint8), ("the value 3", "0 to 2")),
        (lambda mask: mask.astype(np.uint16), ("more than 8 bits", "astype('uint8')")),
        (lambda mask: np.stack([mask] * 3, -1), ("colour image", "palette")),
    ],
)
def test_a_mask_that_is_wrong_is_named(run, seg_folder, spoil, parts):
    path = seg_folder / "masks/train/image2.png"
    Image.fromarray(spoil(np.array(Image.open(path)))).save(path)
    ended = run(*SEG_FILES, "dataset=seg_folder", f"dataset.root={seg_folder}")
    refused(ended, "image2.png", *parts)
    assert ended.folders == []


def test_a_list_of_classes_that_is_missing_or_wrong(run, seg_folder):
    (seg_folder / "classes.txt").write_text("water\nwater\n")
    ended = run(*SEG_FILES, "dataset=seg_folder", f"dataset.root={seg_folder}")
    refused(ended, "classes.txt", "twice")
    (seg_folder / "classes.txt").unlink()
    ended = run(*SEG_FILES, "dataset=seg_folder", f"dataset.root={seg_folder}")
    refused(ended, "classes.txt", "dataset.classes=")


def test_an_unreadable_image_is_skipped_or_refused(run, seg_folder):
    (seg_folder / "images/val/image1.jpg").write_bytes(b"no image")
    command = (*SEG_FILES, "dataset=seg_folder", f"dataset.root={seg_folder}")
    ended = run(*command)
    assert ended.code == 0, ended.err
    assert ended.results["facts"]["unreadable_samples"] == 1
    assert "image1.jpg" in ended.err
    refused(run(*command, "dataset.on_corrupt=error"), "image1.jpg", "on_corrupt=skip")


def test_another_head_by_its_settings(run):
    head = "+task.decode_head={type:SegformerHead,in_index:[0,1,2,3]}"
    ended = run(*SEG_SHAPES, head, "task.auxiliary_head=null")
    assert ended.code == 0, ended.err
    state = torch.load(ended.folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert "decode_head.fusion_conv.conv.weight" in state
    assert not any(key.startswith("auxiliary_head.") for key in state)


def test_settings_that_do_not_exist(run):
    refused(run(*SEG_SHAPES, "eval=half"), "eval=half", "whole or slide")
    refused(run(*SEG_SHAPES, "task.decode_head.type=NoHead"), "NoHead")
    refused(run(*SEG, "dataset=imagefolder", "dataset.root=x"), "serves task=cls")


def test_a_classification_checkpoint_is_told_apart(run, tmp_path):
    import dcls

    settings = {"depths": (1, 1, 1, 1), "dims": (4, 4, 8, 8), "stem_stride": 2}
    classifier = dcls.create_backbone("convnext_dcls_yocto", num_classes=3, **settings)
    path = tmp_path / "classifier.pth"
    torch.save(classifier.state_dict(), path)
    ended = run(*SEG_SHAPES, "mode=test", f"ckpt={path}")
    refused(ended, "backbone.pretrained")
    ended = run(*SEG_SHAPES, f"backbone.pretrained={path}", "optim.lr=1e-9", "optim.min_lr=0")
    assert ended.code == 0, ended.err
    trained = torch.load(ended.folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    for name, weight in classifier.state_dict().items():
        if not name.startswith(("head.", "norm.")):  # all but what a classifier alone has
            torch.testing.assert_close(trained[f"backbone.{name}"], weight, rtol=0, atol=1e-6)
