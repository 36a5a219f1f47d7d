"""The registry, and the adapter of timm's models."""

import pytest
import timm
import torch
from torch import nn

import dcls
from dcls.backbone import Backbone
from dcls.backbones import SIZES, equal_parameter_count
from dcls.errors import BackboneArgumentError, UnknownBackboneError
from dcls.layers import Dcls2d


def on_meta(name, **settings):
    with torch.device("meta"):
        return dcls.create_backbone(name, **settings)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", [*dcls.list_backbones(), "timm/resnet18"])
def test_every_name_builds_a_backbone(name):
    model = on_meta(name, num_classes=7)
    assert isinstance(model, nn.Module)
    assert isinstance(model, Backbone)
    assert model.num_classes == 7
    assert [info.stride for info in model.feature_info] == [4, 8, 16, 32]
    ids = model.layer_ids("stage_wise", 12)
    assert set(ids) == {key for key, _ in model.named_parameters(remove_duplicate=False)}
    heads = {layer for key, layer in ids.items() if key.startswith(model.classifier)}
    assert heads == {13}


def test_names_are_listed_once_each():
    names = dcls.list_backbones()
    assert len(names) == len(set(names)) == 24
    assert {"convnext_dcls_xlarge", "convnext_tiny_dil2", "resnet50_dcls"} < set(names)


@pytest.mark.parametrize(
    ("size", "rows", "points"),
    [("atto", 2, 29), ("tiny", 2, 34), ("small", 2, 40), ("base", 2, 40), ("tiny", 4, 26)],
)
def test_points_at_equal_parameters_are_the_published_ones(size, rows, points):
    assert equal_parameter_count(*_shape(size), rows) == points
    version = "v0" if rows == 2 else "gauss"
    layer = on_meta(f"convnext_dcls_{size}", version=version).stages[0][0].dwconv
    assert layer.kernel_count == points
    assert layer.kernel_size == ((17, 17) if rows == 2 else (23, 23))


def _shape(size):
    return SIZES[size].depths, SIZES[size].dims


@pytest.mark.parametrize("size", ["atto", "nano", "small"])
@pytest.mark.parametrize("settings", [{}, {"share_positions": False}, {"version": "gauss"}])
def test_learned_positions_cost_no_more_than_dense_kernels(size, settings):
    plain, learned = on_meta(f"convnext_{size}"), on_meta(f"convnext_dcls_{size}", **settings)
    assert 0 <= count(plain) - count(learned) < 0.003 * count(plain)


def test_points_follow_other_depths_and_can_be_set():
    assert on_meta("convnext_dcls_tiny", depths=(1, 1, 1, 1)).stages[0][0].dwconv.kernel_count == 16
    layer = on_meta("convnext_dcls_tiny", kernel_count=5, kernel_size=9).stages[3][0].dwconv
    assert (layer.kernel_count, layer.kernel_size) == (5, (9, 9))


def test_comparisons_of_the_paper():
    dilated = on_meta("convnext_tiny_dil2").stages[0][0].dwconv
    assert (dilated.kernel_size, dilated.dilation, dilated.padding) == ((7, 7), (2, 2), (6, 6))
    wide = on_meta("convnext_tiny_ker17").stages[0][0].dwconv
    assert (wide.kernel_size, wide.dilation, wide.padding) == ((17, 17), (1, 1), (8, 8))
    small = {"depths": (1, 1, 1, 1), "dims": (2, 2, 2, 2), "num_classes": 3}
    for name in ("convnext_tiny_dil2", "convnext_tiny_ker17"):
        assert dcls.create_backbone(name, **small)(torch.randn(1, 3, 64, 64)).shape == (1, 3)


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("convnxt_dcls_tiny", "convnext_dcls_tiny"),
            ("convnext_tiny_dil3", "convnext_tiny_dil2"),
            ("timm/resnet5", "timm/resnet50"),
            ("resnet18", "timm/resnet18"),
        ],
    )
    def test_the_nearest_are_named(self, name, nearest):
        with pytest.raises(UnknownBackboneError, match=rf"Nearest: .*{nearest}\b.*list_backbones"):
            dcls.create_backbone(name)

    @pytest.mark.parametrize("name", ["", "convnext_", "convnext_dcls_tiny_dil2", "convnext_huge"])
    def test_nothing_else_is_taken_for_a_name(self, name):
        with pytest.raises(UnknownBackboneError, match="list_backbones"):
            dcls.create_backbone(name)


class TestResNet:
    def test_3x3_convolutions_have_learned_positions_at_equal_parameters(self):
        plain, learned = on_meta("resnet50"), on_meta("resnet50_dcls")
        layers = {name: m for name, m in learned.named_modules() if isinstance(m, Dcls2d)}
        assert set(layers) == {
            name
            for name, module in plain.named_modules()
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
        }
        assert {(m.kernel_count, m.kernel_size) for m in layers.values()} == {(3, (7, 7))}
        assert count(learned) == count(plain) == count(timm.create_model("resnet50"))

    def test_it_runs_and_gives_maps(self):
        model = dcls.create_backbone("resnet50_dcls", num_classes=2, layers=(1, 1, 1, 1)).eval()
        assert model(torch.randn(1, 3, 32, 32)).shape == (1, 2)
        maps = model.forward_stages(torch.randn(1, 3, 64, 64))
        assert [y.shape[1:] for y in maps] == [
            (256, 16, 16), (512, 8, 8), (1024, 4, 4), (2048, 2, 2),
        ]  # fmt: skip


class TestTimm:
    def test_logits_and_maps_are_timms(self):
        model = dcls.create_backbone("timm/resnet18", num_classes=4).eval()
        x = torch.randn(2, 3, 64, 64)
        assert torch.equal(model(x), model.model(x))
        maps = model.forward_stages(x)
        assert [(y.shape[1], 64 // y.shape[2]) for y in maps] == list(model.feature_info)

    def test_maps_of_a_transformer_have_one_stride(self):
        settings = {"img_size": 32, "embed_dim": 24, "num_heads": 2, "depth": 5}
        model = dcls.create_backbone("timm/vit_tiny_patch16_224", **settings)
        assert [tuple(info) for info in model.feature_info] == [(24, 16)] * 4
        maps = model.forward_stages(torch.randn(1, 3, 32, 32))
        assert [tuple(y.shape) for y in maps] == [(1, 24, 2, 2)] * 4

    def test_without_classes_features_are_pooled(self):
        model = dcls.create_backbone("timm/mobilenetv3_small_050", num_classes=0).eval()
        assert model.num_classes == 0
        assert model(torch.randn(1, 3, 32, 32)).shape == (1, model.num_features)

    def test_built_for_dense_tasks_it_gives_its_maps(self):
        model = dcls.create_backbone("timm/resnet18", features=True).eval()
        assert model.num_classes == 0
        x = torch.randn(1, 3, 64, 64)
        for found, wanted in zip(model(x), model.forward_stages(x), strict=True):
            assert torch.equal(found, wanted)

    def test_image_channels_have_one_name_everywhere(self):
        model = dcls.create_backbone("timm/resnet18", num_classes=4, in_channels=1)
        assert model(torch.randn(2, 1, 32, 32)).shape == (2, 4)

    def test_deeper_parameters_have_higher_layer_numbers(self):
        model = on_meta("timm/resnet18", num_classes=4)
        for scheme in ("layer_wise", "stage_wise"):
            ids = model.layer_ids(scheme, 6)
            order = ["conv1", "layer1.0.conv1", "layer2.0.conv1", "layer4.1.conv2", "fc"]
            layers = [ids[f"model.{name}.weight"] for name in order]
            assert layers == sorted(layers)
            assert (layers[0], layers[-1]) == (0, 7)

    def test_settings_that_a_model_does_not_have(self):
        with pytest.raises(BackboneArgumentError, match="stem_stride"):
            dcls.create_backbone("timm/resnet18", stem_stride=2)
