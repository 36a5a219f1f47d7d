"""The ConvNeXt against the reference data and its own promises."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference import golden, rule
from torch import nn

import dcls
from dcls.blocks import ChannelNorm
from dcls.errors import BackboneArgumentError

REFERENCE = Path(__file__).parents[1] / "reference"
RELEASED = json.loads((REFERENCE / "manifest.json").read_text())
SMALL = {"depths": (2, 1, 3, 1), "dims": (4, 8, 8, 16), "num_classes": 5}


def small(name="convnext_dcls_atto", **settings):
    torch.manual_seed(0)
    return dcls.create_backbone(name, **{**SMALL, "layer_scale": 0.5, **settings}).eval()


def images(side=64, count=2):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def ruled(model, prefix=""):
    state = {
        key: torch.from_numpy(rule.tensor_for(prefix + key, value.shape))
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model.eval(), state


def watch(model, names):
    seen = {}
    for name in names:
        model.get_submodule(name).register_forward_hook(
            lambda module, given, output, name=name: seen.update({name: output})
        )
    return seen


@pytest.mark.parametrize("name", ["convnext_tiny", "convnext_dcls_tiny"])
def test_tiny_models_give_the_reference_logits_and_maps(name):
    data = np.load(REFERENCE / f"cls_{name}.npz")
    model, state = ruled(dcls.create_backbone(name))
    np.testing.assert_allclose(golden.digest(state), data["digest"], rtol=1e-9)
    places = {f"downsample_layers.{i}": f"down{i}" for i in range(4)}
    places |= {f"stages.{i}": f"stage{i}" for i in range(4)}
    if "dcls" in name:
        places["stages.0.0.dwconv"] = "stages.0.0.dwconv.out"
        kernel = model.get_submodule("stages.2.1.dwconv").construct_kernel()
        golden.check(data, "kernel_stages.2.1", kernel.detach())
    seen = watch(model, [*places, "norm"])
    x = torch.from_numpy(rule.image_for("cls", 224, 224)[None])
    with torch.no_grad():
        logits = model(x.contiguous(memory_format=torch.channels_last))
    np.testing.assert_allclose(logits[0], data["logits"], atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(logits[0], data["logits_float64"], atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(seen["norm"][0], data["pooled_full"], atol=1e-4, rtol=1e-4)
    for place, key in places.items():
        golden.check(data, key, seen[place])


def test_normed_maps_of_a_dense_tiny_model_are_the_reference_ones():
    data = np.load(REFERENCE / "seg_tiny_whole.npz")
    model, _ = ruled(dcls.create_backbone("convnext_dcls_tiny", features=True), "backbone.")
    x = torch.from_numpy(rule.image_for("seg", 512, 512)[None])
    with torch.no_grad():
        maps = model.forward_stages(x.contiguous(memory_format=torch.channels_last))
    for i, y in enumerate(maps):
        golden.check(data, f"backbone_out{i}", y)


@pytest.mark.parametrize("file", RELEASED)
def test_keys_shapes_and_counts_are_those_of_the_released_files(file):
    name = file.removeprefix("upernet_").removeprefix("cascade_mask_rcnn_").split("_1k")[0]
    dense = RELEASED[file]["wrapper"] == "state_dict"
    with torch.device("meta"):
        model = dcls.create_backbone(name, features=dense)
    prefix = "backbone." if dense else ""
    shapes = {prefix + key: list(value.shape) for key, value in model.state_dict().items()}
    assert shapes == RELEASED[file]["shapes"]
    if not dense:
        assert sum(p.numel() for p in model.parameters()) == RELEASED[file]["num_params"]


class TestSharedPositions:
    def test_each_stage_has_one_tensor_that_parameters_yields_once(self):
        model = small()
        names = [name for name, _ in model.named_parameters() if name.endswith(".P")]
        assert names == [f"stages.{i}.0.dwconv.P" for i in range(4)]
        stage = model.stages[2]
        assert stage[0].dwconv.P is stage[1].dwconv.P is stage[2].dwconv.P
        assert sum(key.endswith(".P") for key in model.state_dict()) == sum(SMALL["depths"])

    def test_a_copy_shares_its_own(self):
        model = small()
        copied = copy.deepcopy(model)
        assert copied.stages[0][0].dwconv.P is copied.stages[0][1].dwconv.P
        assert copied.stages[0][0].dwconv.P is not model.stages[0][0].dwconv.P

    def test_a_state_dict_goes_round_and_sharing_stays(self):
        source, target = small(), small(drop_path_rate=0.2)
        nn.init.normal_(source.stages[0][0].dwconv.P)
        target.load_state_dict(source.state_dict())
        assert torch.equal(target(images()), source(images()))
        assert target.stages[0][0].dwconv.P is target.stages[0][1].dwconv.P

    def test_moving_to_another_dtype_keeps_sharing(self):
        model = small().double()
        assert model.stages[2][0].dwconv.P is model.stages[2][2].dwconv.P

    def test_without_sharing_each_block_has_its_own_of_fewer_points(self):
        model = small(share_positions=False)
        assert sum(name.endswith(".P") for name, _ in model.named_parameters()) == 7
        assert model.stages[0][0].dwconv.kernel_count == 49 // 3

    def test_widths_are_shared_too(self):
        stage = small(version="gauss").stages[2]
        assert stage[0].dwconv.SIG is stage[2].dwconv.SIG
        assert stage[0].dwconv.kernel_size == (23, 23)

    def test_positions_start_near_the_centre_and_differ_between_stages(self):
        torch.manual_seed(0)
        model = dcls.create_backbone("convnext_dcls_atto")
        deepest = model.stages[3][0].dwconv.P.detach()
        assert float(deepest.std()) == pytest.approx(0.5, rel=0.05)
        assert float(deepest.mean()) == pytest.approx(0, abs=0.02)
        assert not torch.equal(model.stages[0][0].dwconv.P[0, :9], deepest[0, :9])


def blocks_of(model, scheme, num_layers):
    """Layer numbers without the names of parameters in a block; asserts that they agree."""
    table = {}
    ids = model.layer_ids(scheme, num_layers)
    assert set(ids) == {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, layer in ids.items():
        parts = name.split(".")
        cut = {"stages": 3, "downsample_layers": 2}.get(parts[0], 1)
        assert table.setdefault(".".join(parts[:cut]), layer) == layer
    return table


STEM_AND_FIRST_STAGES = {
    "downsample_layers.0": 0, "stages.0.0": 1, "stages.0.1": 1, "stages.0.2": 1,
    "downsample_layers.1": 2, "stages.1.0": 2, "stages.1.1": 2, "stages.1.2": 2,
    "downsample_layers.2": 3,
}  # fmt: skip


class TestLayerIds:
    """Exact tables: wrong rates are silent."""

    def test_layer_wise_of_tiny(self):
        with torch.device("meta"):
            model = dcls.create_backbone("convnext_dcls_tiny")
        assert blocks_of(model, "layer_wise", 6) == STEM_AND_FIRST_STAGES | {
            "stages.2.0": 3, "stages.2.1": 3, "stages.2.2": 3,
            "stages.2.3": 4, "stages.2.4": 4, "stages.2.5": 4,
            "stages.2.6": 5, "stages.2.7": 5, "stages.2.8": 5,
            "downsample_layers.3": 6, "stages.3.0": 6, "stages.3.1": 6, "stages.3.2": 6,
            "norm": 7, "head": 7,
        }  # fmt: skip

    def test_layer_wise_of_small_and_base(self):
        with torch.device("meta"):
            model = dcls.create_backbone("convnext_dcls_base", features=True)
        assert blocks_of(model, "layer_wise", 12) == STEM_AND_FIRST_STAGES | {
            "stages.2.0": 3, "stages.2.1": 3, "stages.2.2": 3,
            "stages.2.3": 4, "stages.2.4": 4, "stages.2.5": 4,
            "stages.2.6": 5, "stages.2.7": 5, "stages.2.8": 5,
            "stages.2.9": 6, "stages.2.10": 6, "stages.2.11": 6,
            "stages.2.12": 7, "stages.2.13": 7, "stages.2.14": 7,
            "stages.2.15": 8, "stages.2.16": 8, "stages.2.17": 8,
            "stages.2.18": 9, "stages.2.19": 9, "stages.2.20": 9,
            "stages.2.21": 10, "stages.2.22": 10, "stages.2.23": 10,
            "stages.2.24": 11, "stages.2.25": 11, "stages.2.26": 11,
            "downsample_layers.3": 12, "stages.3.0": 12, "stages.3.1": 12, "stages.3.2": 12,
            "norm0": 13, "norm1": 13, "norm2": 13, "norm3": 13,
        }  # fmt: skip

    def test_stage_wise(self):
        assert blocks_of(small(features=True), "stage_wise", 6) == {
            "downsample_layers.0": 0, "downsample_layers.1": 0,
            "downsample_layers.2": 0, "downsample_layers.3": 0,
            "stages.0.0": 1, "stages.0.1": 1, "stages.1.0": 2,
            "stages.2.0": 3, "stages.2.1": 3, "stages.2.2": 3, "stages.3.0": 4,
            "norm0": 7, "norm1": 7, "norm2": 7, "norm3": 7,
        }  # fmt: skip

    def test_too_few_layers_and_unknown_schemes_are_refused(self):
        with torch.device("meta"):
            model = dcls.create_backbone("convnext_small")
        with pytest.raises(BackboneArgumentError, match=r"num_layers=6 .* needs 12 or more"):
            model.layer_ids("layer_wise", 6)
        with pytest.raises(BackboneArgumentError, match="layer_wise, stage_wise"):
            model.layer_ids("block_wise", 6)


class TestMaps:
    def test_shapes_and_strides(self):
        for stride in (1, 2, 4):
            model = small(stem_stride=stride)
            maps = model.forward_stages(images(32))
            assert [y.shape[1:] for y in maps] == [
                (channels, 32 // step, 32 // step) for channels, step in model.feature_info
            ]
            assert [info.stride for info in model.feature_info] == [stride * 2**i for i in range(4)]

    def test_norms_without_parameters_are_fresh_norms(self):
        dense, classifier = small(features=True), small()
        trunk = {k: v for k, v in dense.state_dict().items() if not k.startswith("norm")}
        classifier.load_state_dict(trunk, strict=False)
        for one, other in zip(
            dense.forward_stages(images()), classifier.forward_stages(images()), strict=True
        ):
            torch.testing.assert_close(one, other)

    def test_a_dense_model_gives_its_maps(self):
        model = small(features=True)
        assert model.num_classes == 0
        for found, wanted in zip(model(images()), model.forward_stages(images()), strict=True):
            assert torch.equal(found, wanted)

    def test_no_classes_give_pooled_features(self):
        model = small(num_classes=0)
        x = model.stages[3](model.downsample_layers[3](images_before_last(model)))
        assert model(images()).shape == (2, model.num_features)
        torch.testing.assert_close(model(images()), model.norm(x.mean((2, 3))))

    def test_channel_norm_normalises_the_channels_of_each_cell(self):
        x = torch.randn(2, 5, 3, 4)
        norm = ChannelNorm(5, eps=1e-6)
        nn.init.normal_(norm.weight)
        centred = x - x.mean(1, keepdim=True)
        want = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        torch.testing.assert_close(norm(x), want * norm.weight.view(1, -1, 1, 1))


def images_before_last(model):
    x = images()
    for i in range(3):
        x = model.stages[i](model.downsample_layers[i](x))
    return x


@pytest.mark.parametrize("name", ["convnext_atto", "convnext_dcls_atto"])
class TestWays:
    """The same figures in every way to compute them."""

    def test_channels_last_stays_so_and_agrees(self, name):
        model = small(name)
        seen = watch(model, [f"stages.{i}" for i in range(4)])
        got = model(images().contiguous(memory_format=torch.channels_last))
        assert len(seen) == 4
        for y in seen.values():
            assert y.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(got, model(images()))

    def test_recomputed_activations_give_the_same_gradients(self, name):
        grads = []
        for recompute in (False, True):
            model = small(name, checkpoint_activations=recompute, drop_path_rate=0.5).train()
            torch.manual_seed(3)
            model(images()).square().sum().backward()
            grads.append({key: p.grad for key, p in model.named_parameters()})
        assert grads[0].keys() == grads[1].keys()
        for key, grad in grads[0].items():
            torch.testing.assert_close(grads[1][key], grad, msg=key)

    def test_exports(self, name):
        model = small(name)
        exported = torch.export.export(model, (images(),)).module()
        torch.testing.assert_close(exported(images()), model(images()))

    def test_half_precision_under_autocast(self, name):
        model = small(name)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(images())
        torch.testing.assert_close(logits.float(), model(images()), atol=0.05, rtol=0.1)


def test_it_compiles_without_graph_breaks():
    model = small(depths=(2, 1, 1, 1))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images()), model(images()))


class TestSettings:
    def test_stochastic_depth_grows_linearly_over_the_blocks(self):
        model = small(drop_path_rate=0.6)
        rates = [
            getattr(block.drop_path, "drop_prob", 0.0) for stage in model.stages for block in stage
        ]
        assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])

    def test_initial_weights(self):
        torch.manual_seed(0)
        model = dcls.create_backbone("convnext_dcls_atto", head_init_scale=0.1)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                assert not parameter.any(), name
            elif name.endswith("gamma"):
                assert torch.equal(parameter, torch.full_like(parameter, 1e-6)), name
            elif name.endswith("weight") and parameter.ndim > 1 and parameter.numel() > 2000:
                std = 0.002 if name == "head.weight" else 0.02
                assert float(parameter.detach().std()) == pytest.approx(std, rel=0.1), name

    def test_no_layer_scale(self):
        model = small(layer_scale=None)
        assert not any("gamma" in name for name, _ in model.named_parameters())
        assert model(images()).shape == (2, 5)

    def test_other_image_channels(self):
        assert small(in_channels=1)(images()[:, :1]).shape == (2, 5)

    @pytest.mark.parametrize(
        ("name", "settings", "message"),
        [
            ("convnext_dcls_atto", {"depths": (1, 1, 1)}, "4 positive numbers"),
            ("convnext_atto", {"dims": (4, 4, 0, 4)}, "4 positive numbers"),
            ("convnext_atto", {"kernel_size": 6}, "odd number"),
            ("convnext_dcls_atto", {"dilation": 2}, "plain ConvNeXt"),
            ("convnext_atto", {"kernel_count": 9}, "convnext_dcls"),
            ("convnext_atto", {"drop_path": 0.1}, "drop_path_rate"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, name, settings, message):
        with pytest.raises(BackboneArgumentError, match=message):
            dcls.create_backbone(name, **settings)


def test_a_dense_block_computes_what_its_parts_say():
    block = small("convnext_atto").stages[0][0]
    x = images(8)[:, :1].expand(-1, 4, -1, -1) * torch.arange(1.0, 5).view(1, 4, 1, 1)
    cells = F.conv2d(x, block.dwconv.weight, block.dwconv.bias, padding=3, groups=4)
    cells = F.layer_norm(
        cells.permute(0, 2, 3, 1), (4,), block.norm.weight, block.norm.bias, eps=1e-6
    )
    cells = block.gamma * block.pwconv2(F.gelu(block.pwconv1(cells)))
    torch.testing.assert_close(block(x), x + cells.permute(0, 3, 1, 2))


def test_initial_weights_are_as_published_or_by_fan_in():
    def stds(**settings):
        torch.manual_seed(0)
        model = dcls.create_backbone("convnext_dcls_atto", num_classes=10, **settings)
        block = model.stages[2][0]
        return block.pwconv1.weight.std().item(), block.dwconv.weight.std().item()

    points = dcls.create_backbone("convnext_dcls_atto").stages[2][0].dwconv.kernel_count
    assert stds() == pytest.approx((0.02, 0.02), rel=0.05)
    assert stds(init_std=None) == pytest.approx((160**-0.5, points**-0.5), rel=0.05)
