"""What was set explicitly is never replaced by a guess, wherever it was written."""

from types import SimpleNamespace

import pytest
import torch
from commands import refused
from omegaconf import OmegaConf

import dcls
from tasks.config.explicit import Explicit
from tasks.modes import robustness

WHERE = {
    "command": "",
    "experiment": "# @package _global_\nexperiment:\n  task: cls\nbackbone:\n  version: v1\n",
    "experiment that chooses": (
        "# @package _global_\ndefaults:\n  - override /backbone: convnext_dcls_yocto\n"
        "experiment:\n  task: cls\nbackbone:\n  version: v1\n"
    ),
    "backbone": "defaults:\n  - convnext_dcls_yocto\n  - _self_\nversion: v1\n",
    "run": "defaults:\n  - run\n  - _self_\nbackbone:\n  version: v1\n",
}
ARGUMENTS = {
    "command": ("backbone.version=v1",),
    "experiment": ("experiment=mine",),
    "experiment that chooses": ("experiment=mine",),
    "backbone": ("backbone=mine",),
    "run": ("--config-name", "mine"),
}
BENCHMARK = (
    "mode=benchmark",
    "trainer=cpu",
    "benchmark.image_size=32",
    "benchmark.batch_sizes=[1]",
    "benchmark.classes=10",
    "benchmark.seconds=0.05",
    "benchmark.passes=[inference]",
    "benchmark.variants=[plain]",
)
ROBUSTNESS = (
    "task=robustness",
    "trainer=cpu",
    "dataset=shapes",
    "dataset.workers=0",
    "corruptions=[fog]",
    "limit=10",
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file whose weights show the backbone, but not the interpolation."""
    path = tmp_path_factory.mktemp("released") / "yocto.pth"
    torch.save(dcls.create_backbone("convnext_dcls_yocto", num_classes=10).state_dict(), path)
    return path


@pytest.mark.parametrize("where", WHERE)
def test_an_interpolation_is_kept_in_a_benchmark(run, weights, tmp_path, where):
    ended = run(*files(tmp_path, where), *BENCHMARK, f"ckpt={weights}")
    assert ended.code == 0, ended.err
    backbone = ended.results["config"]["backbone"]
    assert (backbone["name"], backbone["version"]) == ("convnext_dcls_yocto", "v1")


def test_an_interpolation_is_kept_in_robustness(run, weights, tmp_path):
    ended = run(*files(tmp_path, "experiment"), *ROBUSTNESS, f"ckpt={weights}")
    assert ended.code == 0, ended.err
    backbone = ended.results["config"]["backbone"]
    assert (backbone["name"], backbone["version"]) == ("convnext_dcls_yocto", "v1")


def test_a_name_from_a_file_is_kept(run, weights, tmp_path):
    folder = tmp_path / "own/experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# @package _global_\nexperiment: {task: cls}\nname: mine\n")
    own = ("--config-dir", str(folder.parent), "experiment=mine")
    ended = run(*own, *BENCHMARK, f"ckpt={weights}")
    assert ended.code == 0, ended.err
    assert ended.folder.name.endswith("-mine")


def test_what_nobody_chose_follows_the_weights(run, weights, tmp_path):
    """Of a file of user's, and of the command line, only what stands there is explicit."""
    path = tmp_path / "atto.pth"
    torch.save(dcls.create_backbone("convnext_dcls_atto", num_classes=10).state_dict(), path)
    ended = run(*BENCHMARK, "backbone.version=v1", f"ckpt={path}")
    assert ended.code == 0, ended.err
    backbone = ended.results["config"]["backbone"]
    assert backbone == {"name": "convnext_dcls_atto", "pretrained": None, "version": "v1"}
    refused(run(*BENCHMARK, "backbone=convnext_dcls_yocto", f"ckpt={path}"), "convnext_dcls_atto")


@pytest.mark.parametrize("named", [True, False])
def test_processes_are_told_the_checkpoint_that_was_found_but_not_one_that_was_named(
    monkeypatch, named
):
    """Or a list in a file of the user would reach them as a text."""
    values = frozenset({"ckpt"} if named else set())
    monkeypatch.setattr(robustness, "explicit_settings", lambda: Explicit(values, frozenset()))
    mode = SimpleNamespace(config=OmegaConf.create({"ckpt": "a.ckpt"}))
    told = robustness.Robustness.child_overrides.fget(mode)
    assert told == ([] if named else ["ckpt='a.ckpt'"])


def files(root, where):
    """Arguments of the command, and the file of the user that they name."""
    if where == "command":
        return ARGUMENTS[where]
    group = {"run": ".", "backbone": "backbone"}.get(where, "experiment")
    path = root / "own" / group / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(WHERE[where])
    return ("--config-dir", str(root / "own"), *ARGUMENTS[where])
