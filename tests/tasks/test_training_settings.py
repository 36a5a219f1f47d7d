"""What settings of the optimization do to a training run, seen in the run itself."""

import csv

import pytest
import torch
from builds import TINY_TASKS, Watch, fit, tiny_job

from dcls.positions import repulsive_loss

each_task = pytest.mark.parametrize("task", TINY_TASKS)
LR = 0.01
FLAT = ("optim.schedule=constant", f"optim.lr={LR}")


def position_tensors(task):
    return [p for name, p in task.named_parameters() if name.endswith("dwconv.P")]


@each_task
def test_the_squared_repulsive_loss_is_added_after_its_epoch(task, tmp_path):
    def beside_the_task_s_loss(module, loss):
        own = float(module.trainer.callback_metrics["train/loss"])
        return module.current_epoch, loss - own

    watch = Watch(
        lambda module: float(repulsive_loss(module).detach()) ** 2, beside_the_task_s_loss
    )
    settings = ("optim.repulsion_start_epoch=0", "trainer.max_epochs=2")
    fit(tiny_job(task, tmp_path, *settings, callbacks=[watch]))
    found = {0: [], 1: []}
    expected = {0: [], 1: []}
    for before, (epoch, added) in zip(watch.seen_before, watch.seen_after, strict=True):
        assert before > 1e-3
        found[epoch].append(added)
        expected[epoch].append(before)
    assert found[0] == pytest.approx([0.0] * len(expected[0]), abs=1e-6)
    assert found[1] == pytest.approx(expected[1], rel=1e-2)
    assert found[0]
    assert found[1]


def test_null_never_adds_the_repulsive_loss(tmp_path):
    watch = Watch(
        after=lambda task, loss: loss - float(task.trainer.callback_metrics["train/loss"])
    )
    settings = ("optim.repulsion_start_epoch=null", "trainer.max_epochs=2")
    fit(tiny_job("cls", tmp_path, *settings, callbacks=[watch]))
    assert watch.seen_after == pytest.approx([0] * len(watch.seen_after), abs=1e-6)


@pytest.mark.parametrize(
    ("task", "recipe", "clamped"),
    [
        ("cls", "intended", True),
        ("seg", "intended", True),
        ("det", "intended", True),
        ("cls", "released", True),
        ("seg", "released", False),
        ("det", "released", False),
    ],
)
def test_positions_are_clamped_after_every_step(task, recipe, clamped, tmp_path):
    """The kernels have 17 cells a side, so that positions reach from -8 to 8."""

    def far_out(module):
        for positions in position_tensors(module):
            positions.data.fill_(100.0)

    def farthest(module, _):
        return max(float(p.detach().abs().max()) for p in position_tensors(module))

    watch = Watch(far_out, farthest)
    job = tiny_job(task, tmp_path, f"optim.positions={recipe}", callbacks=[watch])
    fit(job)
    assert len(watch.seen_after) >= 2
    assert all((far <= 8) is clamped for far in watch.seen_after), watch.seen_after


@each_task
def test_layer_decay_slows_the_backbone_and_not_the_head(task, tmp_path):
    """Six layers as ConvNeXt-T is numbered: the stem is layer 0, the head layer 7."""
    job = tiny_job(
        task,
        tmp_path,
        *FLAT,
        "optim.layer_decay=0.5",
        "optim.layer_count=6",
        "trainer.limit_train_batches=1",
    )
    fit(job)
    (optimizer,) = job.trainer.optimizers
    names = {id(p): name.removeprefix("network.") for name, p in job.task.named_parameters()}
    rates = {names[id(p)]: g["lr"] / LR for g in optimizer.param_groups for p in g["params"]}
    assert set(rates) == set(names.values())
    expected = {
        "backbone.downsample_layers.0.0.weight": 0.5**7,
        "backbone.stages.0.0.pwconv1.weight": 0.5**6,
        "backbone.stages.0.0.dwconv.P": 5 * 0.5**6,
        "backbone.stages.1.0.pwconv1.weight": 0.5**5,
        "backbone.stages.3.0.pwconv1.weight": 0.5,
    }
    assert {name: rates[name] for name in expected} == pytest.approx(expected)
    heads = {name: rate for name, rate in rates.items() if not name.startswith("backbone.")}
    heads |= {name: rate for name, rate in rates.items() if name.startswith("backbone.head.")}
    assert heads
    assert set(heads.values()) == {1.0}


@each_task
def test_the_logged_rates_are_those_of_weights_and_positions(task, tmp_path):
    job = fit(tiny_job(task, tmp_path, *FLAT))
    with (tmp_path / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["lr/weights"]]
    assert rows
    assert [float(row["lr/weights"]) for row in rows] == pytest.approx([LR] * len(rows))
    assert [float(row["lr/positions"]) for row in rows] == pytest.approx([5 * LR] * len(rows))
    assert len(rows) == job.trainer.global_step


@each_task
def test_best_and_last_hold_the_best_and_the_last_epoch(task, tmp_path, monkeypatch):
    """The score of each validation is dictated: the second of four epochs is the best."""
    job = tiny_job(task, tmp_path, "trainer.max_epochs=4", "trainer.limit_train_batches=1")
    figure = job.task.monitor.removeprefix("val/")
    scores, figures = iter([0.2, 0.9, 0.1, 0.5]), job.task.compute_metrics

    def dictated(stage):
        return figures(stage) | ({figure: next(scores)} if stage == "val" else {})

    monkeypatch.setattr(job.task, "compute_metrics", dictated)
    outcome = job.train_and_test()
    epochs = {
        name: torch.load(tmp_path / f"checkpoints/{name}.ckpt", weights_only=True)["epoch"]
        for name in ("best", "last")
    }
    assert epochs == {"best": 1, "last": 3}
    assert outcome.metrics[job.task.monitor] == pytest.approx(0.9)
    assert outcome.checkpoint == str(tmp_path / "checkpoints/best.ckpt")
    best = torch.load(outcome.checkpoint, weights_only=True)["state_dict"]
    tested = job.task.state_dict()
    assert all(torch.equal(tested[name], weight) for name, weight in best.items())


@each_task
def test_the_average_of_the_weights_is_saved_and_validated(task, tmp_path):
    """With a decay of almost 1 the average hardly leaves the weights after the first step."""
    after = Watch(after=lambda module, _: module.backbone.stages[0][0].pwconv1.weight.clone())
    fit(tiny_job(task, tmp_path, *FLAT, "optim.ema_decay=0.999999", callbacks=[after]))
    first, *_, last = after.seen_after
    saved = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    name = "backbone.stages.0.0.pwconv1.weight"
    assert not torch.allclose(first, last, atol=1e-4)
    assert torch.equal(saved["current_model_state"][name], last)
    assert torch.allclose(saved["state_dict"][name], first, atol=1e-5)
