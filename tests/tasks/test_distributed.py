"""Two processes on the CPU give what one gives, alone and within a sweep.

One command starts its second process itself, as users' do; the others are forked, which saves the
imports. Each tests all it can: that training keeps the processes in step, and that the test at its
end scores every sample once.
"""

import json
import subprocess
import sys

import pytest
from commands import TINY_SHAPES
from detection import DET_FILES, DET_SHAPES, write_split
from processes import fork_run
from segmentation import SEG_SHAPES
from shards import SHARDS, write_splits

DDP = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=1")


def launch(cwd, *overrides):
    ended = subprocess.run(
        [sys.executable, "-m", "tasks.run", *overrides],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr


def without_trainer(settings):
    return [item for item in settings if not item.startswith("trainer")]


def same_when_tested_alone(run, settings, folder):
    """The test of a run of two processes has the figures of the same test in one process."""
    results = json.loads((folder / "results.json").read_text())
    alone = run(*settings, "mode=test", f"ckpt={folder / 'checkpoints/best.ckpt'}")
    assert alone.code == 0, alone.err
    for name, expected in alone.results["metrics"].items():
        if name.startswith("test/"):
            assert results["metrics"][name] == pytest.approx(expected, abs=1e-5), name
    return results, alone


def test_a_sweep_trains_in_step_and_scores_every_sample_once(tmp_path, run):
    """Two jobs of two processes cover relaunching, folders, shards and clean-up."""
    tiny = without_trainer(TINY_SHAPES)
    distributed = tmp_path / "distributed"
    distributed.mkdir()
    # 13 test images on two processes: one of the shards is padded
    launch(distributed, "-m", *tiny, *DDP, "dataset.batch_size=4", "seed=0,1")
    files = sorted(distributed.glob("runs/cls/*/*/results.json"))
    assert len(files) == 2
    assert len(list(distributed.glob("runs/cls/*"))) == 1
    for file in files:
        results, _ = same_when_tested_alone(run, TINY_SHAPES, file.parent)
        assert results["facts"]["steps"] == 3


def test_segmentation_trains_in_step_and_counts_every_pixel_once(tmp_path, run):
    """With batch norm in the heads, and a setting (sync_batchnorm) that only GPUs can have."""
    folder = fork_run(tmp_path, *without_trainer(SEG_SHAPES), *DDP, "dataset.batch_size=4")
    results, _ = same_when_tested_alone(run, SEG_SHAPES, folder)
    assert results["facts"]["steps"] == 2


def test_detection_trains_in_step_and_scores_every_image_once(tmp_path, run):
    """Batches by shape of image, cascades with batch norm, images without objects.

    Figures and saved detections are those of one process; the shards are uneven.
    """
    write_split(tmp_path / "toys", "train", 8)
    write_split(tmp_path / "toys", "val", 3, first=1)
    root = f"dataset.root={tmp_path / 'toys'}"
    settings = (*DET_FILES, root, "detector=cascade_mask_rcnn")
    # at so low a rate the scores stay near 1 / classes, above the threshold of detections
    folder = fork_run(tmp_path, *without_trainer(settings), *DDP, "optim.lr=1.0e-6")
    results, alone = same_when_tested_alone(run, settings, folder)
    assert results["facts"]["steps"] == 2
    folders = (folder, alone.folder)
    counts = {len(json.loads((f / "detections.bbox.json").read_text())) for f in folders}
    assert len(counts) == 1
    assert counts.pop() > 0


@pytest.mark.parametrize("settings", [TINY_SHAPES, DET_SHAPES], ids=["cls", "det"])
def test_a_distributed_evaluation_of_robustness_gives_the_same_figures(
    tmp_path, run, fitted, settings
):
    """Cells are closed in step, and only the first process writes; the shards are uneven."""
    trained = fitted(*settings)
    chosen = (
        *("task=robustness", "dataset.workers=0", "figures=false"),
        *("corruptions=[fog]", "limit=null"),
    )
    alone = run(*chosen, "trainer=cpu")
    folder = fork_run(tmp_path, *chosen, *DDP, f"ckpt={trained.folder / 'checkpoints/best.ckpt'}")
    results = json.loads((folder / "results.json").read_text())
    for name, expected in alone.results["metrics"].items():
        assert results["metrics"][name] == pytest.approx(expected, abs=1e-6), name
    tables = [f / "cells.csv" for f in (alone.folder, folder)]
    assert len({table.read_text().count("\n") for table in tables}) == 1


def test_distributed_shards_are_scored_once_and_trained_in_step(tmp_path, run):
    """More readers than shards: two processes of two workers each, on uneven shards."""
    settings = (*SHARDS, *write_splits(tmp_path / "shards"))
    folder = fork_run(tmp_path, *without_trainer(settings), *DDP, "dataset.workers=2")
    results, _ = same_when_tested_alone(run, settings, folder)
    assert results["facts"]["steps"] == 3
