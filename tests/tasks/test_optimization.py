"""Exact tables of the parameter groups."""

from dataclasses import replace

import pytest
import torch
from builds import build_task_of
from optimization import SETTINGS
from torch import nn

import dcls
from tasks.engine.optimization import build_optimizer, parameter_groups
from tasks.errors import SettingError, TrainingError


def model(version="v0"):
    """A real task, whose own numbering of layers the groups are made from."""
    return build_task_of("cls", "backbone.depths=[1,1,2,1]", f"backbone.version={version}")


def groups_of(task, settings):
    task.optimization = settings
    return parameter_groups(task, settings, task._layer_ids())


def rates(task, settings):
    names = {id(p): n for n, p in task.named_parameters()}
    return {
        names[id(p)]: (round(g["lr"], 9), g["weight_decay"])
        for g in groups_of(task, settings)
        for p in g["params"]
    }


def test_groups_without_layer_decay():
    table = rates(model(), SETTINGS)
    assert table["backbone.stages.0.0.dwconv.P"] == (5.0, 0.0)
    assert table["backbone.stages.0.0.dwconv.weight"] == (1.0, 0.05)
    assert table["backbone.stages.0.0.dwconv.bias"] == (1.0, 0.0)
    assert table["backbone.stages.0.0.gamma"] == (1.0, 0.0)
    assert table["backbone.downsample_layers.0.1.weight"] == (1.0, 0.0)
    assert table["backbone.head.weight"] == (1.0, 0.05)
    assert len(groups_of(model(), SETTINGS)) == 3


def test_shared_positions_stand_in_one_group_once():
    task = model()
    table = rates(task, SETTINGS)
    assert set(table) == {name for name, _ in task.named_parameters()}
    assert sum(name.endswith(".P") for name in table) == 4


def test_layer_wise_decay_keeps_the_factor_of_positions():
    table = rates(model(), replace(SETTINGS, layer_decay=0.5))
    assert table["backbone.downsample_layers.0.0.weight"] == (0.5**7, 0.05)
    assert table["backbone.stages.0.0.pwconv1.weight"] == (0.5**6, 0.05)
    assert table["backbone.stages.0.0.dwconv.P"] == (5 * 0.5**6, 0.0)
    assert table["backbone.stages.1.0.pwconv1.weight"] == (0.5**5, 0.05)
    assert table["backbone.stages.2.1.pwconv1.weight"] == (0.5**4, 0.05)
    assert table["backbone.stages.3.0.pwconv1.weight"] == (0.5**1, 0.05)
    assert table["backbone.head.weight"] == (1.0, 0.05)


def test_stage_wise_decay():
    settings = replace(SETTINGS, layer_decay=0.9, layer_scheme="stage_wise")
    table = rates(model(), settings)
    assert table["backbone.downsample_layers.3.1.weight"] == (round(0.9**7, 9), 0.05)
    assert table["backbone.stages.2.0.pwconv1.weight"] == (round(0.9**4, 9), 0.05)
    assert table["backbone.head.weight"] == (1.0, 0.05)


def test_released_recipe_loses_the_factor_under_layer_decay_only():
    released = replace(SETTINGS, positions="released")
    assert rates(model(), released)["backbone.stages.0.0.dwconv.P"] == (5.0, 0.0)
    decayed = replace(released, layer_decay=0.5)
    assert rates(model(), decayed)["backbone.stages.0.0.dwconv.P"] == (0.5**6, 0.0)


def test_widths_of_gauss_are_special_too():
    table = rates(model("gauss"), SETTINGS)
    assert table["backbone.stages.0.0.dwconv.SIG"][1] == 0.0


def test_frozen_parameters_are_left_out():
    task = model()
    task.backbone.head.requires_grad_(False)
    table = rates(task, SETTINGS)
    assert "backbone.head.weight" not in table


def test_groups_make_an_optimizer_that_moves_every_parameter():
    task = model()
    optimizer = build_optimizer(groups_of(task, SETTINGS), SETTINGS)
    before = {name: p.detach().clone() for name, p in task.named_parameters()}
    for p in task.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert all(not torch.equal(before[name], p) for name, p in task.named_parameters())


@pytest.mark.parametrize(
    "change", [{"positions": "none"}, {"lr": 0.0}, {"layer_decay": 0.0}, {"ema_decay": 1.0}]
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(SettingError, match=r"optim\."):
        replace(SETTINGS, **change)


def test_positions_that_the_optimizer_does_not_know_are_an_error(monkeypatch):
    model = dcls.create_backbone("convnext_dcls_yocto", num_classes=3)
    monkeypatch.setattr(dcls.Dcls2d, "special_parameters", {})
    with pytest.raises(TrainingError, match=r"5 layers .*PositionedLayer"):
        parameter_groups(model, SETTINGS, {})


class ForeignLayer(nn.Module):
    """Learns positions as the layers of the authors' package do, unknown to this one."""

    def __init__(self):
        super().__init__()
        self.P = nn.Parameter(torch.zeros(2, 4, 1, 3))


@pytest.mark.parametrize("beside", [nn.Identity(), dcls.Dcls2d(4, 4, 3, groups=4)])
def test_positions_of_layers_of_other_kinds_are_an_error(beside):
    with pytest.raises(TrainingError, match=r"1 layers? \(1\.P\).*PositionedLayer"):
        parameter_groups(nn.Sequential(beside, ForeignLayer()), SETTINGS, {})


def test_positions_that_do_not_learn_need_no_group():
    model = nn.Sequential(nn.Linear(2, 2), ForeignLayer())
    model[1].P.requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(model, SETTINGS, {})] == [1, 1]
