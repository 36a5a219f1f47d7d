"""Layers with learned positions in other people's models."""

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn

from dcls.errors import LayerArgumentError
from dcls.layers import Dcls1d, Dcls2d, Dcls3d
from dcls.ndlayer import DclsNd
from dcls.replace import plan_replacement, replace_convs


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_convnext_of_timm() -> None:
    torch.manual_seed(0)
    model = timm.create_model("convnext_atto", num_classes=5).eval()
    replaced = replace_convs(model)
    layers = [module for module in replaced.modules() if isinstance(module, DclsNd)]
    assert len(layers) == 12
    assert {(item.kernel_count, item.kernel_size) for item in plan_replacement(model)} == {
        (16, (17, 17))
    }
    assert parameter_count(replaced) == pytest.approx(parameter_count(model), rel=0.03)
    x = torch.randn(1, 3, 64, 64)
    assert replaced(x).shape == model(x).shape
    assert not any(isinstance(module, DclsNd) for module in model.modules())  # a copy


@pytest.mark.parametrize(("version", "count"), [("v0", 34), ("gauss", 26)])
def test_shared_positions_give_the_published_counts(version: str, count: int) -> None:
    """ConvNeXt-T: 34 points (arXiv 2112.03740), 26 with widths (arXiv 2306.00817)."""
    with torch.device("meta"):
        model = timm.create_model("convnext_tiny")
    plan = plan_replacement(model, version=version, share_positions=True)
    assert {item.kernel_count for item in plan} == {count}
    assert len(plan) == 18


@pytest.mark.parametrize("source", ["timm", "torchvision"])
def test_resnet18(source: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet18") if source == "timm" else torchvision.models.resnet18()
    model.eval()
    replaced = replace_convs(model, kernel_size=5, which="all")
    stem, later = (replaced.get_submodule(name) for name in ("conv1", "layer2.0.conv1"))
    assert isinstance(stem, Dcls2d)
    assert isinstance(later, Dcls2d)
    assert stem.kernel_size == (7, 7)  # its field was larger than 5
    assert (stem.stride, later.stride) == ((2, 2), (2, 2))
    assert (stem.kernel_count, later.kernel_count) == (16, 3)
    assert isinstance(replaced.get_submodule("layer2.0.downsample.0"), nn.Conv2d)
    assert parameter_count(replaced) == pytest.approx(parameter_count(model), rel=0.03)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before, after = model(x), replaced(x)
    assert after.shape == before.shape
    assert 0.2 < (after.std() / before.std()).item() < 5


@pytest.mark.parametrize(
    ("arguments", "size", "padding"),
    [
        ({"kernel_size": 3, "padding": 1}, (9, 9), (4, 4)),
        ({"kernel_size": 3, "padding": 0, "stride": 2}, (9, 9), (3, 3)),
        ({"kernel_size": 2, "padding": 0, "stride": 2}, (8, 8), (3, 3)),
        ({"kernel_size": 3, "padding": 2, "dilation": 2}, (9, 9), (4, 4)),
        ({"kernel_size": 5, "padding": 6, "dilation": 3}, (13, 13), (6, 6)),
        ({"kernel_size": (1, 7), "padding": (0, 3)}, (1, 9), (0, 4)),
        ({"kernel_size": (3, 5), "padding": "same"}, (9, 9), (4, 4)),
        ({"kernel_size": 3, "padding": "valid"}, (9, 9), (3, 3)),
        ({"kernel_size": 3, "padding": 1, "padding_mode": "circular"}, (9, 9), (4, 4)),
        ({"kernel_size": 3, "padding": 1, "groups": 2, "bias": False}, (9, 9), (4, 4)),
    ],
)
def test_sizes_and_settings_stay(
    arguments: dict[str, Any], size: tuple[int, ...], padding: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    old = nn.Conv2d(4, 6, **arguments)
    new = replace_convs(old, kernel_size=9, which="all")
    assert isinstance(new, Dcls2d)
    assert (new.kernel_size, new.padding) == (size, padding)
    assert (new.stride, new.groups, new.padding_mode) == (old.stride, old.groups, old.padding_mode)
    for height, width in ((12, 13), (17, 14)):
        x = torch.randn(1, 4, height, width)
        assert new(x).shape == old(x).shape
    if old.bias is None:
        assert new.bias is None
    else:
        assert new.bias is not None
        assert torch.equal(new.bias, old.bias)


def test_other_dimensions_devices_and_modes() -> None:
    model = nn.Sequential(
        nn.Conv1d(4, 4, 5, padding=2, groups=4), nn.Conv3d(2, 2, 3, padding=1, groups=2)
    )
    model.double().eval()
    replaced = replace_convs(model, kernel_size=7, version="max")
    line, volume = replaced.children()
    assert isinstance(line, Dcls1d)
    assert isinstance(volume, Dcls3d)
    assert (line.kernel_count, volume.kernel_count) == (5 // 3, 27 // 7)
    assert line.weight.dtype == torch.float64
    assert not volume.training


def test_sharing_positions() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Conv2d(n, n, 7, padding=3, groups=n) for n in (4, 4, 8, 4)))
    replaced = replace_convs(model, kernel_size=9, version="gauss", share_positions=True)
    layers = [module for module in replaced.children() if isinstance(module, Dcls2d)]
    assert layers[0].P is layers[1].P is layers[3].P
    assert layers[0].SIG is layers[1].SIG
    assert layers[0].P is not layers[2].P
    assert layers[0].weight is not layers[1].weight
    assert parameter_count(replaced) <= parameter_count(model)


def test_which() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1))
    assert [item.name for item in plan_replacement(model)] == ["0"]
    assert [item.name for item in plan_replacement(model, which="all")] == ["0", "1"]
    chosen = plan_replacement(model, which=lambda name, _: name == "1", kernel_count=4)
    assert [(item.name, item.kernel_count) for item in chosen] == [("1", 4)]


def test_left_alone() -> None:
    """Convolutions that are not what their class name says."""

    class Standardised(nn.Conv2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input - input.mean())

    model = nn.Sequential(
        Standardised(4, 4, 3),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
        nn.Conv2d(4, 4, 2, padding="same"),
        nn.LazyConv2d(4, 3),
        nn.ConvTranspose2d(4, 4, 3),
        nn.Conv2d(4, 4, 3),
    )
    assert [item.name for item in plan_replacement(model, which="all")] == ["5"]


def test_in_place_and_modules_used_twice() -> None:
    convolution = nn.Conv2d(4, 4, 3, padding=1, groups=4)
    model = nn.Sequential(convolution, convolution)
    assert replace_convs(model, kernel_size=5, inplace=True) is model
    assert isinstance(model[0], Dcls2d)
    assert model[0] is model[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 0}, "kernel_size=0; set it to 1 or more"),
        ({"kernel_count": 0}, "kernel_count=0; set it to 1 or more, or to None"),
        ({"version": "v9"}, "set version to one of"),
        ({"which": "some"}, "set which to 'depthwise', 'all'"),
        ({"which": "depthwise"}, "selects none of the 1 convolutions of Conv2d"),
    ],
)
def test_bad_arguments_say_what_to_set(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(LayerArgumentError, match=message):
        replace_convs(nn.Conv2d(4, 4, 3), **arguments)


def test_a_model_without_depthwise_convolutions_is_refused_or_replaced_as_a_whole() -> None:
    model = torchvision.models.resnet18(num_classes=3)
    with pytest.raises(LayerArgumentError, match=r"none of the 17 .* of ResNet .*'all'"):
        replace_convs(model)
    replaced = replace_convs(model, kernel_size=7, which="all")
    assert sum(isinstance(layer, Dcls2d) for layer in replaced.modules()) == 17
    assert replaced(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
