"""Layers, backbones and tasks are recognised by their classes, on every Python.

From 3.12 on, `isinstance` with a protocol looks attributes up statically, and so does not find the
parameters and submodules of an `nn.Module`; these tests give it that meaning on any Python.
"""

import inspect
import typing
from abc import ABCMeta
from typing import Protocol, runtime_checkable

import pytest
import torch
from builds import TINY_TASKS, build_task_of, composed

import dcls
from dcls.positions import clamp_positions, parameter_roles, repulsive_loss
from tasks.build import build_data
from tasks.robustness.scoring.scores import ClassifierScore
from tasks.robustness.scoring.subject import Subject, score_of


@pytest.fixture(autouse=True)
def static_lookup(monkeypatch):
    """`isinstance` with a protocol as from Python 3.12 on."""

    def found(instance, name):
        try:
            inspect.getattr_static(instance, name)
        except AttributeError:
            return False
        return True

    def check(cls, instance):
        if ABCMeta.__instancecheck__(cls, instance):
            return True
        members = typing._get_protocol_attrs(cls) if cls.__dict__.get("_is_protocol") else ()
        return bool(members) and all(found(instance, name) for name in members)

    monkeypatch.setattr(typing._ProtocolMeta, "__instancecheck__", check)


def test_a_protocol_does_not_recognise_a_layer():
    @runtime_checkable
    class Positioned(Protocol):
        P: torch.Tensor

    assert hasattr(dcls.Dcls2d(1, 1, 3), "P")
    assert not isinstance(dcls.Dcls2d(1, 1, 3), Positioned)


@pytest.mark.parametrize("name", ["convnext_dcls_yocto", "timm/resnet18"])
def test_backbones_are_recognised(name):
    assert isinstance(dcls.create_backbone(name, num_classes=2), dcls.Backbone)


def test_every_layer_with_positions_is_recognised():
    model = dcls.create_backbone("convnext_dcls_yocto", num_classes=2)
    positions = [name for name, _ in model.named_parameters() if name.endswith(".P")]
    assert len(positions) == 4, "two of the five layers share theirs"
    assert set(positions) <= set(parameter_roles(model))
    assert repulsive_loss(model) > 0
    torch.nn.init.constant_(model.get_parameter(positions[0]), 99.0)
    clamp_positions(model)
    assert model.get_parameter(positions[0]).max() < 99


def test_a_classifier_is_scored_as_one():
    data = build_data(composed(*TINY_TASKS["cls"]))
    assert isinstance(score_of(Subject("model", build_task_of("cls")), data), ClassifierScore)
