"""Robustness from the command: models of runs under corruptions made on the fly."""

import csv
import io
import itertools
import json
import sys

import numpy as np
import pytest
from commands import TINY_SHAPES, refused
from detection import DET_SHAPES
from PIL import Image
from segmentation import SEG_FILES, SEG_SHAPES, random_mask, write_pair

from tasks.robustness.ledger import Ledger
from tasks.robustness.on_the_fly import Corruption

EVALUATED = ("task=robustness", "trainer=cpu", "dataset.workers=0", "figures=false")
FEW = ("corruptions=[gaussian_noise,fog]",)
CELLS = 1 + 2 * 5


def rows(folder):
    with (folder / "cells.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def trained(fitted, settings=TINY_SHAPES, *more):
    return str(fitted(*settings, *more).folder / "checkpoints/best.ckpt")


def test_the_newest_run_is_evaluated_under_all_corruptions(run, fitted):
    tested = fitted(*TINY_SHAPES).results["metrics"]["test/top1"]
    ended = run(*EVALUATED, "figures=true")
    assert ended.code == 0, ended.err
    assert ended.folder.parent.name == "robustness"
    metrics, table = ended.results["metrics"], rows(ended.folder)
    assert metrics["test/clean_top1"] == pytest.approx(tested)
    assert metrics["test/clean_top1/low"] <= tested <= metrics["test/clean_top1/high"]
    top1 = {
        (r["corruption"], r["severity"]): float(r["value"]) for r in table if r["figure"] == "top1"
    }
    assert len(top1) == 76
    cells = [value for (name, _), value in top1.items() if name]
    assert metrics["test/mean_error_on_the_fly"] == pytest.approx(1 - np.mean(cells))
    assert metrics["test/top1_mpc"] == pytest.approx(np.mean(cells))
    assert metrics["test/top1_rpc"] == pytest.approx(np.mean(cells) / tested)
    assert not any("mce" in name for name in metrics)  # AlexNet has no errors on shapes
    for text in ("report.html", "report.md", "results.json"):
        assert "not ImageNet-C" in (ended.folder / text).read_text(), text
        assert "Severities of CIFAR-10-C (profile=cifar-c)" in (ended.folder / text).read_text()
    assert json.loads((ended.folder / "protocol.json").read_text())["profile"] == "cifar-c"
    for image in ("severity_heat_map", "severity_curves", "baseline_bars", "strip"):
        assert (ended.folder / f"figures/{image}.png").is_file(), image
    assert {row["images"] for row in table} == {"13"}


@pytest.mark.parametrize(
    ("settings", "measures"), [(SEG_SHAPES, ["miou"]), (DET_SHAPES, ["box_ap", "mask_ap"])]
)
def test_dense_tasks_are_scored_by_their_own_figures(run, fitted, settings, measures):
    plainly = fitted(*settings)
    ended = run(*EVALUATED, *FEW, "limit=null", "figures=true")
    assert ended.code == 0, ended.err
    metrics = ended.results["metrics"]
    for measure in measures:
        clean = plainly.results["metrics"][f"test/{measure}"]
        assert metrics[f"test/{measure}_clean"] == pytest.approx(clean, abs=1e-6)
        values = {
            (r["corruption"], int(r["severity"] or 0)): float(r["value"])
            for r in rows(ended.folder)
            if r["figure"] == measure
        }
        assert len(values) == CELLS
        mean = np.mean([value for (name, _), value in values.items() if name])
        assert metrics[f"test/{measure}_mpc"] == pytest.approx(mean, abs=1e-9)
    assert any("over 2 of 15 corruptions" in note for note in ended.results["notes"])
    assert (ended.folder / "figures/strip.png").is_file()


def test_a_dense_model_by_the_commands_own_composition(run, fitted):
    best = trained(fitted, SEG_SHAPES)
    ended = run(*SEG_SHAPES, "mode=robustness", f"ckpt={best}", *FEW, "limit=4")
    assert ended.code == 0, ended.err
    assert {row["images"] for row in rows(ended.folder)} == {"4"}
    assert "On a subset: 4 images per set" in (ended.folder / "report.md").read_text()


def test_several_models_see_the_same_images_and_are_compared(run, fitted):
    first = trained(fitted)
    second = trained(fitted, TINY_SHAPES, "seed=1", "backbone=convnext_yocto")
    both = run(*EVALUATED, *FEW, f"ckpt=[{first},{second}]")
    assert both.code == 0, both.err
    assert both.folder.name.endswith("-2-models-shapes")
    names = list(dict.fromkeys(row["model"] for row in rows(both.folder)))
    assert names == ["convnext_dcls_yocto-shapes", "convnext_yocto-shapes"]
    alone = run(*EVALUATED, *FEW, f"ckpt={second}", f"compare=[{both.folder}]")
    assert alone.code == 0, alone.err
    of_second = [{**row, "model": ""} for row in rows(both.folder) if row["model"] == names[1]]
    assert [{**row, "model": ""} for row in rows(alone.folder)] == of_second
    report = (alone.folder / "report.md").read_text()
    for name in names:
        assert f"Compared with {both.folder.name}/{name}" in report
    same = report.split(f"Compared with {both.folder.name}/{names[1]}")[1].split("##")[0]
    assert "| clean top-1 |" in same
    assert "+0.00 | 0.00 to 0.00" in same


def test_every_model_normalises_by_the_moments_of_its_own_training(run, fitted):
    moments = ("dataset.recipe.mean=[0.9,0.1,0.2]", "dataset.recipe.std=[0.1,0.6,0.9]")
    first = trained(fitted)
    second = trained(fitted, TINY_SHAPES, "backbone=convnext_yocto", *moments)
    both = run(*EVALUATED, *FEW, f"ckpt=[{first},{second}]")
    assert both.code == 0, both.err
    alone = run(*EVALUATED, *FEW, f"ckpt={second}")
    assert alone.code == 0, alone.err
    of_second = [row for row in rows(both.folder) if row["model"] == "convnext_yocto-shapes"]
    assert of_second == rows(alone.folder)


def test_a_stopped_run_goes_on_where_it_stopped(run, fitted, monkeypatch, tmp_path):
    best = trained(fitted)
    settings = (*EVALUATED, *FEW, f"ckpt={best}", "figures=true")
    whole = run(*settings)
    write, count = Ledger.write, []

    def stopping(self, model, record):
        if len(count) == 4:
            raise KeyboardInterrupt
        count.append(record.cell)
        write(self, model, record)

    again = (*settings, "run_dir=runs/robustness/again")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "write", stopping)
        assert run(*again).code == 1
    folder = tmp_path / "runs/robustness/again"
    assert not (folder / "results.json").exists()
    assert len({row["corruption"] + row["severity"] for row in rows(folder)}) == 4
    (broken := next(folder.glob("cells/*/clean.*"))).write_bytes(broken.read_bytes()[:40])
    refused(run(*again, "seed=5"), "seed", "5", "run_dir")
    ended = run(*again)
    assert ended.code == 0, ended.err
    assert "3 of 11 cells are done" in ended.err  # one of the four is broken, and done again
    metrics = json.loads((folder / "results.json").read_text())["metrics"]
    assert metrics == whole.results["metrics"]
    assert (folder / "cells.csv").read_text() == (whole.folder / "cells.csv").read_text()
    for image in (whole.folder / "figures").iterdir():
        assert (folder / "figures" / image.name).read_bytes() == image.read_bytes()
    refused(run(*again), "has ended", "run_dir")


def test_a_run_that_was_stopped_before_its_report_only_reports(run, fitted, tmp_path):
    best = trained(fitted)
    settings = (*EVALUATED, "corruptions=[spatter]", f"ckpt={best}", "run_dir=runs/robustness/one")
    whole = run(*settings)
    assert whole.code == 0, whole.err
    results = json.loads((tmp_path / "runs/robustness/one/results.json").read_text())
    folder = tmp_path / "runs/robustness/one"
    table = (folder / "cells.csv").read_text()
    for name in ("results.json", "cells.csv", "report.html"):
        (folder / name).unlink()
    again = run(*settings)
    assert again.code == 0, again.err
    assert json.loads((folder / "results.json").read_text())["metrics"] == results["metrics"]
    assert (folder / "cells.csv").read_text() == table
    assert results["metrics"]["test/mean_error_on_the_fly"] is None  # no corruption of the 15
    assert results["metrics"]["test/extra_error_on_the_fly"] > 0


def test_only_ended_runs_of_the_same_kind_are_compared(run, fitted):
    best = trained(fitted)
    dense = trained(fitted, SEG_SHAPES)
    few = (*EVALUATED, *FEW, "limit=3")
    first = run(*few, f"ckpt={best}")
    second = run(*few, f"ckpt={dense}")
    refused(run(*few, f"ckpt={best}", f"compare={second.folder}"), "task=seg", "in common")
    other = run(
        *EVALUATED, "corruptions=[fog]", "limit=3", f"ckpt={best}", f"compare={first.folder}"
    )
    assert other.code == 0, other.err
    report = (other.folder / "report.md").read_text()
    assert "not over the same corruptions" in report
    (first.folder / "results.json").unlink()
    refused(run(*few, f"ckpt={best}", f"compare={first.folder}"), "not ended", "run_dir")


def test_an_unreadable_image_takes_nothing_else_away(run, fitted, tmp_path):
    """In a dense task, where the examples are read once more for the report."""
    for split, count in (("train", 4), ("val", 3)):
        for i in range(count):
            write_pair(tmp_path / "fields", split, f"image{i}", random_mask(i, 32, 32, highest=1))
    (tmp_path / "fields/classes.txt").write_text("water\nmeadow\n")
    settings = (*SEG_FILES, "dataset=seg_folder", f"dataset.root={tmp_path / 'fields'}")
    best = trained(fitted, settings)
    (first,) = (tmp_path / "fields/images/val").glob("image0.*")
    first.write_bytes(first.read_bytes()[:-200])
    ended = run(*settings, "mode=robustness", f"ckpt={best}", "corruptions=[fog]", "figures=true")
    assert ended.code == 0, ended.err
    assert {row["images"] for row in rows(ended.folder)} == {"2"}
    assert ended.results["facts"]["unreadable_samples"] == 6
    assert (ended.folder / "figures/strip.png").is_file()


def test_the_noise_of_a_image_depends_on_nothing_else(run, fitted):
    best = trained(fitted)
    settings = (*EVALUATED, f"ckpt={best}", "corruptions=[gaussian_noise]")
    one = run(*settings, "dataset.batch_size=3")
    other = run(*settings, "dataset.batch_size=8", "dataset.workers=1")
    assert other.code == 0, other.err
    subset = run(*settings, "limit=5")
    model = "convnext_dcls_yocto-shapes"
    records = [Ledger(ended.folder).read(model) for ended in (one, other, subset)]
    for cell, record in records[0].items():
        confidence = record.outcomes["all"].confidence
        np.testing.assert_allclose(
            records[1][cell].outcomes["all"].confidence, confidence, atol=1e-6
        )
        few = records[2][cell].outcomes["all"]
        np.testing.assert_allclose(few.confidence, confidence[few.index], atol=1e-6)
    moved = run(*settings, "seed=3")
    assert moved.results["metrics"] != one.results["metrics"]


@pytest.mark.parametrize(
    "settings", [TINY_SHAPES, SEG_SHAPES, DET_SHAPES], ids=["cls", "seg", "det"]
)
def test_a_corruption_wraps_the_tested_images_of_any_task(run, fitted, settings):
    plainly = fitted(*settings)
    best = plainly.folder / "checkpoints/best.ckpt"
    ended = run(*settings, "mode=test", f"ckpt={best}", "corruption=fog/5")
    assert ended.code == 0, ended.err
    assert "fog/5" in ended.results["facts"]["corruption"]
    assert "not ImageNet-C" in ended.results["facts"]["corruption"]
    assert "cifar-c" in ended.results["facts"]["corruption"]
    loud = {k: v for k, v in ended.results["metrics"].items() if k.startswith("test/")}
    plain = {k: v for k, v in plainly.results["metrics"].items() if k.startswith("test/")}
    assert loud != plain


def test_copies_have_the_tree_of_imagenet_c_and_are_gone_on_with(run, tmp_path):
    settings = (*TINY_SHAPES, "mode=corrupt", "corruptions=[fog,contrast]", "limit=10")
    out = tmp_path / "copies"
    ended = run(*settings, f"out={out}")
    assert ended.code == 0, ended.err
    assert "100 images written, 0 were there" in ended.out
    files = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.jpg"))
    assert len(files) == 2 * 5 * 10
    assert len({name.split("/")[2] for name in files}) == 10
    assert all(name.split("/")[0] in ("fog", "contrast") for name in files)
    with Image.open(out / files[0]) as image:
        quality_85 = {0: 5, 1: 3, 2: 3}  # the first entries of the standard's table at 85
        assert {i: image.quantization[0][i] for i in range(3)} == quality_85
    lost = out / files[7]
    content = lost.read_bytes()
    lost.unlink()
    assert "1 images written, 99 were there" in run(*settings, f"out={out}").out
    assert lost.read_bytes() == content
    refused(run(*settings, f"out={out}", "seed=9"), "seed", "another")
    refused(run(*settings, f"out={tmp_path}"), "already holds files", "new or empty")
    assert not run(*settings, f"out={tmp_path}").folders


@pytest.mark.parametrize(
    ("settings", "profile"),
    [
        (("task=cls",), "cifar-c"),  # 32 pixels
        (("task=seg",), "tiny-imagenet-c"),  # 48
        (("task=det",), "tiny-imagenet-c"),  # 64
        (("task=cls", "dataset.image_size=128"), "any-size"),
        (("task=cls", "dataset.image_size=224"), "imagenet-c"),
        (("task=cls", "profile=any-size"), "any-size"),
        (("task=seg", "profile=cifar-c"), "cifar-c"),
    ],
    ids=" ".join,
)
def test_the_profile_goes_by_the_size_of_the_images(run, settings, profile, tmp_path):
    out = tmp_path / "copies"
    fixed = ("trainer=cpu", "dataset.workers=0", "corruptions=[contrast]", "limit=1")
    ended = run(*settings, *fixed, "mode=corrupt", f"out={out}")
    assert ended.code == 0, ended.err
    assert json.loads((out / "corrupted.json").read_text())["about"]["profile"] == profile


def test_the_size_is_that_of_the_files_and_not_the_one_they_are_brought_to(run, tmp_path):
    for split in ("train", "val"):
        (tmp_path / "in" / split / "a").mkdir(parents=True)
        Image.new("RGB", (300, 260)).save(tmp_path / "in" / split / "a" / "x.png")
    out = tmp_path / "out"
    ended = run(
        *("mode=corrupt", "dataset=imagefolder", f"dataset.root={tmp_path / 'in'}"),
        *("corruptions=[contrast]", "dataset.image_size=32", f"out={out}", "dataset.workers=0"),
    )
    assert ended.code == 0, ended.err
    assert json.loads((out / "corrupted.json").read_text())["about"]["profile"] == "any-size"


def test_copies_of_the_published_profile_are_cut_once(run, tmp_path):
    """What is written is the corrupted 224 crop of the image, not the crop of a crop."""
    pixels = np.random.default_rng(0).integers(0, 256, (300, 260, 3), np.uint8)
    for split, name in itertools.product(("train", "val"), ("a", "b")):
        (tmp_path / "in" / split / name).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "in" / split / name / "x.png")
    out = tmp_path / "out"
    ended = run(
        *("mode=corrupt", "dataset=imagefolder", f"dataset.root={tmp_path / 'in'}"),
        *("corruptions=[contrast]", "profile=imagenet-c", f"out={out}", "dataset.workers=0"),
    )
    assert ended.code == 0, ended.err
    wanted = io.BytesIO()
    corrupted = Corruption("contrast", 2, 0, "imagenet-c")(pixels, "a/x.png")
    Image.fromarray(corrupted).save(wanted, "JPEG", quality=85)
    with Image.open(out / "contrast/2/a/x.png") as found, Image.open(wanted) as expected:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (("corruption=mist/3", "mode=fit"), ("mist", "fog")),
        (("corruption=fog", "mode=fit"), ("fog/3",)),
        (("corruption=fog/6", "mode=fit"), ("severity", "5")),
        (("mode=corrupt",), ("out=",)),
        (("task=robustness",), ("no run", "ckpt=")),
        (("limit=many",), ("limit=many", "whole number")),
        (("corruptions=null",), ("corruptions=null must be a text, or a list",)),
        (("mode=robustness", "corruption=fog/3", "ckpt=timm/resnet18"), ("corruptions=[fog]",)),
        (
            ("mode=robustness", "trainer.limit_test_batches=2", "ckpt=timm/resnet18"),
            ("limit_test_batches", "limit="),
        ),
        (("task=robustness", "ckpt=nowhere.ckpt"), ("nowhere.ckpt", "not a file")),
        (
            ("task=robustness", "ckpt=timm/resnet18", "dataset.root=."),
            ("imagenet-c", "dataset.root"),
        ),
        (("ckpt=[a,b]",), ("only mode=robustness",)),
        (("task=seg", "mode=fit", "corruption=fog/1", "profile=imagenet-c"), ("any-size",)),
        (("corruption=fog/1", "profile=large"), ("any-size", "cifar-c", "tiny-imagenet-c")),
        (("dataset=imagenet_sets", "mode=fit", "dataset.root=."), ("dataset=imagenet",)),
    ],
    ids=" ".join,
)
def test_bad_settings_are_refused_before_anything_is_written(run, settings, parts, tmp_path):
    refused(run("trainer=cpu", "dataset.workers=0", *settings), *parts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "settings",
    [
        ("mode=corrupt", "corruptions=all", "limit=1"),
        ("mode=fit", "corruption=spatter/1"),
        ("mode=robustness", "corruptions=[spatter]", "ckpt=timm/resnet18"),
    ],
    ids=" ".join,
)
def test_a_corruption_that_needs_opencv_is_refused_without_it(run, settings, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    out = tmp_path / "copies"
    refused(run(*TINY_SHAPES, *settings, f"out={out}"), "spatter", "apt-get install libxcb1")
    assert not out.exists()


def test_settings_that_do_not_fit_a_model_are_refused(run, fitted):
    best = trained(fitted)
    refused(run(*EVALUATED, f"ckpt={best}", "limit=0"), "limit=0")
    refused(run(*EVALUATED, f"ckpt={best}", "compare=[nowhere]"), "nowhere", "robustness run")
    refused(run(*EVALUATED, f"ckpt={best}", "corruptions=[]"), "corruptions=published")
    refused(run(*SEG_SHAPES, "mode=robustness", f"ckpt={best}"), "task=cls", "task=seg")
