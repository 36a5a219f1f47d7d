"""Detection from the command: every detector and dataset, and bad input."""

import json
import shutil

import numpy as np
import pytest
import torch
from commands import refused
from detection import DET, DET_FILES, DET_SHAPES, annotation, write_split
from PIL import Image

from tasks.detection.records import ImageDetections
from tasks.detection.scoring.coco import coco_figures


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("annotated")
    write_split(root, "train", 6)
    write_split(root, "val", 3, first=1)
    return root


@pytest.fixture
def root(made, tmp_path):
    """A folder of images with COCO files; the test may spoil it."""
    return shutil.copytree(made, tmp_path / "toys")


def change(root, split, edit):
    path = root / f"{split}.json"
    plain = json.loads(path.read_text())
    edit(plain)
    path.write_text(json.dumps(plain))


def files(root, *overrides):
    return (*DET_FILES, f"dataset.root={root}", *overrides)


def test_fit_on_shapes_leaves_figures_images_and_detections(run):
    ended = run(*DET_SHAPES, "figures=true")
    assert ended.code == 0, ended.err
    assert ended.folder.parent.name == "det"
    metrics = ended.results["metrics"]
    for name in ("val/box_ap", "test/box_ap", "test/box_ap50", "test/mask_ap", "test/mask_ar100"):
        assert 0 <= metrics[name] <= 1, name
    assert any(name.startswith("test/box_ap/") for name in metrics)
    for image in ("examples", "precision_recall_box", "class_ap", "mistakes", "curve_loss"):
        assert (ended.folder / "figures" / f"{image}.png").is_file(), image
    html = (ended.folder / "report.html").read_text()
    for heading in ("Examples", "Figures", "Per class", "Precision and recall", "Mistakes"):
        assert heading in html, heading
    for kind, place in (("bbox", "bbox"), ("segm", "segmentation")):
        results = json.loads((ended.folder / f"detections.{kind}.json").read_text())
        assert all(set(one) == {"image_id", "category_id", "score", place} for one in results)


def test_a_checkpoint_has_mmdetections_keys_and_tests_the_same(run):
    fitted = run(*DET_SHAPES, "trainer.max_epochs=2", "optim.lr=0.01")
    best = fitted.folder / "checkpoints/best.ckpt"
    state = torch.load(best, weights_only=True)["state_dict"]
    assert {key.split(".")[0] for key in state} == {"backbone", "neck", "rpn_head", "roi_head"}
    assert "roi_head.bbox_head.shared_fcs.1.weight" in state
    tested = run(*DET_SHAPES, "mode=test", f"ckpt={best}", "dataset.batch_size=3")
    assert tested.code == 0, tested.err
    for name, expected in fitted.results["metrics"].items():
        if name.startswith("test/"):
            assert tested.results["metrics"][name] == pytest.approx(expected, abs=1e-6), name


@pytest.mark.parametrize("detector", ["faster_rcnn", "cascade_mask_rcnn"])
def test_other_detectors(run, detector):
    ended = run(*DET_SHAPES, f"detector={detector}")
    assert ended.code == 0, ended.err
    metrics = ended.results["metrics"]
    assert ("test/mask_ap" in metrics) == (detector != "faster_rcnn")
    state = torch.load(ended.folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert any(".bbox_head.2." in key for key in state) == (detector != "faster_rcnn")


def test_annotated_files(run, root):
    """Ids with gaps, polygons and run lengths, a crowd, an image without objects."""

    def edit(plain):
        plain["annotations"][0] |= {"iscrowd": 1}
        last = plain["images"][-1]["id"]
        plain["annotations"] = [a for a in plain["annotations"] if a["image_id"] != last]

    for split in ("train", "val"):
        change(root, split, edit)
    ended = run(*files(root))
    assert ended.code == 0, ended.err
    facts = ended.results["facts"]
    assert (facts["test_split"], facts["val_samples"], facts["test_samples"]) == ("val", 3, 3)
    assert facts["train_samples"] in (4, 5)  # without the image that has no objects
    kept = run(*files(root, "dataset.keep_empty=true"))
    assert kept.results["facts"]["train_samples"] == 6
    found = json.loads((kept.folder / "detections.bbox.json").read_text())
    assert {one["category_id"] for one in found} <= {3 * i + 2 for i in range(10)}


def test_large_scale_jitter(run, root):
    ended = run(*files(root, "dataset.recipe.jitter=64"))
    assert ended.code == 0, ended.err


def test_any_places_and_a_test_split(run, root):
    (root / "deep").mkdir()
    shutil.copy(root / "val.json", root / "deep/test.json")
    splits = "dataset.splits.test={images:val,annotations:deep/test.json}"
    ended = run(*files(root, splits))
    assert ended.code == 0, ended.err
    assert ended.results["facts"]["test_split"] == "test"


def test_a_wrong_root_shows_the_tree(run, root, tmp_path):
    refused(run(*files(tmp_path / "none")), "none", "train.json", "dataset=shapes")
    refused(
        run(*files(root, "dataset=coco")),
        "annotations/instances_val2017.json",
        "train2017/",
    )


def test_images_that_are_not_there(run, root):
    (root / "train/0003.png").unlink()
    refused(run(*files(root)), "1 of 6 annotated images", "train/0003.png")


def test_annotations_that_are_wrong_name_file_and_id(run, root):
    change(root, "train", lambda plain: plain["annotations"][2].update(category_id=1))
    refused(run(*files(root)), "train.json", "annotation 3 of image", "category 1")


def test_splits_of_other_classes(run, root):
    change(root, "train", lambda plain: plain["categories"].pop())
    change(root, "train", lambda plain: plain.update(annotations=plain["annotations"][:2]))
    refused(run(*files(root)), "other classes", "train.json")


def test_no_object_anywhere(run, root):
    change(root, "val", lambda plain: plain.update(annotations=[]))
    refused(run(*files(root)), "val.json", "no object")


def test_crowds_alone_cannot_be_scored(run, root):
    def edit(plain):
        for one in plain["annotations"]:
            one["iscrowd"] = 1

    change(root, "val", edit)
    refused(run(*files(root)), "val.json", "no object, or crowds alone")


def test_images_without_objects_train(run, root):
    change(root, "train", lambda plain: plain.update(annotations=plain["annotations"][:1]))
    ended = run(*files(root, "dataset.keep_empty=true"))
    assert ended.code == 0, ended.err


def test_what_was_mended_is_said(run, root):
    change(root, "train", lambda plain: plain["annotations"][2].update(bbox=[-5, -5, 30, 30]))
    ended = run(*files(root))
    assert ended.code == 0, ended.err
    assert "1 object reaches outside its image" in ended.err
    assert "it is clipped" in ended.err
    assert not any("reaches outside" in note for note in ended.results["notes"])  # of the score


@pytest.mark.parametrize("size", [(1, 1), (1000, 5), (5, 1000)])
def test_images_of_odd_sizes(run, root, size):
    width, height = size
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(root / "train/0000.png")
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(root / "val/0000.png")

    def edit(plain):
        plain["images"][0] |= {"width": width, "height": height}
        plain["annotations"] = [
            annotation(1000, plain["images"][0]["id"], 2, (0, 0, width, height)),
            *(a for a in plain["annotations"] if a["image_id"] != plain["images"][0]["id"]),
        ]

    for split in ("train", "val"):
        change(root, split, edit)
    ended = run(*files(root))
    assert ended.code == 0, ended.err


def test_an_unreadable_image_and_one_of_another_size(run, root):
    (root / "val/0001.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(root / "train/0000.png")
    ended = run(*files(root))
    assert ended.code == 0, ended.err
    assert ended.results["facts"]["unreadable_samples"] == 2
    assert "0001.png" in ended.err
    ended = run(*files(root, "dataset.on_corrupt=error"))
    assert ended.code == 1
    assert "0000.png" in ended.err or "0001.png" in ended.err


def test_a_image_turned_by_its_camera(run, root):
    """Annotations are for the image as it is shown."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(root / "val/0000.jpg", exif=exif)

    def edit(plain):
        plain["images"][0] |= {"file_name": "0000.jpg", "width": 20, "height": 40}

    change(root, "val", edit)
    ended = run(*files(root))
    assert ended.code == 0, ended.err
    assert ended.results["facts"]["unreadable_samples"] == 0


def test_settings_that_do_not_exist(run, root):
    refused(run(*DET_SHAPES, "detector=yolo"), "detector=yolo", "mask_rcnn")
    refused(run(*DET_SHAPES, "task.channels=0"), "task.channels=0 must be a whole number from 1")
    refused(run(*files(root, "dataset.recipe.scales=[]")), "dataset.recipe.scales")
    refused(run(*DET, "dataset=imagefolder", "dataset.root=x"), "serves task=cls")


def test_a_classifier_gives_its_weights_to_the_backbone(run, tmp_path):
    import dcls

    settings = {"depths": (1, 1, 1, 1), "dims": (4, 4, 8, 8), "stem_stride": 2}
    classifier = dcls.create_backbone("convnext_dcls_yocto", num_classes=3, **settings)
    path = tmp_path / "classifier.pth"
    torch.save(classifier.state_dict(), path)
    refused(run(*DET_SHAPES, "mode=test", f"ckpt={path}"), "backbone.pretrained")
    ended = run(*DET_SHAPES, f"backbone.pretrained={path}", "optim.lr=1e-9", "optim.min_lr=0")
    assert ended.code == 0, ended.err
    trained = torch.load(ended.folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    for name, weight in classifier.state_dict().items():
        if not name.startswith(("head.", "norm.")):  # all but what a classifier alone has
            torch.testing.assert_close(trained[f"backbone.{name}"], weight, rtol=0, atol=1e-6)


def test_figures_are_those_of_the_saved_detections(run):
    """The results file, evaluated again, gives what the run reported."""
    from tasks.data.shapes import ShapeSplits
    from tasks.detection.datasets import scene_truth

    ended = run(*DET_SHAPES, "trainer.max_epochs=3", "optim.lr=0.01")
    results = json.loads((ended.folder / "detections.bbox.json").read_text())
    counts = {"train": 16, "val": 6, "test": 7}
    scenes = ShapeSplits(counts, 32, "medium", 0, (1, 4)).scenes("test")
    truths = [scene_truth(scene, i, masks=False) for i, scene in enumerate(scenes)]
    detections = []
    for i in range(7):
        own = [one for one in results if one["image_id"] == i]
        boxes = np.array([one["bbox"] for one in own], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        scores = np.array([one["score"] for one in own], np.float32)
        labels = np.array([one["category_id"] - 1 for one in own], np.int64)
        detections.append(ImageDetections(i, (32, 32), boxes, scores, labels, None))
    again = coco_figures(truths, detections, 10, "bbox")
    metrics = ended.results["metrics"]
    assert metrics["test/box_ar100"] == pytest.approx(again.ar100, abs=1e-6)
    assert metrics["test/box_ap"] == pytest.approx(again.ap, abs=1e-6)
