"""A run that diverges ends with the cause and a fix, and what it keeps are weights that work."""

from types import SimpleNamespace

import lightning as L
import pytest
import torch
from commands import TINY_SHAPES, refused
from detection import DET_SHAPES
from segmentation import SEG_SHAPES
from torch import nn
from torch.utils.data import DataLoader

from tasks.data.pixels import Pixels
from tasks.engine.divergence import last_good
from tasks.engine.finite import FiniteLoss, FiniteWeights
from tasks.engine.finite_outputs import FiniteOutputs, not_finite_notes
from tasks.errors import SettingError, TrainingError
from tasks.reporting.metrics import metric_text

BLOW_UP = (
    "trainer.max_epochs=2",
    "optim.schedule=steps",
    "optim.milestones=[1.75]",
    "optim.gamma=1e35",
)
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:Encountered `nan` values in tensor"),
]


@pytest.mark.parametrize(
    ("settings", "milestone"),
    [
        (TINY_SHAPES, "1.75"),
        (SEG_SHAPES, "1.5"),
        (DET_SHAPES, "1.5"),
        ((*TINY_SHAPES, "optim.ema_decay=0.5"), "1.75"),
        ((*TINY_SHAPES, "trainer.check_val_every_n_epoch=2"), "1.75"),
    ],
    ids=["cls", "seg", "det", "average", "last epoch alone is validated"],
)
def test_a_divergence_in_the_very_last_step_is_seen(run, settings, milestone):
    ended = run(*settings, *BLOW_UP, f"optim.milestones=[{milestone}]")
    refused(ended, "optim.gamma", "learning rate")
    assert not (ended.folder / "results.json").exists()
    for path in ended.folder.glob("checkpoints/*.ckpt"):
        weights = torch.load(path, weights_only=True)["state_dict"].values()
        assert max(float(w.abs().max()) for w in weights if w.is_floating_point()) < 1e6
    written = [str(path) for path in ended.folder.glob("checkpoints/last.ckpt")]
    assert (written or ["none was written"])[0] in ended.err.replace("\n", "")


def test_the_message_names_the_rate_of_the_step_itself(run):
    falling = ("optim.schedule=steps", "optim.milestones=[0.4,0.7]", "optim.gamma=0.1")
    ended = run(*TINY_SHAPES, *falling, "optim.lr=1e30", "trainer.gradient_clip_val=null")
    refused(ended, "at step 2 (epoch 1, learning rate 1e+29)")  # of three, each a tenth
    ended = run(
        *TINY_SHAPES, "optim.lr=1e30", "optim.schedule=constant", "trainer.gradient_clip_val=null"
    )
    refused(ended, "learning rate 1e+30", "optim.lr", "trainer.gradient_clip_val=1")


class Line(L.LightningModule):
    """A weight that learns at a rate which falls from step to step."""

    def __init__(self, loss=lambda weight, batch: -weight):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.loss = loss

    def training_step(self, batch, index):
        return self.loss(self.weight, batch)

    def validation_step(self, batch, index):
        self.log("val/score", self.weight.detach())

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        halves = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": halves, "interval": "step"},
        }


def fit(folder, model, samples, *, watch=None, **settings):
    watch = watch or [FiniteLoss(), FiniteOutputs(), FiniteWeights()]
    trainer = L.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        callbacks=watch,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        max_epochs=1,
        **settings,
    )
    trainer.fit(model, DataLoader(samples, batch_size=1), DataLoader(range(1), batch_size=1))
    return trainer


def bad_at(step):
    """A loss that is no number at that step, although its inputs are fine."""
    return lambda weight, batch: -weight * (float("nan") if int(batch["step"]) == step else 1.0)


def steps(count=4):
    return [{"step": i + 1, "image": torch.ones(2)} for i in range(count)]


def failure(tmp_path, model, samples, **settings):
    with pytest.raises(TrainingError) as raised:
        fit(tmp_path, model, samples, **settings)
    return str(raised.value)


@pytest.mark.parametrize("interval", [1, 3], ids=["every step", "now and then"])
def test_step_and_rate_are_those_of_the_bad_loss(tmp_path, interval, monkeypatch):
    watch = FiniteLoss(interval)
    if interval > 1:  # as on an accelerator
        monkeypatch.setattr(watch, "_waits", lambda loss: True)
    text = failure(tmp_path, Line(bad_at(2)), steps(), watch=[watch])
    assert "at step 2 " in text
    assert "learning rate 0.5)" in text
    assert "optim.lr" in text


@pytest.mark.parametrize(
    ("clip", "advice"),
    [
        (None, "trainer.gradient_clip_val=1"),
        (5.0, "lower trainer.gradient_clip_val (now 5)"),
        (1.0, None),
        (0.1, None),
    ],
)
def test_clipping_is_advised_where_it_could_help(tmp_path, clip, advice):
    text = failure(tmp_path, Line(bad_at(2)), steps(), gradient_clip_val=clip)
    assert advice in text if advice else "gradient_clip_val" not in text


@pytest.mark.parametrize("interval", [1, 3], ids=["every step", "now and then"])
def test_input_that_is_not_finite_is_named_instead_of_the_rate(tmp_path, interval, monkeypatch):
    watch = FiniteLoss(interval)
    if interval > 1:
        monkeypatch.setattr(watch, "_waits", lambda loss: True)
    samples = steps()
    samples[1]["image"] = torch.tensor([1.0, torch.inf])
    loss = Line(lambda weight, batch: -weight * (batch["image"] - batch["image"]).sum())
    text = failure(tmp_path, loss, samples, watch=[watch])
    assert "image" in text
    assert "at step 2 " in text
    assert "optim.lr" not in text


def test_weights_that_are_not_finite_from_the_start_are_named(tmp_path):
    model = Line()
    model.weight.data.fill_(torch.nan)
    text = failure(tmp_path, model, steps())
    assert "weight" in text
    assert "Before training" in text
    assert "optim.lr" not in text


def test_a_loss_is_watched_within_accumulated_batches(tmp_path):
    text = failure(tmp_path, Line(bad_at(3)), steps(), accumulate_grad_batches=2)
    assert "at step 2 " in text  # its first batch


def test_no_checkpoint_of_weights_that_are_not_finite_is_written(tmp_path):
    class Breaks(Line):
        def on_validation_epoch_end(self):
            self.weight.data.fill_(torch.inf)

    text = failure(tmp_path, Breaks(), steps())
    assert "weight" in text
    assert list(tmp_path.rglob("*.ckpt")) == []


def test_a_loss_of_validation_that_is_no_number_ends_the_run(tmp_path):
    class Bad(Line):
        def validation_step(self, batch, index):
            self.log("val/loss", torch.tensor(torch.nan))

    text = failure(tmp_path, Bad(), steps())
    assert "val/loss" in text
    assert "0.125" in text  # of the fourth step, halved three times
    assert list(tmp_path.rglob("*.ckpt")) == []


def test_a_run_that_went_on_from_a_checkpoint_can_go_back_to_it(tmp_path):
    trainer = SimpleNamespace(callbacks=[], ckpt_path="earlier/last.ckpt")
    assert last_good(trainer) == "Last good checkpoint: earlier/last.ckpt."


def test_pixels_refuse_a_deviation_of_nought():
    with pytest.raises(SettingError, match="std"):
        Pixels((0.5, 0.5, 0.5), (0.25, 0.0, 0.25))
    with pytest.raises(SettingError, match="mean"):
        Pixels((0.5, float("nan"), 0.5), (0.25, 0.25, 0.25))


def broken(folder, part, path):
    """A checkpoint with one weight that gives outputs which are no numbers."""
    checkpoint = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
    for name, value in checkpoint["state_dict"].items():
        if part in name and name.endswith("weight"):
            value.fill_(torch.nan)
    torch.save(checkpoint, path)
    return path


@pytest.mark.parametrize(
    ("settings", "part"),
    [(TINY_SHAPES, "head"), (SEG_SHAPES, "conv_seg"), (DET_SHAPES, "fc_cls")],
    ids=["cls", "seg", "det"],
)
def test_a_test_of_a_broken_model_says_so_in_every_place(run, fitted, tmp_path, settings, part):
    path = broken(fitted(*settings).folder, part, tmp_path / "broken.ckpt")
    ended = run(*settings, "mode=test", f"ckpt={path}")
    notes = [note for note in ended.results["notes"] if "not finite" in note]
    assert notes, ended.results["notes"]
    assert notes[0] in " ".join(ended.out.split())
    assert notes[0].split("`")[0] in (ended.folder / "report.md").read_text()


def test_a_figure_that_is_undefined_is_marked_and_no_divergence(tmp_path):
    """Without an object in validation there is no average precision, which is nobody's fault."""

    class Undefined(Line):
        def validation_step(self, batch, index):
            self.log("val/box_ap", torch.tensor(torch.nan))

    trainer = fit(tmp_path, Undefined(), steps())
    (note,) = not_finite_notes(trainer, {"val/box_ap": torch.nan, "test/loss": 0.5})
    assert "val/box_ap" in note
    assert "test/loss" not in note


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_figure_that_is_not_finite_reads_the_same_everywhere(value):
    assert metric_text("test/top1", value, {}) == metric_text("test/loss", value, {}) == str(value)
