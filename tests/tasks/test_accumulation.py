"""Accumulated batches: settings in epochs and in steps mean the optimizer's steps."""

import csv
from pathlib import Path

import pytest
from builds import composed, fit, tiny_job
from commands import TINY_SHAPES, refused
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

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


@pytest.mark.parametrize(("positions", "steps"), [("intended", 4), ("released", 2)])
def test_the_warmup_takes_its_epochs(tmp_path, positions, steps):
    found = rates(
        tmp_path,
        *("trainer.max_epochs=3", "trainer.accumulate_grad_batches=3", "optim.warmup_epochs=2"),
        *("optim.schedule=constant", f"optim.positions={positions}"),
    )
    peak = max(found[2])
    assert found[2] == pytest.approx([peak] * len(found[2]))
    ramp = [peak * step / (steps - 1) for step in range(steps)]
    assert sorted({*found[0], *found[1]}) == pytest.approx(ramp)


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


class Validations(Callback):
    """The steps after which validation was run."""

    def __init__(self):
        self.steps = []

    def on_validation_start(self, trainer, module):
        self.steps.append(trainer.global_step)


THREE_BATCHES_A_STEP = (*FOUR_BATCHES, "trainer.accumulate_grad_batches=3")
INTERVALS = {
    "across epochs": (3, "null", "intended", [3, 6, 8]),  # the last is the run's end
    "across epochs, released": (3, "null", "released", [3, 4]),
    "of an epoch": (2, 1, "intended", [2, 4, 6, 8]),
    "each step of an epoch": (1, 1, "intended", [1, 2, 3, 4, 5, 6, 7, 8]),
}


@pytest.mark.parametrize(
    ("interval", "epochs", "positions", "expected"), INTERVALS.values(), ids=INTERVALS
)
def test_intervals_are_exact_where_the_last_step_of_an_epoch_is_shorter(
    tmp_path, interval, epochs, positions, expected
):
    """Four epochs of two steps, the second of one batch; as released, of one step."""
    watch = Validations()
    settings = (
        *("trainer.max_epochs=4", f"trainer.val_check_interval={interval}"),
        *(f"trainer.check_val_every_n_epoch={epochs}", f"optim.positions={positions}"),
    )
    fit(tiny_job("cls", tmp_path, *THREE_BATCHES_A_STEP, *settings, callbacks=[watch]))
    assert watch.steps == expected


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before")
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_resumed_run_validates_and_logs_at_the_steps_of_a_whole_one(tmp_path):
    """Resumed in the middle of the second epoch, where it was validated after seven batches."""
    settings = (*THREE_BATCHES_A_STEP, "trainer.val_check_interval=3", "trainer.max_epochs=5")
    settings = (*settings, "trainer.check_val_every_n_epoch=null")
    keep = ModelCheckpoint(dirpath=tmp_path / "kept", filename="{step}", save_top_k=-1)
    whole = fit(tiny_job("cls", tmp_path / "whole", *settings, callbacks=[keep]))
    assert validated_steps(whole) == [2, 5, 8, 9]  # counted from 0
    resumed = tiny_job("cls", tmp_path / "resumed", *settings)
    kept = tmp_path / "kept/step=3.ckpt"
    resumed.trainer.fit(resumed.task, datamodule=resumed.data, ckpt_path=kept, weights_only=True)
    assert validated_steps(resumed) == [5, 8, 9]


def validated_steps(job):
    with (Path(job.trainer.default_root_dir) / "metrics.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row["val/top1"]]


def test_an_interval_longer_than_an_epoch_is_refused(run):
    ended = run(*TINY_SHAPES, *THREE_BATCHES_A_STEP, "trainer.val_check_interval=3")
    refused(ended, "val_check_interval=3", "has (2)", "trainer.check_val_every_n_epoch=null")


def test_two_numbers_of_batches_per_step_are_refused(run):
    settings = ("optim.total_batch_size=16", "trainer.accumulate_grad_batches=3")
    ended = run(*TINY_SHAPES, *FOUR_BATCHES, *settings)
    refused(ended, "optim.total_batch_size=16", "trainer.accumulate_grad_batches=3", "Leave out")


def test_what_is_left_out_is_said(tmp_path):
    job = tiny_job("cls", tmp_path, *THREE_BATCHES_A_STEP, "optim.positions=released")
    assert [note for note in job.notes if "the last 1 of 4 batches" in note]
    limits = ("trainer.accumulate_grad_batches=5", "optim.positions=released")
    job = tiny_job("cls", tmp_path, *FOUR_BATCHES, *limits)
    assert [note for note in job.notes if "4 batches does not fill an optimizer step of 5" in note]
    assert job.trainer.limit_train_batches == 1.0


def test_a_recipe_of_the_released_runs_counts_312_steps_an_epoch():
    """1,281,167 images in batches of 128 on 8 GPUs, 4 of them a step."""
    from types import SimpleNamespace

    from tasks.engine.accumulation import drop_incomplete_step

    assert composed("experiment=imagenet_convnext_dcls_tiny").optim.positions == "released"
    trainer = SimpleNamespace(limit_train_batches=1.0, accumulate_grad_batches=4)
    drop_incomplete_step(trainer, 1_281_167 // 8 // 128)
    assert trainer.limit_train_batches == 312 * 4


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.val_check_interval=50",),
        ("optim.total_batch_size=7",),
        ("optim.total_batch_size=16", "trainer.accumulate_grad_batches=3"),
    ],
)
def test_what_is_refused_once_the_trainer_is_known_leaves_no_folder(run, overrides):
    ended = run(*TINY_SHAPES, *overrides)
    refused(ended, overrides[0].split("=")[0])
    assert ended.folders == []
