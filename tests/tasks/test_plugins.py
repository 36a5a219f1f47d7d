"""Everything that can be added from outside the package, from files beside the user's command."""

import csv
import sys
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import pytest
import torch
from commands import TINY, TINY_SHAPES, refused
from omegaconf import OmegaConf

import dcls
from dcls import backbones
from tasks.robustness import corruptions

MODULE = '''
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import dcls
from tasks.data.pixels import Pixels
from tasks.engine.task import Task
from tasks.modes.mode import Mode, Result
from tasks.reporting.metrics import Metric
from tasks.reporting.page import Section, Table
from tasks.robustness.corruptions import register_corruption


@dcls.register_backbone("toynet_small", "toynet_large")
def toynet(name, num_classes, features, **settings):
    width = {"toynet_small": 4, "toynet_large": 8}[name]
    return dcls.create_backbone(
        "convnext_yocto", num_classes, features, depths=[1, 1, 1, 1], dims=[width] * 4, **settings
    )


@register_corruption(10, 20, 30, 40, 50)
def stripes(image, strength):
    image = image.copy()
    image[::2] = np.clip(image[::2].astype(int) + strength, 0, 255).astype(np.uint8)
    return image


class Brightness(Task):
    """Says how bright an image is."""

    metrics = (
        Metric("error", "grey levels", "lower", headline=True),
        Metric("largest", "grey levels", "lower"),
    )
    derived_settings: ClassVar = {"dataset.image_size": ("dataset.recipe.image_size",)}

    def __init__(self, backbone, data, optimization, monitor, scale, channels_last=True):
        super().__init__(optimization, monitor)
        self.backbone, self.scale = backbone, scale
        self.pixels = Pixels(data.recipe.mean, data.recipe.std, channels_last)
        self.head = nn.Linear(len(data.class_names), 1)
        self.errors = []

    def forward(self, images):
        return self.head(self.backbone(images))[:, 0]

    def shared_step(self, batch, stage):
        self.note_unreadable(batch)
        wanted = batch["image"].float().mean((1, 2, 3)) / 255
        found = self(self.pixels(batch["image"]))
        if stage != "train":
            self.errors.append((found - wanted).abs().detach() * self.scale)
        return F.mse_loss(found, wanted)

    def compute_metrics(self, stage):
        errors, self.errors = torch.cat(self.errors), []
        return {"error": float(errors.mean()), "largest": float(errors.max())}

    def on_test_epoch_end(self):
        self.log_dict({f"test/{k}": v for k, v in self.compute_metrics("test").items()})

    def load_weights(self, path):
        dcls.load_model_checkpoint(self, path, "head.weight")

    def sections(self):
        return [Section("Brightness", tables=[Table(["scale"], [[str(self.scale)]])])]


class Count(Mode):
    """Counts the parameters of the composed backbone."""

    def run(self, provenance):
        name = self.config.backbone.name
        model = dcls.create_backbone(name, num_classes=2)
        count = sum(p.numel() for p in model.parameters())
        about = {"size": Metric("size", "parameters", "lower")}
        return Result({"count/size": float(count)}, declared=about)
'''
CONFIGS = {
    "dataset/stripes_data.yaml": "defaults:\n  - imagefolder\n  - _self_\nname: stripes_data\n",
    "dataset/shapes_for/brightness.yaml": "defaults:\n  - cls\n  - _self_\ntasks: [brightness]\n",
    "backbone/toynet_small.yaml": "name: toynet_small\npretrained: null\n",
    "task/brightness.yaml": (
        "# @package _global_\ntask:\n  _target_: my_plugin.Brightness\n  name: brightness\n"
        "  shapes: tasks.classification.data.Shapes\n  features: false\n  monitor: val/error\n"
        "  channels_last: true\n  scale: 255\n"
    ),
    "mode/count.yaml": ("# @package _global_\nmode:\n  _target_: my_plugin.Count\n  name: count\n"),
}


PLUGIN = "plugins=[my_plugin]"
LARGE = [*(one for one in TINY if "image_size" not in one), "dataset.image_size=32"]
ANY_BACKBONE = [one for one in TINY_SHAPES if "backbone" not in one and "image_size" not in one]
NEW_TASK = (PLUGIN, *TINY_SHAPES, "task=brightness")


@pytest.fixture
def outside(run, tmp_path, monkeypatch):
    """The command of a user who has written a module and a folder of configurations."""
    (tmp_path / "my_plugin.py").write_text(MODULE)
    for name, text in CONFIGS.items():
        path = tmp_path / "my_conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    tables = (
        backbones._registered,
        corruptions._registered,
        corruptions._FIXED,
        corruptions._DRAWN,
    )
    with ExitStack() as stack:
        for table in (*tables, sys.modules):  # as they were, afterwards
            stack.enter_context(patch.dict(table))
        sys.modules.pop("my_plugin", None)
        yield lambda *settings: run("--config-dir", "my_conf", *settings)


def test_a_dataset_is_one_config(outside, image_folder):
    ended = outside(*LARGE, "dataset=stripes_data", f"dataset.root={image_folder}")
    assert ended.code == 0, ended.err
    assert ended.results["config"]["dataset"]["name"] == "stripes_data"
    assert ended.results["facts"]["train_samples"] == 16


def test_a_backbone_family_is_a_module_and_a_config(outside):
    ended = outside(PLUGIN, *ANY_BACKBONE, "backbone=toynet_small")
    assert ended.code == 0, ended.err
    assert "toynet_small (" in ended.out
    tested = outside(PLUGIN, "mode=test", "trainer=cpu", f"ckpt={best(ended)}")
    assert tested.results["metrics"]["test/top1"] == ended.results["metrics"]["test/top1"]
    refused(outside(PLUGIN, *ANY_BACKBONE, "backbone.name=toynet_smal"), "toynet_small")


def test_a_mode_is_a_module_and_a_config(outside):
    ended = outside(PLUGIN, *ANY_BACKBONE, "mode=count", "figures=false")
    assert ended.code == 0, ended.err
    parameters = sum(p.numel() for p in dcls.create_backbone("convnext_dcls_yocto", 2).parameters())
    assert ended.results["metrics"] == {"count/size": parameters}
    assert ended.results["mode"] == "count"
    assert " parameters" in ended.out
    assert (ended.folder / "report.html").is_file()


def test_a_corruption_is_a_function(outside):
    fitted = outside(*TINY_SHAPES)
    tested = outside(
        PLUGIN, "mode=test", "trainer=cpu", f"ckpt={best(fitted)}", "corruption=stripes/5"
    )
    assert tested.code == 0, tested.err
    assert "stripes/5" in tested.results["facts"]["corruption"]
    evaluated = outside(
        *(PLUGIN, "task=robustness", "trainer=cpu", "dataset.workers=0", "figures=false"),
        *(f"ckpt={best(fitted)}", "corruptions=[stripes]"),
    )
    assert evaluated.code == 0, evaluated.err
    assert 0 <= evaluated.results["metrics"]["test/stripes_error_on_the_fly"] <= 1
    with (evaluated.folder / "cells.csv").open(newline="") as file:
        severities = {row["severity"] for row in csv.DictReader(file) if row["corruption"]}
    assert severities == {"1", "2", "3", "4", "5"}
    assert "stripes" in (evaluated.folder / "report.md").read_text()


def test_a_task_is_its_folder_and_its_config(outside):
    ended = outside(*NEW_TASK)
    assert ended.code == 0, ended.err
    error = ended.results["metrics"]["test/error"]
    assert f"{error:.4g} grey levels" in ended.out
    assert f"{error:.4g} grey levels" in (ended.folder / "report.md").read_text()
    assert "## Brightness" in (ended.folder / "report.md").read_text()
    assert ended.results["metrics"]["val/error"] > 0
    assert ended.results["metrics_about"]["error"]["better"] == "lower"
    tested = outside(PLUGIN, "mode=test", "trainer=cpu", f"ckpt={best(ended)}")
    assert tested.results["metrics"]["test/error"] == pytest.approx(error)
    content = torch.load(best(ended), weights_only=True)["hyper_parameters"]
    assert content["class"] == "my_plugin.Brightness"


def test_settings_of_a_task_from_outside_are_checked_by_its_signature(outside):
    refused(outside(*NEW_TASK, "+task.scales=1"), "task.scales=1: there is no such setting")
    refused(outside(*NEW_TASK, "task.foo=1"), "there is no setting task.foo")


def test_other_modes_take_a_task_from_outside_or_say_why_not(outside):
    ended = outside(*NEW_TASK)
    evaluated = outside(
        *NEW_TASK, "mode=robustness", "corruptions=[fog]", f"ckpt={best(ended)}", "figures=true"
    )
    assert evaluated.code == 0, evaluated.err
    clean = evaluated.results["metrics"]["test/error_clean"]
    assert clean == pytest.approx(ended.results["metrics"]["test/error"])
    timed = outside(*NEW_TASK, "mode=benchmark")
    refused(timed, "task=brightness cannot be timed", "benchmark_sizes")
    assert not timed.folders


def test_a_metric_of_a_task_from_outside_is_in_the_table_of_a_sweep(outside, tmp_path):
    assert outside("-m", *NEW_TASK, "seed=0,1").code == 0
    (table,) = tmp_path.glob("runs/*/*/sweep.md")
    assert "grey levels" in table.read_text()
    assert "test/largest" in table.read_text()


def test_what_cannot_be_imported_is_named(run):
    ended = run(*TINY_SHAPES, "plugins=[no_such_module]")
    refused(ended, "plugins: no_such_module cannot be imported")
    assert not ended.folders


def test_everything_that_can_be_added_from_outside(outside):
    """At once: a task on a backbone of a module that plugins= names."""
    settings = [one for one in NEW_TASK if "backbone" not in one and "image_size" not in one]
    ended = outside(*settings, "backbone=toynet_small", "plugins=[my_plugin]")
    assert ended.code == 0, ended.err
    assert OmegaConf.load(ended.folder / "config.yaml").backbone.name == "toynet_small"


def best(ended):
    return ended.folder / "checkpoints/best.ckpt"


def test_other_processes_are_told_where_the_configuration_is(outside, monkeypatch):
    told = []

    @contextmanager
    def recorded(arguments, folder):
        told.extend(arguments)
        yield []

    monkeypatch.setattr("tasks.job.job_processes", recorded)
    assert outside(PLUGIN, *ANY_BACKBONE, "mode=count", "figures=false").code == 0
    assert told[told.index("--config-dir") + 1].endswith("my_conf")
    assert "mode=count" in told
