"""Settings of the wrong kind, of no name and out of bounds: one line each, and nothing is left."""

import os
import random
from pathlib import Path

import pytest
from builds import TINY_TASKS, composed, with_settings
from commands import TINY_SHAPES, refused
from effects.leaves import leaves

import conf
from tasks.config.document import document
from tasks.config.schema import check_brought, check_schema
from tasks.errors import SettingError

ROOT = Path(conf.__file__).parent
DRAWS = int(os.environ.get("DCLS_FUZZ_DRAWS", "400"))
"""Settings that are drawn for the models of a task."""
COMMANDS = int(os.environ.get("DCLS_FUZZ_COMMANDS", "8"))
"""Whole commands that are run with drawn settings, of each task."""
STRANGE = (
    *(0, 1, -1, 2**31, 2**63, 10**30, 0.5, -0.5, 1.5, 1e-300, 1e300),
    *(float("nan"), float("inf"), "", "a", "1", "null", "../x", "ä" * 300, True, False, None),
    *([], [0], [0.5], [1, 2], [1, 2, 3], [[1]], ["a"], {}, {"a": 1}),
)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("optim.lr=abc", "optim.lr=abc must be a number above 0. See docs/settings.md#optim"),
        ("optim.lr=nan", "optim.lr=nan must be a number above 0"),
        ("optim.betas=[0.9]", "optim.betas=[0.9] must be a list of 2, each a number from 0"),
        ("optim.min_lr=-1", "optim.min_lr=-1 must be a number from 0"),
        ("dataset.workers=-1", "dataset.workers=-1 must be a whole number from 0 to 256, or auto"),
        ("dataset.image_size=100000", "dataset.image_size=100000 must be a whole number"),
        ("dataset.recipe.mean=[0.5]", "dataset.recipe.mean=[0.5] must be a list of 3"),
        ("dataset.counts.train=0", "dataset.counts.train=0 must be a whole number from 1"),
        ("trainer.devices=0", "trainer.devices=0 must be a whole number from 1"),
        ("trainer.max_epochs=abc", "trainer.max_epochs=abc must be a whole number from -1"),
        ("trainer.accumulate_grad_batches=0", "must be a whole number from 1"),
        ("trainer.check_val_every_n_epoch=0", "must be a whole number from 1, or null"),
        ("trainer.limit_train_batches=0", "must be a number above 0 to 1, or a whole number"),
        ("trainer.val_check_interval=1000", "trainer.val_check_interval=1000 optimizer steps"),
        ("trainer.num_nodes=2", "trainer.num_nodes=2, but neither torchrun nor SLURM"),
        ("seed=-1", "seed=-1 must be a whole number from 0"),
        ("seed=abc", "seed=abc must be a whole number from 0"),
        ("runs=null", "runs=null must be a text"),
        ("limit=many", "limit=many must be a whole number from 1, or null"),
        ("backbone.drop_path_rate=abc", "backbone.drop_path_rate=abc must be a number"),
        ("backbone.version=v9", "backbone.version=v9 must be v0 or v1 or max or gauss"),
        ("+task.foo=1", "task.foo=1: there is no such setting. Group task has"),
        ("+optim.momentum=1", "optim.momentum=1: there is no such setting"),
        ("+optim.lrs=1", "optim.lrs=1: there is no such setting. Did you mean optim.lr?"),
        ("trainer.max_epoch=1", "no setting trainer.max_epoch; did you mean trainer.max_epochs?"),
        ("dataset.recipe.flop=1", "did you mean dataset.recipe.flip?"),
        ("sed=1", "there is no setting sed; did you mean seed?"),
        ("datset=shapes", "there is no setting datset; did you mean dataset?"),
        ("dataset=shape", "dataset=shape: there is no such choice. Did you mean dataset=shapes?"),
        ("mode=fly", "mode=fly: there is no such choice. Choose one of benchmark, corrupt, fit"),
        ("optim=null", "optim=null: a group of settings cannot be null"),
        ("seed=1,2", "seed=1,2: a sweep over several values needs -m"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(run, setting, said):
    ended = run(*TINY_SHAPES, setting)
    refused(ended, said)
    (message,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert said in message
    assert not ended.folders


def test_a_misspelt_setting_of_a_sweep_ends_it(run):
    refused(run("-m", *TINY_SHAPES, "trainer.max_epoch=1,2"), "did you mean trainer.max_epochs?")


def test_the_page_of_the_settings_is_current():
    page = Path(__file__).parents[2] / "docs/settings.md"
    assert page.read_text(encoding="utf-8") == document(), (
        "run python -m tasks.config.document > docs/settings.md"
    )


def test_every_setting_is_in_the_page():
    page = document()
    for task in TINY_TASKS:
        for leaf in leaves(composed(f"task={task}", "mode=benchmark")):
            parts = leaf.split(".")
            if parts[0] not in ("logger", "callbacks"):
                names = [".".join(parts[: n + 1]) for n in range(len(parts))]
                assert any(f"`{name}`" in page for name in names), leaf


@pytest.mark.parametrize(
    "path",
    sorted(p.relative_to(ROOT).with_suffix("") for p in ROOT.glob("*/*.yaml")),
    ids=str,
)
def test_everything_shipped_is_as_its_models_say(path):
    if path.parent.name != "sweep":
        config = composed(f"{path.parent}={path.name}")
        check_schema(config)
        check_brought(config)


def refusal_of(config):
    """What is said of a configuration that is refused; None: it is taken."""
    try:
        check_schema(config)
        check_brought(config)
    except SettingError as error:
        return str(error)
    return None


@pytest.mark.parametrize("task", TINY_TASKS)
def test_any_value_of_any_setting_is_taken_or_refused_by_its_model(task):
    draw = random.Random(0)
    config = composed(*TINY_TASKS[task], "mode=benchmark")
    names = list(leaves(config))
    refusals = 0
    for _ in range(DRAWS):
        name, value = draw.choice(names), draw.choice(STRANGE)
        message = refusal_of(with_settings(config, {name: value}))
        refusals += message is not None
        assert message is None or ("See docs/settings.md" in message and "\n" not in message)
    assert refusals > DRAWS / 4


@pytest.mark.parametrize("task", TINY_TASKS)
def test_any_command_completes_or_is_refused_in_one_line(run, task, tmp_path):
    draw = random.Random(f"{task}/{DRAWS}")
    config = composed(*TINY_TASKS[task])
    names = [
        name
        for name in leaves(config)
        if name not in ("debug", "runs", "run_dir", "out", "name", "trainer.max_epochs")
    ]
    for _ in range(COMMANDS):
        name, value = draw.choice(names), draw.choice(STRANGE)
        setting = f"{name}={typed(value)}"
        ended = run(*TINY_TASKS[task], setting)
        assert "Traceback" not in ended.err, (setting, ended.err)
        assert ended.code in (0, 1), setting
        if ended.code:
            said = [line for line in ended.err.splitlines() if line.startswith("error: ")]
            assert len(said) == 1, (setting, ended.err)
            trained = "loss" in said[0] or "weights" in said[0]  # a training that diverged
            assert trained or not ended.folders, setting


def typed(value):
    """A value as it is typed on the command line."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{typed(one)}' for key, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(typed, value))}]"
    if isinstance(value, str):
        return f"'{value}'"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
