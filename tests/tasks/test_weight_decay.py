"""Which parameters of timm's models are decayed: exact tables, and timm's own."""

import pytest
import torch
from optimization import SETTINGS
from timm.optim import param_groups_weight_decay
from torch import nn

import dcls
from tasks.engine.task import Task

SMALL = {"embed_dim": 12, "num_classes": 3}
VIT = {"img_size": 32, "depth": 1, "num_heads": 3, **SMALL}
SWIN = {"img_size": 28, "window_size": 7, "depths": (1, 1), "num_heads": (1, 2), **SMALL}
_ATTENTION = {"blocks.0.attn.qkv.weight", "blocks.0.attn.proj.weight"}
_VIT_DECAYED = {
    "patch_embed.proj.weight",
    "blocks.0.mlp.fc1.weight",
    "blocks.0.mlp.fc2.weight",
    "head.weight",
    *_ATTENTION,
}
_SWIN_BLOCK = ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight")
MODELS = {
    "vit_tiny_patch16_224": (VIT, _VIT_DECAYED, {"pos_embed", "cls_token"}),
    "deit_tiny_distilled_patch16_224": (
        VIT,
        _VIT_DECAYED | {"head_dist.weight"},
        {"pos_embed", "cls_token", "dist_token"},
    ),
    "beit_base_patch16_224": (
        VIT,
        _VIT_DECAYED,
        {"cls_token", "blocks.0.attn.relative_position_bias_table"},
    ),
    "eva02_tiny_patch14_224": ({**VIT, "img_size": 28}, _VIT_DECAYED, {"pos_embed", "cls_token"}),
    "swin_tiny_patch4_window7_224": (
        SWIN,
        {
            "patch_embed.proj.weight",
            "layers.1.downsample.reduction.weight",
            "head.fc.weight",
            *(f"layers.{i}.blocks.0.{part}" for i in range(2) for part in _SWIN_BLOCK),
        },
        {f"layers.{i}.blocks.0.attn.relative_position_bias_table" for i in range(2)},
    ),
}
"""Settings, what is decayed, and what is not although it is no vector."""


class Wrapped(Task):
    """A task around a backbone, whose optimizer is built as in a run."""

    def __init__(self, backbone):
        super().__init__(SETTINGS, "val/top1")
        self.backbone = backbone

    def _schedule(self):
        return lambda step: 1.0


def decayed(task):
    optimizer = task.configure_optimizers()["optimizer"]
    names = {id(p): name for name, p in task.named_parameters()}
    groups = optimizer.param_groups
    return {
        names[id(p)].removeprefix("backbone.model."): group["weight_decay"]
        for group in groups
        for p in group["params"]
    }


@pytest.mark.parametrize("name", MODELS)
def test_the_table_of_a_model(name):
    settings, expected, exempt = MODELS[name]
    task = Wrapped(dcls.create_backbone(f"timm/{name}", **settings))
    table = decayed(task)
    assert {key for key, decay in table.items() if decay} == expected
    parameters = dict(task.backbone.model.named_parameters())
    matrices = {key for key, parameter in parameters.items() if parameter.ndim > 1}
    assert matrices - expected == exempt
    assert set(table) == set(parameters)


@pytest.mark.parametrize("name", [*MODELS, "swinv2_tiny_window8_256", "levit_128s", "resnet18"])
def test_decay_is_that_of_timm(name):
    settings = MODELS[name][0] if name in MODELS else {}
    with torch.device("meta"):
        backbone = dcls.create_backbone(f"timm/{name}", **settings)
    model = backbone.model
    listed = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    groups = param_groups_weight_decay(model, 0.05, no_weight_decay_list=listed)
    names = {id(p): key for key, p in model.named_parameters()}
    wanted = {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}
    assert decayed(Wrapped(backbone)) == wanted


def test_learned_positions_and_our_own_backbones_are_as_before():
    backbone = dcls.create_backbone("resnet50_dcls", num_classes=3)
    table = decayed(Wrapped(backbone))
    positions = {key: decay for key, decay in table.items() if key.endswith(".P")}
    assert len(positions) == 16
    assert set(positions.values()) == {0.0}
    assert table["layer1.0.conv2.weight"] == 0.05
    with torch.device("meta"):
        assert dcls.create_backbone("convnext_dcls_atto").no_weight_decay() == frozenset()


def test_a_name_that_the_model_does_not_have_is_an_error():
    """Or parameters would be decayed in silence, once a task names its parts otherwise."""
    from tasks.engine.optimization import parameter_groups

    with pytest.raises(AssertionError, match="pos_embed"):
        parameter_groups(nn.Linear(2, 2), SETTINGS, {}, {"pos_embed"})
