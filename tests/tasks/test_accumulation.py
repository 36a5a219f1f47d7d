"""Accumulated batches: settings in epochs and in steps mean the optimizer's steps."""

import csv

import pytest
from builds import composed, fit, tiny_job
from commands import TINY_SHAPES
from lightning.pytorch.callbacks import Callback

FOUR_BATCHES = ("dataset.counts={train:32,val:10,test:13}", "dataset.batch_size=8")


class Rates(Callback):
    """The largest rate of each batch, by epoch."""

    def __init__(self):
        self.of_epoch = {}

    def on_train_batch_start(self, trainer, module, batch, index):
        rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        self.of_epoch.setdefault(trainer.current_epoch, []).append(rate)


def rates(folder, *overrides):
    watch = Rates()
    fit(tiny_job("cls", folder, *FOUR_BATCHES, *overrides, callbacks=[watch]))
    return watch.of_epoch


@pytest.mark.parametrize("positions", ["intended", "released"])
def test_milestones_are_epochs_however_many_batches_make_a_step(tmp_path, positions):
    found = rates(
        tmp_path,
        *(
            "trainer.max_epochs=10",
            "trainer.accumulate_grad_batches=3",
            "trainer.check_val_every_n_epoch=10",
        ),
        *("optim.schedule=steps", "optim.milestones=[8]", f"optim.positions={positions}"),
    )
    highest = max(found[0])
    for epoch, values in found.items():
        expected = highest * (0.1 if epoch >= 8 else 1)
        assert values == pytest.approx([expected] * len(values)), epoch


@pytest.mark.parametrize("schedule", ["cosine", "polynomial"])
def test_schedules_end_with_the_run(tmp_path, schedule):
    """Two steps an epoch: of three batches and of one."""
    found = rates(
        tmp_path,
        *("trainer.max_epochs=1", "trainer.accumulate_grad_batches=3", "optim.warmup_epochs=0"),
        *(f"optim.schedule={schedule}", "optim.min_lr=0"),
    )
    first, second = found[0][0], found[0][-1]
    assert found[0] == [first] * 3 + [second]
    assert second == pytest.approx(first * 0.5)


@pytest.mark.parametrize(("positions", "steps"), [("intended", 2), ("released", 1)])
def test_as_released_batches_that_fill_no_step_are_left_out(tmp_path, positions, steps):
    settings = ("optim.total_batch_size=24", f"optim.positions={positions}")
    job = fit(tiny_job("cls", tmp_path, *FOUR_BATCHES, *settings))
    assert job.trainer.accumulate_grad_batches == 3
    assert job.trainer.global_step == steps
    assert job.trainer.num_training_batches == (4 if positions == "intended" else 3)


@pytest.mark.parametrize(
    "accumulation", ["trainer.accumulate_grad_batches=2", "optim.total_batch_size=16"]
)
def test_intervals_of_validation_are_steps(run, accumulation):
    """Eight steps in two epochs of eight batches; a validation after every three steps."""
    ended = run(
        *TINY_SHAPES,
        "dataset.counts={train:64,val:10,test:13}",
        accumulation,
        *("trainer.max_epochs=2", "trainer.check_val_every_n_epoch=null"),
        "trainer.val_check_interval=3",
    )
    assert ended.code == 0, ended.err
    with (ended.folder / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["val/top1"]]
    assert steps == [2, 5, 7]  # counted from 0; the last one is the run's end


def test_a_recipe_of_the_released_runs_counts_312_steps_an_epoch():
    """1,281,167 images in batches of 128 on 8 GPUs, 4 of them a step."""
    from types import SimpleNamespace

    from tasks.training.trainer import drop_incomplete_step

    assert composed("experiment=imagenet_convnext_dcls_tiny").optim.positions == "released"
    trainer = SimpleNamespace(limit_train_batches=1.0, accumulate_grad_batches=4)
    drop_incomplete_step(trainer, 1_281_167 // 8 // 128)
    assert trainer.limit_train_batches == 312 * 4
