"""One run from the command to its report."""

import csv
import json
from importlib.metadata import version

import pytest
import torch
from commands import TINY_SHAPES

import dcls


def test_fit_leaves_everything_a_run_promises(run):
    ended = run(*TINY_SHAPES, "seed=3")
    assert ended.code == 0, ended.err
    folder = ended.folder
    assert folder.parent.name == "cls"
    for name in (
        "config.yaml",
        "results.json",
        "metrics.csv",
        "report.html",
        "report.md",
        "positions.safetensors",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    ):
        assert (folder / name).is_file(), name
    assert list(folder.glob("events.out.tfevents.*"))
    results = ended.results
    assert set(results["metrics"]) >= {
        "val/top1",
        "test/top1",
        "test/top5",
        "test/loss",
        "test/ece",
    }
    assert 0 <= results["metrics"]["test/top1"] <= 1
    assert results["config"]["backbone"]["name"] == "convnext_dcls_yocto"
    provenance = results["provenance"]
    assert provenance["seed"] == 3
    assert "seed=3" in provenance["command"]
    assert provenance["versions"]["torch"] == version("torch")
    assert str(folder / "report.html") in ended.out.replace("\n", "")


def test_metrics_csv_holds_the_curves(fitted):
    folder = fitted(*TINY_SHAPES).folder
    with (folder / "metrics.csv").open() as file:
        columns = next(csv.reader(file))
    wanted = {"train/loss", "val/loss", "val/top1", "lr/weights", "lr/positions"}
    assert wanted <= set(columns)


def test_the_report_has_its_sections_and_no_outside_reference(run):
    html = (run(*TINY_SHAPES, "figures=true").folder / "report.html").read_text()
    for heading in ("Curves", "Confusion", "Per class", "Worst predictions", "Learned positions"):
        assert heading.lower() in html.lower(), heading
    assert "data:image/png;base64," in html
    assert 'src="http' not in html


def test_testing_a_checkpoint_gives_the_figures_of_its_run(run, fitted):
    trained = fitted(*TINY_SHAPES)
    best = trained.folder / "checkpoints/best.ckpt"
    tested = run(*TINY_SHAPES, "mode=test", f"ckpt={best}")
    assert tested.code == 0, tested.err
    for name in ("test/top1", "test/loss", "test/ece"):
        expected = trained.results["metrics"][name]
        assert tested.results["metrics"][name] == pytest.approx(expected, abs=1e-6)


def test_the_same_seed_gives_the_same_figures_and_another_does_not(run):
    first, again, other = (run(*TINY_SHAPES, f"seed={seed}") for seed in (1, 1, 2))
    assert first.results["metrics"]["test/loss"] == again.results["metrics"]["test/loss"]
    assert first.results["metrics"]["test/loss"] != other.results["metrics"]["test/loss"]


def test_checkpoints_hold_plain_data_and_load_into_a_bare_backbone(fitted):
    best = fitted(*TINY_SHAPES).folder / "checkpoints/best.ckpt"
    checkpoint = torch.load(best, weights_only=True)
    assert any(key.startswith("backbone.stages") for key in checkpoint["state_dict"])
    backbone = dcls.create_backbone(
        "convnext_dcls_atto",
        num_classes=10,
        depths=(1, 1, 1, 1),
        dims=(4, 4, 8, 8),
        stem_stride=2,
    )
    dcls.load_checkpoint(backbone, best)
    assert torch.equal(backbone.head.weight, checkpoint["state_dict"]["backbone.head.weight"])


def test_resuming_goes_on_at_the_next_epoch(run, fitted):
    last = fitted(*TINY_SHAPES).folder / "checkpoints/last.ckpt"
    resumed = run(*TINY_SHAPES, "trainer.max_epochs=3", f"ckpt={last}")
    assert resumed.code == 0, resumed.err
    with (resumed.folder / "metrics.csv").open() as file:
        epochs = {int(row["epoch"]) for row in csv.DictReader(file) if row["val/top1"]}
    assert epochs == {1, 2}


def test_a_run_folder_is_never_overwritten(run, tmp_path):
    kept = tmp_path / "kept"
    assert run(*TINY_SHAPES, f"run_dir={kept}").code == 0
    before = (kept / "results.json").read_text()
    again = run(*TINY_SHAPES, f"run_dir={kept}")
    assert again.code == 1
    assert "never overwrites" in again.err
    assert (kept / "results.json").read_text() == before


def test_total_batch_size_is_reached_by_accumulation(run):
    ended = run(*TINY_SHAPES, "optim.total_batch_size=24")
    assert ended.results["facts"]["steps"] == 1
    refused = run(*TINY_SHAPES, "optim.total_batch_size=20")
    assert refused.code == 1
    assert "total_batch_size" in refused.err


def test_a_timm_baseline_runs(run):
    tiny = [item for item in TINY_SHAPES if not item.startswith("+backbone")]
    ended = run(*tiny, "backbone=timm", "backbone.name=timm/test_resnet", "dataset.image_size=32")
    assert ended.code == 0, ended.err
    assert json.loads((ended.folder / "results.json").read_text())["metrics"]


def test_a_report_without_figures_has_its_tables(fitted):
    folder = fitted(*TINY_SHAPES).folder
    assert not (folder / "figures").exists()
    html = (folder / "report.html").read_text()
    assert "<img" not in html
    for heading in ("Per class", "Learned positions", "Settings"):
        assert heading in html, heading
