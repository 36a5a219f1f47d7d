"""A checkpoint brings what its run was trained with; explicit settings win, and are said."""

import json
import shutil
import sys
from contextlib import ExitStack

import pytest
import torch
from commands import TINY, TINY_SHAPES, refused
from detection import DET_SHAPES
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from segmentation import SEG_SHAPES

import dcls
from dcls.errors import CheckpointError
from tasks.classification.task import ClassificationTask
from tasks.detection import cascade_mask_rcnn, mask_rcnn
from tasks.detection.task import DetectionTask
from tasks.errors import SettingError
from tasks.segmentation import upernet
from tasks.segmentation.task import SegmentationTask

BEST = "checkpoints/best.ckpt"
TEST = ("mode=test", "trainer=cpu")
SMALL = {"depths": (1, 1, 1, 1), "dims": (4, 4, 8, 8)}
WINDOWS = ("eval=slide", "task.inference.crop=24", "task.inference.stride=16")
RUNS = {
    "cls": (*TINY_SHAPES, "dataset.seed=3"),
    "seg": (*SEG_SHAPES, *WINDOWS, "backbone.version=v1"),
    "det": DET_SHAPES,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run of a task, fitted once."""
    found = {}

    def folder(task):
        if task not in found:
            from tasks.run import main

            root = tmp_path_factory.mktemp(task)
            with ExitStack() as stack:
                patch = stack.enter_context(pytest.MonkeyPatch.context())
                patch.chdir(root)
                patch.setattr(sys, "argv", ["tasks.run", *RUNS[task]])
                GlobalHydra.instance().clear()
                main()
            (found[task],) = root.glob("runs/*/*")
        return found[task]

    return folder


def results(folder):
    return json.loads((folder / "results.json").read_text())


def differences(ended):
    return [line for line in ended.err.splitlines() if "the run was trained with" in line]


@pytest.mark.parametrize("task", RUNS)
def test_a_test_takes_everything_from_the_run(run, trained, task):
    ended = run(*TEST, f"ckpt={trained(task) / BEST}")
    assert ended.code == 0, ended.err
    fitted = results(trained(task))
    for group in ("task", "dataset", "backbone"):
        assert ended.results["config"][group] == fitted["config"][group]
    for name, value in fitted["metrics"].items():
        if name.startswith("test/") and value is not None:
            assert ended.results["metrics"][name] == pytest.approx(value, abs=1e-6), name
    assert "task, backbone, dataset as in the run of" in ended.err
    assert not differences(ended)


def test_a_test_of_class_folders_at_a_size_of_their_own(run, image_folder, tmp_path):
    """The stem followed the default dataset, and the size that of the composed one."""
    settings = [one for one in TINY if "image_size" not in one]
    folders = ("dataset=imagefolder", f"dataset.root={image_folder}")
    fitted = run(*settings, *folders, "dataset.image_size=64")
    best = fitted.folder / BEST
    ended = run(*TEST, f"ckpt={best}")
    assert ended.code == 0, ended.err
    config = ended.results["config"]
    assert (config["dataset"]["image_size"], config["backbone"]["stem_stride"]) == (64, 4)
    image_folder.rename(tmp_path / "moved")
    moved = ("dataset=imagefolder", "dataset.root=moved", "dataset.image_size=32")
    ended = run(*TEST, f"ckpt={best}", *moved)
    assert ended.code == 0, ended.err
    assert ended.results["config"]["dataset"]["image_size"] == 32
    assert len(differences(ended)) == 2
    assert "dataset.image_size=32 as set here; the run was trained with 64" in ended.err
    other = ("dataset=fashion_mnist", "dataset.root=moved", "dataset.batch_size=3")
    ended = run(*TEST, f"ckpt={best}", *other)
    refused(ended, "t10k-images")  # there are no files
    assert "dataset=fashion_mnist as set here; the run was trained with imagefolder" in ended.err
    assert "images of fashion_mnist prepared as those of the run" in ended.err


def test_another_dataset_is_prepared_as_that_of_the_run():
    from omegaconf import OmegaConf

    from tasks.config.explicit import Explicit
    from tasks.modes.checkpoint_settings import preprocess_as

    recipe = {"mean": [0.1], "std": [0.2], "crop_fraction": 0.5, "old": 1}
    run = OmegaConf.create({"dataset": {"name": "one", "image_size": 64, "recipe": recipe}})
    own = OmegaConf.create(
        {"dataset": {"image_size": 224, "recipe": {"mean": [0], "std": [1], "crop_fraction": 1}}}
    )
    preprocess_as(run, own, Explicit(frozenset({"dataset.recipe.std"}), frozenset()))
    assert own.dataset.image_size == 64
    assert own.dataset.recipe == {"mean": [0.1], "std": [1], "crop_fraction": 0.5}


def test_a_wrong_setting_for_the_dataset_of_the_run_is_named(run, trained):
    ended = run(*TEST, f"ckpt={trained('cls') / BEST}", "+dataset.rooot=x")
    refused(ended, "dataset.rooot=x", "shapes", "Leave it out")


def test_another_task_than_that_of_the_run_is_refused(run, trained):
    ended = run(*TEST, "task=cls", f"ckpt={trained('seg') / BEST}")
    refused(ended, "model of task=seg", "task=cls")
    ended = run(*TEST, "dataset=imagefolder", "dataset.root=x", f"ckpt={trained('seg') / BEST}")
    refused(ended, "model of task=seg", "Say task=seg mode=test dataset=imagefolder")
    assert not ended.folders


def test_inference_settings_win_over_those_of_the_run(run, trained):
    changes = ("tta=flip", "+task.inference.stride=20")
    ended = run(*TEST, *changes, f"ckpt={trained('seg') / BEST}")
    assert ended.code == 0, ended.err
    config = ended.results["config"]
    inference = config["task"]["inference"]
    assert (config["eval"], config["tta"]) == ("slide", "flip")
    assert (inference["crop"], inference["stride"]) == (24, 20)
    assert len(differences(ended)) == 2
    assert "tta=flip as set here; the run was trained with none" in ended.err


def test_a_released_file_is_tested_as_composed(run, tmp_path):
    path = tmp_path / "released.pth"
    model = dcls.create_backbone("convnext_dcls_yocto", num_classes=10, stem_stride=2, **SMALL)
    torch.save(model.state_dict(), path)
    ended = run(*TINY_SHAPES, "mode=test", f"ckpt={path}")
    assert ended.code == 0, ended.err
    assert "the run" not in ended.err


def test_a_benchmark_takes_task_and_backbone_from_the_run(run, trained):
    ended = run(
        "mode=benchmark",
        "trainer=cpu",
        f"ckpt={trained('seg') / BEST}",
        "benchmark.image_size=32",
        "benchmark.batch_sizes=[1]",
        "benchmark.seconds=0.05",
        "benchmark.passes=[inference]",
        "benchmark.variants=[plain]",
    )
    assert ended.code == 0, ended.err
    config = ended.results["config"]
    assert ended.results["task"] == "seg"
    assert config["benchmark"]["classes"] == 11
    assert config["backbone"]["version"] == "v1"
    assert config["task"]["decode_head"]["channels"] == 8


def test_a_run_of_an_earlier_version_is_tested(run, trained, tmp_path):
    """Whose configuration held the settings of inference in several places."""
    folder = shutil.copytree(trained("seg"), tmp_path / "earlier")
    text = (folder / "config.yaml").read_text()
    for old, new in (
        ("  on_corrupt: error\n", ""),
        ("eval: slide", "eval: whole"),
        ("  inference:\n", "  inference:\n    mode: slide\n    tta: flip\n"),
        ("  recipe:\n", "  stem_stride: 2\n  recipe:\n    tta: flip\n    image_size: 32\n"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "config.yaml").write_text(text)
    content = torch.load(folder / BEST, weights_only=True)
    del content["hyper_parameters"]["config"]  # which checkpoints did not hold
    torch.save(content, folder / BEST)
    ended = run(*TEST, f"ckpt={folder / BEST}", "dataset.on_corrupt=skip")
    assert ended.code == 0, ended.err
    config = ended.results["config"]
    assert (config["eval"], config["tta"]) == ("slide", "flip")
    assert config["dataset"]["on_corrupt"] == "skip"


def test_a_run_of_an_earlier_version_is_tested_on_the_embedded_dataset(run, image_folder):
    """Whose configuration named the package of its task, not the task's variant of `shapes`."""
    large = [one for one in TINY if "image_size" not in one]
    folders = ("dataset=imagefolder", f"dataset.root={image_folder}", "dataset.image_size=32")
    folder = run(*large, *folders).folder
    config = OmegaConf.load(folder / "config.yaml")
    del config.task.shapes
    config.task.wing = "classification"
    OmegaConf.save(config, folder / "config.yaml")
    content = torch.load(folder / BEST, weights_only=True)
    del content["hyper_parameters"]
    torch.save(content, folder / BEST)
    counts = "dataset.counts={train:8,val:8,test:8}"
    ended = run(*TEST, f"ckpt={folder / BEST}", "dataset=shapes", counts)
    refused(ended, "2 classes", "10")


class TestInPython:
    """The model of a run, from its checkpoint alone."""

    @pytest.fixture
    def best(self, trained, tmp_path):
        """A function that copies a checkpoint out of its run's folder."""
        return lambda task: shutil.copy(trained(task) / BEST, tmp_path / f"{task}.ckpt")

    def test_a_segmenter(self, best):
        model = upernet("convnext_dcls_yocto", 11, best("seg")).eval()
        task = SegmentationTask.load_from_checkpoint(best("seg"))
        assert model.backbone.stages[0][0].dwconv.version == "v1"
        images = torch.randn(1, 3, 32, 32)
        assert torch.equal(model(images), task(images))
        assert not task.training
        assert task.inference.crop == 24
        assert len(task.class_names) == 11

    @pytest.mark.parametrize("where", ["copied", "earlier"])
    def test_a_detector(self, best, trained, where, tmp_path):
        path = best("det")
        if where == "earlier":  # whose checkpoints held no settings
            folder = shutil.copytree(trained("det"), tmp_path / "earlier")
            path = folder / BEST
            content = torch.load(path, weights_only=True)
            del content["hyper_parameters"]
            torch.save(content, path)
        model = mask_rcnn("convnext_dcls_yocto", 10, path).eval()
        task = DetectionTask.load_from_checkpoint(best("det"))
        image = torch.randn(3, 40, 48)
        (found,), (same,) = model([image]), task.detector.eval()([image])
        assert torch.equal(found["boxes"], same["boxes"])
        assert model.settings == task.detector.settings
        with pytest.raises(CheckpointError, match=r"of a mask_rcnn: call mask_rcnn\("):
            cascade_mask_rcnn("convnext_dcls_yocto", 10, path)

    def test_a_classifier_has_the_weights_and_names(self, best):
        task = ClassificationTask.load_from_checkpoint(best("cls"))
        state = torch.load(best("cls"), weights_only=True)["state_dict"]
        for key, value in task.state_dict().items():
            assert torch.equal(value, state[key]), key
        images = torch.randn(2, 3, 32, 32)
        assert task(images).shape == (2, len(task.class_names)) == (2, 10)

    def test_what_a_caller_gives_wins(self, best):
        task = SegmentationTask.load_from_checkpoint(best("seg"), inference={"mode": "whole"})
        assert task.inference.mode == "whole"
        with pytest.raises(CheckpointError, match="of another shape"):
            upernet("convnext_dcls_yocto", 11, best("seg"), channels=16)
        with pytest.raises(CheckpointError, match=r"stem_stride=2.*stem_stride=4"):
            upernet("convnext_dcls_yocto", 11, best("seg"), stem_stride=4)

    def test_files_that_do_not_say_how_they_were_trained(self, best, tmp_path):
        with pytest.raises(SettingError, match=r"DetectionTask, not of a .*SegmentationTask"):
            SegmentationTask.load_from_checkpoint(best("det"))
        others = {"hyper_parameters": {"task": "seg", "backbone": "resnet"}}
        torch.save({"weight": torch.ones(2), **others}, tmp_path / "other.pth")
        with pytest.raises(SettingError, match="does not hold the settings"):
            SegmentationTask.load_from_checkpoint(tmp_path / "other.pth")


def test_a_checkpoint_outside_its_run_brings_all_that_its_run_had(run, trained, tmp_path):
    loose = shutil.copy(trained("seg") / BEST, tmp_path / "loose.ckpt")
    ended = run(*TEST, f"ckpt={loose}")
    assert ended.code == 0, ended.err
    fitted = results(trained("seg"))
    for group in ("task", "dataset", "backbone"):
        assert ended.results["config"][group] == fitted["config"][group]
    assert ended.results["metrics"]["test/miou"] == pytest.approx(fitted["metrics"]["test/miou"])
    assert not differences(ended)


def test_a_checkpoint_of_an_earlier_version_outside_its_run_brings_its_backbone(
    run, trained, tmp_path
):
    content = torch.load(trained("cls") / BEST, weights_only=True)
    del content["hyper_parameters"]["config"]
    torch.save(content, tmp_path / "loose.ckpt")
    ended = run(*TEST, f"ckpt={tmp_path / 'loose.ckpt'}", "dataset.counts.test=13", "figures=false")
    assert ended.code == 0, ended.err
    assert "loose.ckpt is of an earlier version and not in the folder of its run" in ended.err
    assert ended.results["config"]["backbone"]["dims"] == [4, 4, 8, 8]


@pytest.mark.parametrize("task", RUNS)
def test_a_checkpoint_describes_itself_as_plain_data(trained, task):
    content = torch.load(trained(task) / BEST, weights_only=True)["hyper_parameters"]
    config = results(trained(task))["config"]
    for group in ("task", "dataset", "backbone", "optim"):
        assert content["config"][group] == config[group]
    assert content["config"]["seed"] == 0
    assert len(content["data"]["class_names"]) >= 10
    assert content["data"]["name"] == "shapes"
    assert content["data"]["preprocessing"]["mean"] == content["data"]["mean"]
    assert set(content["versions"]) >= {"python", "torch", "lightning"}
    json.dumps(content)  # no objects anywhere
