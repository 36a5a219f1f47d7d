"""A figure is the same in validation, test, robustness and report: it is computed in one way."""

import math

import pytest
import torch
from commands import TINY
from detection import DET_FILES, write_split
from segmentation import SEG_FILES, random_mask, write_pair
from torch.nn import functional as F

from tasks.classification.scores import StageScores, TestRecord
from tasks.reporting.calibration import BINS, ConfidenceBins, confidence_bins
from tasks.reporting.reliability import reliability_figure
from tasks.robustness.scoring.outcomes import outcomes_of
from tasks.robustness.scoring.scores import classifier_figures


def stage_figures(logits, labels, batch=7):
    scores = StageScores(logits.shape[1])
    for some, true in zip(logits.split(batch), labels.split(batch), strict=True):
        scores.update(some, true, F.cross_entropy(some, true, reduction="none"))
    return scores.finish(), scores.calibration


def test_a_confidence_of_one_belongs_to_the_last_bin():
    """Four predictions at 1, two of them wrong, and four right ones at 0.95."""
    logits = torch.tensor([[200.0, 0.0]] * 4 + [[math.log(19), 0.0]] * 4)
    labels = torch.tensor([0, 0, 1, 1, 0, 0, 0, 0])
    figures, calibration = stage_figures(logits, labels)
    assert figures["top1"] == 0.75
    assert figures["ece"] == pytest.approx(0.225, abs=1e-6)
    assert calibration.images.tolist() == [0.0] * 14 + [8.0]
    assert classifier_figures(outcomes_of(logits, labels, range(8))) == pytest.approx(
        {"top1": 0.75, "ece": 0.225, "confidence": 0.975}, abs=1e-6
    )
    axes = reliability_figure(calibration).figure.axes[0]
    assert axes.get_title(loc="left") == "Reliability: error 22.50%"


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_training_and_robustness_give_the_same_figures(kind):
    torch.manual_seed(0)
    logits = 6 * torch.randn(400, 7, dtype=kind) ** 3  # many are as sure as can be
    logits[3], logits[5, 2] = float("nan"), float("inf")
    labels = torch.randint(0, 7, (400,))
    labels[3], labels[5] = 0, 2  # what an arg max of such logits would be
    figures, calibration = stage_figures(logits, labels)
    outcomes = outcomes_of(logits, labels, range(400))
    others = classifier_figures(outcomes)
    assert figures["top1"] == pytest.approx(others["top1"], abs=1e-12)
    assert figures["ece"] == pytest.approx(others["ece"], abs=1e-12)
    assert calibration.error == pytest.approx(others["ece"], abs=1e-12)
    assert outcomes.calibration.images.tolist() == calibration.images.tolist()


def test_the_second_best_count_in_top5_and_what_is_no_number_does_not():
    logits = torch.arange(7.0).repeat(4, 1)
    logits[3, 0] = float("nan")
    figures, _ = stage_figures(logits, torch.tensor([6, 2, 1, 6]))
    assert figures["top5"] == pytest.approx(2 / 4)
    assert list(figures) == ["top1", "top5", "ece", "loss"]
    assert "top5" not in stage_figures(logits[:, :5], torch.tensor([4, 2, 1, 4]))[0]


def test_the_confusion_matrix_counts_the_same_predictions():
    torch.manual_seed(1)
    logits, labels = torch.randn(60, 4), torch.randint(0, 4, (60,))
    record = TestRecord(4)
    images = torch.zeros(60, 2, 2, 3, dtype=torch.uint8)
    record.update(images, logits, labels, F.cross_entropy(logits, labels, reduction="none"))
    counts = record.confusion.compute()
    figures, _ = stage_figures(logits, labels)
    assert float(counts.diagonal().sum() / counts.sum()) == pytest.approx(figures["top1"])


def test_bins_without_an_image():
    empty = ConfidenceBins(torch.zeros(3, BINS, dtype=torch.float64))
    assert math.isnan(empty.error)
    assert math.isnan(empty.accuracy)
    assert reliability_figure(empty).size[0] > 0
    one = ConfidenceBins(confidence_bins(torch.ones(2), torch.tensor([True, False])))
    assert (one.accuracy, one.error, one.confidence) == (0.5, 0.5, 1.0)


@pytest.fixture
def segmented(tmp_path):
    root = tmp_path / "fields"
    for split, count in (("train", 4), ("val", 3)):
        for i in range(count):
            write_pair(root, split, f"{i}", random_mask(i, 32, 48, 2))
    (root / "classes.txt").write_text("soil\nwheat\nbarley\n")
    return root


@pytest.fixture
def detected(tmp_path):
    root = tmp_path / "toys"
    for split, count in (("train", 4), ("val", 3)):
        write_split(root, split, count)
    return root


CASES = {
    "cls": (
        "image_folder",
        (*TINY, "dataset=imagefolder", "dataset.batch_size=4", "backbone.stem_stride=2"),
        ("top1", "ece"),
    ),
    "seg": ("segmented", (*SEG_FILES, "dataset=seg_folder"), ("miou",)),
    "det": ("detected", DET_FILES, ("box_ap", "mask_ap")),
}


@pytest.mark.parametrize("task", CASES)
def test_runs_agree_and_say_that_the_validation_split_was_tested(run, request, task):
    """Fit, test and robustness of the same model and images; there is no test split."""
    folder, settings, names = CASES[task]
    fitted = run(*settings, f"dataset.root={request.getfixturevalue(folder)}", "figures=false")
    assert fitted.code == 0, fitted.err
    best = f"ckpt={fitted.folder / 'checkpoints/best.ckpt'}"
    tested = run("mode=test", best, "trainer=cpu", "dataset.workers=0", "figures=false")
    assert tested.code == 0, tested.err
    more = ("corruptions=[fog]", "limit=null", "dataset.workers=0", "trainer=cpu", "figures=false")
    robust = run("task=robustness", best, *more)
    assert robust.code == 0, robust.err
    values = fitted.results["metrics"]
    for name in names:
        clean = f"test/clean_{name}" if task == "cls" else f"test/{name}_clean"
        if f"val/{name}" in values:
            assert values[f"val/{name}"] == pytest.approx(values[f"test/{name}"], abs=1e-7)
        assert tested.results["metrics"][f"test/{name}"] == values[f"test/{name}"]
        if clean in robust.results["metrics"]:
            found = robust.results["metrics"][clean]
            assert found == pytest.approx(values[f"test/{name}"], abs=1e-7)
    order = [name for name in values if name.startswith("test/")]
    assert order[: len(names)] == [f"test/{name}" for name in names]  # by weight
    for ended in (fitted, tested, robust):
        report = (ended.folder / "report.md").read_text()
        page = (ended.folder / "report.html").read_text()
        said = [" ".join(ended.results["notes"]), ended.out, report, page]
        assert all("validation split" in " ".join(text.split()) for text in said)
    # beside the figure itself
    assert f"test/{names[0]} (val split)" in fitted.out
    assert f"test/{names[0]} (val split)" in (fitted.folder / "report.md").read_text()
