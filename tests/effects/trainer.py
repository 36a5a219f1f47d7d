"""Settings of groups trainer, logger and callbacks."""

import csv
from unittest.mock import patch

import torch
from builds import build, with_settings
from omegaconf import OmegaConf

from effects.case import Case
from effects.rows import Effect, Refused
from effects.shared import ALL
from tasks.engine.trainer import build_trainer


def trainer_arguments(name):
    """What Lightning's trainer is given, on a machine that has a GPU."""

    def probe(case):
        plain = Case(with_settings(case.config, {"trainer.accelerator": "cpu"}), case.folder)
        settings = OmegaConf.to_container(case.config.trainer)
        with (
            patch("lightning.Trainer") as trainer,
            patch("torch.cuda.is_available", lambda: True),
            patch("torch.cuda.is_bf16_supported", lambda **_: True),
        ):
            build_trainer(settings, plain.task, case.folder, [], [])
        return trainer.call_args.kwargs[name]

    return probe


def deterministic(case):
    try:
        _ = case.job
        return torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def logged_rows(case):
    _ = case.trained
    with (case.folder / "metrics.csv").open() as file:
        return sum(bool(row["train/loss"]) for row in csv.DictReader(file))


def tested_batches(case):
    """Batches that a test reads, as one of `mode=test` does."""
    job = build(case.config, case.folder)
    with case.watching(job.task.backbone) as seen:
        job.trainer.test(job.task, datamodule=job.data, verbose=False)
    return len(seen)


TRAINER = {
    "trainer.accelerator": Effect("gpu", trainer_arguments("accelerator"), expected="gpu"),
    "trainer.devices": Effect(2, lambda case: case.job.trainer.num_devices, expected=2),
    "trainer.num_nodes": Effect(2, lambda case: case.job.trainer.num_nodes, expected=2),
    "trainer.strategy": Effect(
        "ddp", lambda case: type(case.job.trainer.strategy).__name__, expected="DDPStrategy"
    ),
    "trainer.precision": Effect(
        "bf16-mixed", lambda case: case.trained.dtypes, expected={"torch.bfloat16"}, tasks=ALL
    ),
    "trainer.max_epochs": Effect(2, lambda case: case.trained.epochs, expected=2),
    "trainer.max_steps": Effect(
        4, lambda case: case.trained.steps, expected=4, base={"trainer.max_epochs": 2}
    ),
    "trainer.gradient_clip_val": Effect(
        1e-3, lambda case: max(case.trained.norms) < 1.01e-3, expected=True, tasks=ALL
    ),
    "trainer.accumulate_grad_batches": Effect(3, lambda case: case.trained.steps, expected=1),
    "trainer.sync_batchnorm": Effect(
        True,
        trainer_arguments("sync_batchnorm"),
        expected=True,
        base={"trainer.accelerator": "gpu"},
    ),
    "trainer.log_every_n_steps": Effect(2, logged_rows, expected=1),
    "trainer.check_val_every_n_epoch": Effect(
        2, lambda case: case.trained.validations, expected=[6], base={"trainer.max_epochs": 2}
    ),
    "trainer.val_check_interval": Effect(
        2,
        lambda case: case.trained.validations,
        expected=[2, 4, 6],
        base={"trainer.max_epochs": 2, "trainer.check_val_every_n_epoch": None},
    ),
    "trainer.limit_train_batches": Effect(2, lambda case: case.trained.batches, expected=2),
    "trainer.limit_val_batches": Effect(1, lambda case: case.trained.tested, expected=1),
    "trainer.limit_test_batches": Effect(1, tested_batches, expected=1),
    "trainer.deterministic": Effect(True, deterministic, expected=True),
}


def log_folder(kind):
    """Where a logger of a kind writes, in the run folder."""

    def probe(case):
        (logger,) = (one for one in case.job.trainer.loggers if type(one).__name__ == kind)
        return str(logger.log_dir).removeprefix(str(case.folder)).strip("/.")

    return probe


def early_stopping(name):
    """An attribute of the trainer's early stopping; its kind without a name."""

    def probe(case):
        kinds = {type(one).__name__: one for one in case.job.trainer.callbacks}
        found = kinds.get("EarlyStopping")
        return getattr(found, name) if name else found is not None

    return probe


STOPPING = {
    "callbacks": {
        "early_stopping": {
            "_target_": "lightning.pytorch.callbacks.EarlyStopping",
            "monitor": "${task.monitor}",
            "mode": "max",
            "patience": 10,
        }
    }
}

OUTPUTS = {
    "logger.csv._target_": Refused("effects.nothing.Here", "effects.nothing.Here"),
    "logger.csv.name": Effect("curves", log_folder("CSVLogger"), expected="curves"),
    "logger.csv.version": Effect("first", log_folder("CSVLogger"), expected="first"),
    "logger.tensorboard._target_": Refused("effects.nothing.Here", "effects.nothing.Here"),
    "logger.tensorboard.name": Effect("events", log_folder("TensorBoardLogger"), "events"),
    "logger.tensorboard.version": Effect("second", log_folder("TensorBoardLogger"), "second"),
    "logger.tensorboard.default_hp_metric": Effect(
        True, lambda case: case.job.trainer.loggers[1]._default_hp_metric, expected=True
    ),
    "callbacks": Effect(STOPPING["callbacks"], early_stopping(""), expected=True),
    "callbacks.early_stopping._target_": Refused(
        "effects.nothing.Here", "effects.nothing.Here", base=STOPPING
    ),
    "callbacks.early_stopping.monitor": Effect(
        "val/loss", early_stopping("monitor"), expected="val/loss", base=STOPPING
    ),
    "callbacks.early_stopping.mode": Effect(
        "min", early_stopping("mode"), expected="min", base=STOPPING
    ),
    "callbacks.early_stopping.patience": Effect(
        3, early_stopping("patience"), expected=3, base=STOPPING
    ),
}
