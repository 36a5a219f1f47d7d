"""`last.ckpt` is what the run ended with, and `best.ckpt` the best of what was validated."""

import csv

import lightning as L
import pytest
import torch
from commands import TINY_SHAPES
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import nn
from torch.utils.data import DataLoader

from tasks.engine.average import ExponentialAverage
from tasks.engine.checkpoints import BEST, LAST, checkpoint_callbacks

BATCHES = 4
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Counter(L.LightningModule):
    """Its weight counts the steps; what is validated is worth the more, the later (or earlier)."""

    def __init__(self, sign=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.sign = sign
        self.validated = []

    def training_step(self, batch, index):
        self.log("train/loss", -self.weight)
        return -self.weight

    def validation_step(self, batch, index):
        self.validated.append(float(self.weight.detach()))
        self.log("val/score", self.sign * self.weight.detach())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def fitted(folder, *callbacks, sign=1.0, ckpt_path=None, **settings):
    model = Counter(sign)
    trainer = L.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        callbacks=[*callbacks, *checkpoint_callbacks("val/score", "max", folder)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **{"max_epochs": 1, **settings},
    )
    loaders = DataLoader(range(BATCHES), batch_size=1), DataLoader(range(1), batch_size=1)
    trainer.fit(model, *loaders, ckpt_path=ckpt_path, weights_only=True)
    return model, trainer


def saved(folder, name):
    return torch.load(folder / f"checkpoints/{name}.ckpt", weights_only=True)


def weight(checkpoint):
    return float(checkpoint["state_dict"]["weight"])


ENDS = {
    "an epoch without validation": ({"check_val_every_n_epoch": 5}, 4, [4]),
    "an epoch after the last validation": (
        {"check_val_every_n_epoch": 2, "max_epochs": 3},
        12,
        [8, 12],
    ),
    "a last epoch that is validated": ({"max_epochs": 2}, 8, [4, 8]),
    "the middle of an epoch": ({"max_epochs": -1, "max_steps": 6}, 6, [4, 6]),
    "the middle of an epoch without validation": (
        {"max_epochs": -1, "max_steps": 6, "check_val_every_n_epoch": 5},
        6,
        [6],
    ),
    "between validations by steps": (
        {"max_epochs": 2, "check_val_every_n_epoch": None, "val_check_interval": 3},
        8,
        [3, 6, 8],
    ),
    "between validations within an epoch": ({"val_check_interval": 3}, 4, [3, 4]),
    "accumulation": (
        {"accumulate_grad_batches": 2, "check_val_every_n_epoch": 2},
        2,
        [2],
    ),
}


@pytest.mark.parametrize(("settings", "steps", "validated"), ENDS.values(), ids=ENDS.keys())
def test_a_run_that_ends_with(tmp_path, settings, steps, validated):
    """...is saved as it ended, and its last weights are validated once and considered as best."""
    model, _ = fitted(tmp_path, **settings)
    assert model.validated == validated
    assert saved(tmp_path, LAST)["global_step"] == steps
    assert weight(saved(tmp_path, LAST)) == weight(saved(tmp_path, BEST)) == steps


def test_last_weights_that_are_worse_are_not_the_best(tmp_path):
    settings = {"check_val_every_n_epoch": 2, "max_epochs": 3}
    _, trainer = fitted(tmp_path, sign=-1.0, **settings)
    assert (weight(saved(tmp_path, BEST)), weight(saved(tmp_path, LAST))) == (8, 12)
    assert trainer.checkpoint_callback.best_model_score == -8


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *args):
        trainer.should_stop = trainer.global_step >= self.step


STOPS = {
    "by a figure of validation": (
        EarlyStopping("val/score", mode="min", patience=0),
        {"max_epochs": 9},
        8,
        [4, 8],
    ),
    "by a figure of training": (
        EarlyStopping("train/loss", mode="max", patience=0, check_on_train_epoch_end=True),
        {"max_epochs": 9, "check_val_every_n_epoch": 5},
        8,
        [8],
    ),
    "at a step": (StopAt(6), {"max_epochs": 9, "check_val_every_n_epoch": 5}, 6, [6]),
}


@pytest.mark.parametrize(("stop", "settings", "steps", "validated"), STOPS.values(), ids=STOPS)
def test_a_run_that_is_stopped_early(tmp_path, stop, settings, steps, validated):
    model, _ = fitted(tmp_path, stop, **settings)
    assert model.validated == validated
    assert weight(saved(tmp_path, LAST)) == steps


def test_without_validation_every_epoch_is_saved_and_there_is_no_best(tmp_path):
    model, _ = fitted(tmp_path, limit_val_batches=0, max_epochs=2)
    assert model.validated == []
    assert weight(saved(tmp_path, LAST)) == 8
    assert not (tmp_path / f"checkpoints/{BEST}.ckpt").exists()


def test_the_average_is_validated_and_saved_beside_the_raw_weights(tmp_path):
    model, _ = fitted(tmp_path, ExponentialAverage(decay=0.5), check_val_every_n_epoch=5)
    average = 1.0
    for step in (2, 3, 4):
        average = 0.5 * average + 0.5 * step
    last = saved(tmp_path, LAST)
    assert float(last["current_model_state"]["weight"]) == 4
    assert weight(last) == weight(saved(tmp_path, BEST)) == average
    assert model.validated == [average]
    assert float(model.weight.detach()) == average


@pytest.mark.parametrize("name", [LAST, BEST])
@pytest.mark.parametrize(
    ("first", "more"),
    [
        ({"check_val_every_n_epoch": 5}, {"max_epochs": 3}),
        ({"max_epochs": 1}, {"max_epochs": 3}),
        ({"max_epochs": -1, "max_steps": 6}, {"max_epochs": -1, "max_steps": 12}),
        ({"check_val_every_n_epoch": None, "val_check_interval": 3}, {"max_epochs": 3}),
    ],
    ids=["no validation", "plain", "mid-epoch", "validation by steps"],
)
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before")
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_resuming_trains_what_is_left(tmp_path, name, first, more):
    fitted(tmp_path / "first", **first)
    path = tmp_path / f"first/checkpoints/{name}.ckpt"
    model, trainer = fitted(tmp_path / "second", ckpt_path=path, **more)
    assert trainer.global_step == 12
    assert float(model.weight.detach()) == weight(saved(tmp_path / "second", LAST)) == 12


def figures(folder):
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/top1"]]
    return [(int(row["epoch"]), int(row["step"]), float(row["val/top1"])) for row in rows]


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """No report is looked at here."""
    monkeypatch.setattr("tasks.job.write_run_report", lambda *parts: parts[1] / "report.html")
    monkeypatch.setattr("tasks.classification.task.report_sections", lambda summary: [])


def test_a_command_that_validates_every_fifth_of_one_epoch_leaves_its_weights(run):
    ended = run(*TINY_SHAPES, "trainer.check_val_every_n_epoch=5")
    assert ended.code == 0, ended.err
    best = ended.folder / "checkpoints/best.ckpt"
    assert ended.results["checkpoint"] == str(best)
    assert (ended.folder / "checkpoints/last.ckpt").is_file()
    assert figures(ended.folder) == [(0, 2, ended.results["metrics"]["val/top1"])]


def test_a_command_without_validation_tests_and_names_the_last_weights(run):
    ended = run(*TINY_SHAPES, "trainer.limit_val_batches=0", "optim.ema_decay=0.5")
    assert ended.code == 0, ended.err
    last = ended.folder / "checkpoints/last.ckpt"
    assert ended.results["checkpoint"] == str(last)
    assert "trainer.limit_val_batches" in " ".join(ended.results["notes"])
    tested = run(*TINY_SHAPES, "mode=test", f"ckpt={last}")
    assert tested.results["metrics"]["test/loss"] == ended.results["metrics"]["test/loss"]


def test_resuming_a_run_that_has_ended_says_that_nothing_is_left_to_train(run):
    last = run(*TINY_SHAPES, "optim.ema_decay=0.5").folder / "checkpoints/last.ckpt"
    again = run(*TINY_SHAPES, "optim.ema_decay=0.5", f"ckpt={last}")
    assert again.code == 0, again.err
    assert again.results["checkpoint"] == str(last)
    assert "trainer.max_epochs=1" in " ".join(again.results["notes"])
    tested = run(*TINY_SHAPES, "mode=test", f"ckpt={last}")
    assert tested.results["metrics"]["test/loss"] == again.results["metrics"]["test/loss"]


def test_of_a_metric_that_is_better_when_lower_the_least_is_the_best(run):
    ended = run(*TINY_SHAPES, "task.monitor=val/loss", "trainer.max_epochs=3", "optim.lr=0.02")
    assert ended.code == 0, ended.err
    with (ended.folder / "metrics.csv").open(newline="") as file:
        losses = [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]]
    assert len(set(losses)) == 3
    assert ended.results["metrics"]["val/loss"] == pytest.approx(min(losses), abs=1e-6)
