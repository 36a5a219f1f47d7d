"""Two processes on the processor give what one gives, alone and within a sweep."""

import json
import subprocess
import sys

import pytest
from commands import TINY_SHAPES
from detection import DET_FILES, DET_SHAPES, write_split
from segmentation import SEG_SHAPES
from shards import SHARDS, write_splits

DDP = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=1")


def launch(cwd, *overrides):
    return subprocess.run(
        [sys.executable, "-m", "tasks.run", *overrides],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_a_distributed_sweep_scores_every_sample_once(tmp_path, run):
    """One sweep of two jobs of two processes covers relaunching, folders, shards and clean-up."""
    fitted = run(*TINY_SHAPES)
    best = fitted.folder / "checkpoints/best.ckpt"
    tiny = [item for item in TINY_SHAPES if not item.startswith("trainer")]
    distributed = tmp_path / "distributed"
    distributed.mkdir()
    # 13 test images on two processes: one of the shards is padded
    ended = launch(distributed, "-m", *tiny, *DDP, "mode=test", f"ckpt={best}", "seed=0,1")
    assert ended.returncode == 0, ended.stderr
    files = sorted(distributed.glob("runs/cls/*/*/results.json"))
    assert len(files) == 2
    assert len(list(distributed.glob("runs/cls/*"))) == 1
    for file in files:
        metrics = json.loads(file.read_text())["metrics"]
        for name in ("test/top1", "test/top5", "test/loss", "test/ece"):
            assert metrics[name] == pytest.approx(fitted.results["metrics"][name], abs=1e-5), name


def same_in_two_processes(tmp_path, run, settings, *training):
    """Train in one process, test in two; returns the folders of both."""
    fitted = run(*settings, *training)
    best = fitted.folder / "checkpoints/best.ckpt"
    tiny = [item for item in settings if not item.startswith("trainer")]
    ended = launch(tmp_path, *tiny, *DDP, "mode=test", f"ckpt={best}", "runs=distributed")
    assert ended.returncode == 0, ended.stderr
    (file,) = tmp_path.glob("distributed/*/*/results.json")
    metrics = json.loads(file.read_text())["metrics"]
    for name, expected in fitted.results["metrics"].items():
        if name.startswith("test/"):
            assert metrics[name] == pytest.approx(expected, abs=1e-6), name
    return fitted.folder, file.parent


def test_distributed_segmentation_counts_every_pixel_once(tmp_path, run):
    same_in_two_processes(tmp_path, run, SEG_SHAPES)


def test_distributed_segmentation_trains(tmp_path):
    """With batch norm in the heads, and a setting (sync_batchnorm) that only GPUs can have."""
    tiny = [item for item in SEG_SHAPES if not item.startswith("trainer")]
    ended = launch(tmp_path, *tiny, *DDP, "dataset.batch_size=4")
    assert ended.returncode == 0, ended.stderr
    (file,) = tmp_path.glob("runs/seg/*/results.json")
    assert json.loads(file.read_text())["facts"]["steps"] == 2


def test_distributed_detection_scores_every_image_once(tmp_path, run):
    """Figures and saved detections are those of one process; the shards are uneven."""
    training = ("trainer.max_epochs=3", "optim.lr=0.01")
    folders = same_in_two_processes(tmp_path, run, DET_SHAPES, *training)
    counts = {len(json.loads((f / "detections.bbox.json").read_text())) for f in folders}
    assert len(counts) == 1
    assert counts.pop() > 0


def test_distributed_detection_trains(tmp_path):
    """Batches by shape of picture, cascades with batch norm, images without objects."""
    write_split(tmp_path / "toys", "train", 8)
    write_split(tmp_path / "toys", "val", 3, first=1)
    tiny = [item for item in DET_FILES if not item.startswith("trainer")]
    root = f"dataset.root={tmp_path / 'toys'}"
    ended = launch(tmp_path, *tiny, *DDP, root, "detector=cascade_mask_rcnn")
    assert ended.returncode == 0, ended.stderr
    (file,) = tmp_path.glob("runs/det/*/results.json")
    results = json.loads(file.read_text())
    assert results["facts"]["steps"] == 2
    assert 0 <= results["metrics"]["val/box_ap"] <= 1


def test_distributed_training_keeps_the_processes_together(tmp_path):
    tiny = [item for item in TINY_SHAPES if not item.startswith("trainer")]
    ended = launch(tmp_path, *tiny, *DDP, "dataset.batch_size=4")
    assert ended.returncode == 0, ended.stderr
    (file,) = tmp_path.glob("runs/cls/*/results.json")
    results = json.loads(file.read_text())
    assert results["facts"]["steps"] == 3
    assert len(list(tmp_path.glob("runs/cls/*"))) == 1


@pytest.mark.parametrize("settings", [TINY_SHAPES, DET_SHAPES], ids=["cls", "det"])
def test_a_distributed_evaluation_of_robustness_gives_the_same_figures(tmp_path, run, settings):
    """Cells are closed in step, and only the first process writes; the shards are uneven."""
    assert run(*settings).code == 0
    chosen = ("task=robustness", "dataset.workers=0", "corruptions=[fog]", "limit=null")
    alone = run(*chosen, "trainer=cpu")
    ended = launch(tmp_path, *chosen, *DDP, "run_dir=distributed")
    assert ended.returncode == 0, ended.stderr
    results = json.loads((tmp_path / "distributed/results.json").read_text())
    for name, expected in alone.results["metrics"].items():
        assert results["metrics"][name] == pytest.approx(expected, abs=1e-6), name
    tables = [f / "cells.csv" for f in (alone.folder, tmp_path / "distributed")]
    assert len({table.read_text().count("\n") for table in tables}) == 1


def test_distributed_shards_are_scored_once_and_trained_in_step(tmp_path, run):
    """More readers than shards: two processes of two workers each, on uneven shards."""
    settings = (*SHARDS, *write_splits(tmp_path / "shards"))
    tiny = [item for item in settings if not item.startswith("trainer")]
    ended = launch(tmp_path, *tiny, *DDP, "dataset.workers=2", "runs=distributed")
    assert ended.returncode == 0, ended.stderr
    (file,) = tmp_path.glob("distributed/cls/*/results.json")
    results = json.loads(file.read_text())
    assert results["facts"]["steps"] == 3
    alone = run(*settings, "mode=test", f"ckpt={file.parent / 'checkpoints/best.ckpt'}")
    for name in ("test/top1", "test/loss", "test/ece"):
        expected = alone.results["metrics"][name]
        assert results["metrics"][name] == pytest.approx(expected, abs=1e-6), name
