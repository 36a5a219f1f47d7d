"""Every setting does something: every leaf of every composition has a row in `tests/effects`."""

import ast
import re
from pathlib import Path

import pytest
from builds import TINY_TASKS, composed, with_settings
from effects.case import Case
from effects.command import COMMAND
from effects.data import DATASETS
from effects.files import command_of, write_files
from effects.leaves import (
    TASKS,
    dataset_leaves,
    dataset_names,
    experiment_leaves,
    shared_leaves,
    task_leaves,
)
from effects.models import MODELS
from effects.rows import NO_EXPECTATION, Effect, Elsewhere, Refused
from effects.shared import BACKBONE, OPTIM
from effects.trainer import OUTPUTS, TRAINER

TABLE = {**COMMAND, **BACKBONE, **OPTIM, **TRAINER, **OUTPUTS}
FOLDER = Path(__file__).parent


def rows_of(kind):
    """The rows of a kind: composition, leaf, row."""
    listed = [
        (task, leaf, row)
        for leaf, rows in TABLE.items()
        for row in each(rows)
        for task in getattr(row, "tasks", ("cls",))
    ]
    for where, table in {**{task: MODELS[task] for task in TINY_TASKS}, **DATASETS}.items():
        listed += [(where, leaf, row) for leaf, rows in table.items() for row in each(rows)]
    return [
        pytest.param(*one, id=f"{one[0]}-{one[1]}") for one in listed if isinstance(one[2], kind)
    ]


def each(rows):
    return rows if isinstance(rows, tuple) else (rows,)


def check(leaves, rows):
    lacking, over = sorted(leaves - set(rows)), sorted(set(rows) - leaves)
    assert not lacking, f"settings without a row in tests/effects (see its docstring): {lacking}"
    assert not over, f"rows in tests/effects of settings that are gone: {over}"


def test_every_shared_setting_has_a_row():
    check(shared_leaves(), TABLE)


@pytest.mark.parametrize("task", TASKS)
def test_every_setting_of_a_task_has_a_row(task):
    check(task_leaves(task), MODELS[task])


@pytest.mark.parametrize("name", dataset_names())
def test_every_setting_of_a_dataset_has_a_row(name):
    check(dataset_leaves(name), DATASETS.get(name, {}))


def test_experiments_only_set_what_has_a_row():
    rows = {
        *TABLE,
        *(leaf for table in (MODELS, DATASETS) for own in table.values() for leaf in own),
    }
    assert experiment_leaves() - rows == set()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of all data sets."""
    return write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def case_of(files, tmp_path_factory):
    """The case of a composition with other leaves changed, kept for the rows that share it."""
    kept = {}

    def case_of(where, changes):
        name = f"{where} {dict(changes)}"
        if name not in kept:
            config = with_settings(composed(*command(where, files)), changes)
            kept[name] = Case(config, tmp_path_factory.mktemp("case"))
        return kept[name]

    return case_of


def command(where, files):
    """What composes a task or a data set."""
    if where == "shapes/robustness":
        return (*TINY_TASKS["cls"], "task=robustness", "mode=fit", "dataset=shapes")
    if where == "benchmark":
        return (*TINY_TASKS["cls"], "mode=benchmark")
    task = where.removeprefix("shapes/")
    return TINY_TASKS[task] if task in TINY_TASKS else command_of(where, files)


@pytest.mark.parametrize(("where", "leaf", "row"), rows_of(Effect))
def test_a_setting_has_its_effect(where, leaf, row, case_of, tmp_path):
    without = case_of(where, row.base)
    changed = with_settings(without.config, {leaf: row.value})
    before, after = row.probe(without), row.probe(Case(changed, tmp_path))
    assert after != before, "it has no effect"
    if row.expected is not NO_EXPECTATION:
        assert after == row.expected


@pytest.mark.parametrize(("where", "leaf", "row"), rows_of(Refused))
def test_a_setting_that_cannot_be_is_refused_by_name(where, leaf, row, case_of, tmp_path):
    without = case_of(where, row.base)
    assert without.job is not None
    with pytest.raises(Exception, match=re.escape(row.text)):
        _ = Case(with_settings(without.config, {leaf: row.value}), tmp_path).job


@pytest.mark.parametrize(("where", "leaf", "row"), rows_of(Elsewhere))
def test_the_test_of_a_setting_is_where_it_is_said_to_be(where, leaf, row):
    file, _, name = row.test.partition("::")
    module = ast.parse((FOLDER / file).read_text())
    (function,) = (n for n in module.body if isinstance(n, ast.FunctionDef) and n.name == name)
    assert (row.mentions or leaf.rpartition(".")[2]) in ast.unparse(function)


def test_a_run_lies_where_it_is_told_under_its_name(run, tmp_path):
    ended = run(*TINY_TASKS["cls"], "name=mine", f"runs={tmp_path / 'runs/own'}")
    assert ended.code == 0, ended.err
    (folder,) = tmp_path.glob("runs/own/cls/*")
    assert folder.name.endswith("-mine")
    assert (folder / "results.json").is_file()
