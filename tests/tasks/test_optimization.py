"""Exact tables of the parameter groups."""

from dataclasses import replace

import pytest
import torch
from optimization import SETTINGS
from torch import nn

import dcls
from tasks.errors import SettingError, TrainingError
from tasks.training.optimization import parameter_groups


class Wrapped(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        self.backbone = dcls.create_backbone(
            "convnext_dcls_atto", num_classes=3, depths=(1, 1, 2, 1), dims=(4, 4, 8, 8), **settings
        )

    def layer_ids(self, scheme, count):
        own = self.backbone.layer_ids(scheme, count)
        return {f"backbone.{name}": layer for name, layer in own.items()}


def rates(model, settings):
    ids = model.layer_ids(settings.layer_scheme, settings.layer_count)
    groups = parameter_groups(model, settings, ids)
    names = {id(p): n for n, p in model.named_parameters()}
    return {
        names[id(p)]: (round(g["lr"], 9), g["weight_decay"]) for g in groups for p in g["params"]
    }


def test_groups_without_layer_decay():
    table = rates(Wrapped(), SETTINGS)
    assert table["backbone.stages.0.0.dwconv.P"] == (5.0, 0.0)
    assert table["backbone.stages.0.0.dwconv.weight"] == (1.0, 0.05)
    assert table["backbone.stages.0.0.dwconv.bias"] == (1.0, 0.0)
    assert table["backbone.stages.0.0.gamma"] == (1.0, 0.0)
    assert table["backbone.downsample_layers.0.1.weight"] == (1.0, 0.0)
    assert table["backbone.head.weight"] == (1.0, 0.05)
    assert len(parameter_groups(Wrapped(), SETTINGS, {})) == 3


def test_shared_positions_stand_in_one_group_once():
    model = Wrapped()
    table = rates(model, SETTINGS)
    assert set(table) == {name for name, _ in model.named_parameters()}
    assert sum(name.endswith(".P") for name in table) == 4


def test_layer_wise_decay_keeps_the_factor_of_positions():
    table = rates(Wrapped(), replace(SETTINGS, layer_decay=0.5))
    assert table["backbone.downsample_layers.0.0.weight"] == (0.5**7, 0.05)
    assert table["backbone.stages.0.0.pwconv1.weight"] == (0.5**6, 0.05)
    assert table["backbone.stages.0.0.dwconv.P"] == (5 * 0.5**6, 0.0)
    assert table["backbone.stages.1.0.pwconv1.weight"] == (0.5**5, 0.05)
    assert table["backbone.stages.2.1.pwconv1.weight"] == (0.5**4, 0.05)
    assert table["backbone.stages.3.0.pwconv1.weight"] == (0.5**1, 0.05)
    assert table["backbone.head.weight"] == (1.0, 0.05)


def test_stage_wise_decay():
    settings = replace(SETTINGS, layer_decay=0.9, layer_scheme="stage_wise")
    table = rates(Wrapped(), settings)
    assert table["backbone.downsample_layers.3.1.weight"] == (round(0.9**7, 9), 0.05)
    assert table["backbone.stages.2.0.pwconv1.weight"] == (round(0.9**4, 9), 0.05)
    assert table["backbone.head.weight"] == (1.0, 0.05)


def test_released_recipe_loses_the_factor_under_layer_decay_only():
    released = replace(SETTINGS, positions="released")
    assert rates(Wrapped(), released)["backbone.stages.0.0.dwconv.P"] == (5.0, 0.0)
    decayed = replace(released, layer_decay=0.5)
    assert rates(Wrapped(), decayed)["backbone.stages.0.0.dwconv.P"] == (0.5**6, 0.0)


def test_widths_of_gauss_are_special_too():
    table = rates(Wrapped(version="gauss"), SETTINGS)
    assert table["backbone.stages.0.0.dwconv.SIG"][1] == 0.0


def test_frozen_parameters_are_left_out():
    model = Wrapped()
    model.backbone.head.requires_grad_(False)
    table = rates(model, SETTINGS)
    assert "backbone.head.weight" not in table


def test_groups_make_an_optimizer_that_moves_every_parameter():
    model = Wrapped()
    groups = parameter_groups(model, SETTINGS, {})
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    torch.optim.AdamW(groups, lr=1.0).step()
    assert all(not torch.equal(before[name], p) for name, p in model.named_parameters())


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
