"""The network of a task is an ordinary child of it, and checkpoints keep the network's own keys."""

import copy

import pytest
import torch
from commands import TINY_SHAPES
from detection import DET_SHAPES
from hydra import compose, initialize_config_module
from segmentation import SEG_SHAPES

from dcls.ndlayer import DclsNd
from tasks.build import build_data, build_task
from tasks.engine.callbacks import positions_of
from tasks.engine.optimization import parameter_groups

TASKS = {"cls": TINY_SHAPES, "det": DET_SHAPES, "seg": SEG_SHAPES}
LAYER_DECAY = ("optim.layer_decay=0.5", "optim.layer_count=6", "optim.layer_scheme=stage_wise")


def built(kind, *overrides):
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("run", overrides=[*TASKS[kind], *overrides])
    return build_task(config, build_data(config))


@pytest.fixture(scope="module")
def tasks():
    return {kind: built(kind) for kind in TASKS}


def network(task):
    for name in ("detector", "segmenter"):
        if hasattr(task, name):
            return getattr(task, name)
    return task.backbone


@pytest.mark.parametrize("kind", TASKS)
def test_modes_types_and_functions_reach_every_module(tasks, kind):
    task = copy.deepcopy(tasks[kind])
    assert network(task) in set(task.modules())
    for training in (False, True):
        task.train(training)
        assert all(module.training is training for module in network(task).modules())
    task.to(torch.float64)
    assert {p.dtype for p in network(task).parameters()} == {torch.float64}
    seen = set()
    task.apply(lambda module: seen.add(id(module)))
    assert {id(module) for module in network(task).modules()} <= seen


@pytest.mark.parametrize("kind", ["det", "seg"])
def test_a_task_in_evaluation_mode_predicts(tasks, kind):
    task = copy.deepcopy(tasks[kind]).eval()
    images = torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        found = task([images[0]]) if kind == "det" else task(images)
    assert len(found) == 1


@pytest.mark.parametrize("kind", ["det", "seg"])
def test_a_checkpoint_has_the_networks_own_keys_each_once(tasks, kind):
    task = tasks[kind]
    own = network(task).state_dict()
    state = task.state_dict()
    assert list(state) == list(own)
    assert {key.split(".")[0] for key in state} == {name for name, _ in own_parts(task)}
    assert all(state[key].data_ptr() == value.data_ptr() for key, value in own.items())
    wrapped = torch.nn.ModuleDict({"module": task})  # as an average of weights wraps it
    assert list(wrapped.state_dict()) == [f"module.{key}" for key in own]


def own_parts(task):
    return [(n, part) for n, part in network(task).named_children() if part.state_dict()]


@pytest.mark.parametrize("kind", ["det", "seg"])
def test_a_checkpoint_loads_into_the_task_and_what_does_not_fit_is_named(tasks, kind):
    first, second = tasks[kind], copy.deepcopy(tasks[kind])
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.zero_()
    state = first.state_dict()
    second.load_state_dict(state)
    torch.nn.ModuleDict({"module": second}).load_state_dict(
        {f"module.{key}": value for key, value in state.items()}
    )
    for key, value in second.state_dict().items():
        torch.testing.assert_close(value, state[key])
    lost = next(iter(state))
    missing = {key: value for key, value in state.items() if key != lost}
    result = second.load_state_dict(missing | {"neck.of": torch.zeros(1)}, strict=False)
    assert result.missing_keys == [lost]
    assert result.unexpected_keys == ["neck.of"]


@pytest.mark.parametrize("kind", TASKS)
def test_every_parameter_stands_in_one_optimizer_group_at_the_rate_of_its_layer(kind):
    task = built(kind, *LAYER_DECAY)
    ids = task._layer_ids()
    assert set(ids) <= {name for name, _ in task.named_parameters()}
    groups = parameter_groups(task, task.optimization, ids)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted({id(p) for p in task.parameters() if p.requires_grad})
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    stem = next(p for p in task.backbone.parameters())
    assert rates[id(stem)] < task.optimization.lr  # not at the rate of the head


@pytest.mark.parametrize("kind", TASKS)
def test_positions_are_named_as_checkpoints_name_them(tasks, kind):
    names = [tasks[kind].checkpoint_name(name) for name in positions_of(tasks[kind])]
    assert any(isinstance(layer, DclsNd) for layer in tasks[kind].modules())
    assert names
    assert {f"{name}.P" for name in names} <= set(tasks[kind].state_dict())
