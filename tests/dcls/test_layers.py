"""The layers against the reference data, the authors' package and their own promises."""

import json
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from DCLS.construct import modules as oracle
from torch import Tensor

from dcls import arguments, layers, ndlayer
from dcls.errors import LayerArgumentError
from dcls.interpolation import VERSIONS
from dcls.ndlayer import DclsNd

REFERENCE = Path(__file__).parents[1] / "reference"
CONFIGS: dict[str, dict[str, Any]] = json.loads((REFERENCE / "layers.json").read_text())
# There the original is off centre (see DclsNd); test_non_square_kernel_... says what is right.
COMPARABLE = [name for name in CONFIGS if name != "2d_nonsq_v1"]


def assert_close_relative(got: Tensor, want: Tensor, name: str, tolerance: float = 1e-5) -> None:
    """Largest difference relative to the largest magnitude."""
    assert got.shape == want.shape, name
    got, want = got.detach(), want.detach()
    scale = max(float(want.abs().max()), 1e-12)
    assert float((got - want).abs().max()) <= tolerance * scale, name


def results_of(layer: torch.nn.Module, x: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Output and all gradients of sum(output * weights)."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    y = layer(x)
    (y * weights).sum().backward()
    found = {"y": y.detach()}
    for name, tensor in [("x", x), *layer.named_parameters()]:
        assert tensor.grad is not None, name
        found[f"grad_{name.removeprefix('_orig_mod.')}"] = tensor.grad
    return found


@pytest.mark.parametrize("name", COMPARABLE)
def test_reference_data(name: str) -> None:
    config = CONFIGS[name]
    with np.load(REFERENCE / "layers.npz") as data:
        arrays = {
            key.partition("/")[2]: torch.from_numpy(data[key])
            for key in data.files
            if key.startswith(f"{name}/")
        }
    layer: DclsNd = getattr(layers, config["class"])(**config["kwargs"])
    layer.load_state_dict({key: arrays[key] for key in layer.state_dict()})
    assert_close_relative(layer.construct_kernel(), arrays["kernel"], "kernel")
    for key, got in results_of(layer, arrays["x"], arrays["G"]).items():
        assert_close_relative(got, arrays[key], key)


def random_config(face: str, version: str, seed: int) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Constructor arguments and an input shape, small, different for each seed."""
    draw = random.Random(f"{face}-{version}-{seed}")
    groups = draw.choice([1, 2, 4])
    learned = draw.choice([3, 4, 5, 7])
    ndim = getattr(layers, face).spatial_ndim
    config: dict[str, Any] = {
        "in_channels": 4,
        "out_channels": draw.choice([4, 8]),
        "kernel_count": draw.choice([1, 3, 6]),
        "stride": draw.choice([1, 2]),
        "padding": draw.choice([learned // 2, 1]),
        "dilated_kernel_size": learned,
        "groups": groups,
        "bias": draw.choice([True, False]),
        "padding_mode": draw.choice(["zeros", "zeros", "reflect", "circular"]),
        "version": version,
    }
    if face == "Dcls2dK1d":
        config["flat_dim"] = draw.choice([0, 1])
    if face == "Dcls3_1d":
        config["dense_kernel_size"] = draw.choice([1, (2, 3)])
    return config, (2, 4, *(draw.choice([7, 8, 9]) for _ in range(ndim)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("face", ["Dcls1d", "Dcls2d", "Dcls3d", "Dcls3_1d", "Dcls2dK1d"])
def test_authors_package(face: str, version: str, seed: int) -> None:
    if face == "Dcls3_1d" and version == "v0":
        return  # the original has no such layer
    config, shape = random_config(face, version, seed)
    torch.manual_seed(seed)
    original = getattr(oracle, face)(**config)
    torch.manual_seed(seed)
    layer = getattr(layers, face)(**config)
    drawn = layer.state_dict()
    assert list(drawn) == list(original.state_dict())
    for key, value in original.state_dict().items():
        assert torch.equal(drawn[key], value), f"initial {key}"
    with torch.no_grad():
        layer.P.mul_(4)  # spread over the kernel and beyond its border
        if layer.SIG is not None:
            layer.SIG.normal_()
    original.load_state_dict(layer.state_dict())
    x = torch.randn(shape)
    weights = torch.randn(original(x).shape)
    got, want = (results_of(module, x, weights) for module in (layer, original))
    for key in want:
        assert_close_relative(got[key], want[key], key)
    layer.clamp_parameters()
    original.clamp_parameters()
    assert torch.equal(layer.P, original.P)


def test_non_square_kernel_is_a_crop_of_the_square_one() -> None:
    """The original's square kernel says what the non-square one has to be."""
    torch.manual_seed(0)
    square = oracle.Dcls2d(2, 2, 5, dilated_kernel_size=9, groups=2, version="v1")
    flat = layers.Dcls2d(2, 2, 5, dilated_kernel_size=(5, 9), groups=2, version="v1")
    with torch.no_grad():
        square.P[0].uniform_(-4, 4)
        square.P[1].uniform_(-2, 2)
    flat.load_state_dict(square.state_dict())
    whole = square.DCK(square.weight, square.P, None)
    assert_close_relative(flat.construct_kernel(), whole[:, :, 2:7], "kernel")


def test_dcls2_1d_is_a_stack_of_one_dimensional_kernels() -> None:
    torch.manual_seed(0)
    layer = layers.Dcls2_1d(
        4, 6, 3, padding=(1, 3), dense_kernel_size=2, dilated_kernel_size=7, groups=2
    )
    assert layer.weight.shape == (6, 2, 2, 3)
    assert layer.P.shape == (1, 6, 2, 2, 3)
    assert layer.P.abs().max() > 1.5  # uniform over the kernel, not N(0, 0.5)
    kernel = layer.construct_kernel()
    assert kernel.shape == (6, 2, 2, 7)
    line = layers.Dcls1d(4, 6, 3, dilated_kernel_size=7, groups=2)
    for row in range(2):
        line.weight.data = layer.weight.data[:, :, row]
        line.P.data = layer.P.data[:, :, :, row]
        torch.testing.assert_close(line.construct_kernel(), kernel[:, :, row])
    x = torch.randn(2, 4, 8, 9)
    expected = F.conv2d(x, kernel, layer.bias, 1, (1, 3), 1, 2)
    torch.testing.assert_close(layer(x), expected)


def test_clamp_uses_the_axis_a_row_acts_on() -> None:
    for version, limits in (("v0", [2.0, 4.0]), ("v1", [4.0, 2.0])):
        layer = layers.Dcls2d(2, 2, 4, dilated_kernel_size=(5, 9), groups=2, version=version)
        layer.P.data.fill_(100.0)
        layer.clamp_positions()
        assert [row.max().item() for row in layer.P] == limits


@pytest.mark.parametrize("version", VERSIONS)
def test_half_precision(version: str) -> None:
    torch.manual_seed(0)
    layer = layers.Dcls2d(4, 4, 3, padding=2, dilated_kernel_size=5, groups=4, version=version)
    x = torch.randn(2, 4, 8, 8)
    exact = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(x)
    mixed_input = layer(x.bfloat16())
    half = layer.bfloat16()(x.bfloat16())
    half.sum().backward()
    for y in (mixed, mixed_input, half):
        assert y.dtype == torch.bfloat16
        assert_close_relative(y.float(), exact, version, tolerance=5e-2)
    assert layer.P.grad is not None
    assert layer.P.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("version", ["v0", "gauss"])
def test_compiles_in_one_graph_and_exports(version: str) -> None:
    torch.manual_seed(0)
    layer = layers.Dcls2d(4, 4, 3, padding=2, dilated_kernel_size=5, groups=4, version=version)
    x = torch.randn(2, 4, 8, 8)
    weights = torch.randn(2, 4, 8, 8)
    want = results_of(layer, x, weights)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert isinstance(compiled, torch.nn.Module)
    got = results_of(compiled, x, weights)
    for key, value in want.items():
        assert_close_relative(got[key], value, key)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert compiled(x).dtype == torch.bfloat16
    exported = torch.export.export(layer, (x,)).module()
    torch.testing.assert_close(exported(x), want["y"])


def test_same_depthwise_layers_take_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def recorded(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        calls.append(tuple(weight.shape))
        return F.conv2d(x, weight, bias, padding="same", groups=weight.shape[0])

    monkeypatch.setattr(ndlayer, "depthwise_conv2d", recorded)
    x = torch.randn(1, 4, 9, 9)
    same: dict[str, Any] = {"padding": 2, "dilated_kernel_size": 5, "groups": 4}
    layers.Dcls2d(4, 4, 3, **same)(x)
    layers.Dcls2dK1d(4, 4, 3, padding=(2, 0), dilated_kernel_size=5, groups=4)(x)
    layers.Dcls2d(4, 4, 3, **same)(x[0])
    assert calls == [(4, 1, 5, 5), (4, 1, 5, 1), (4, 1, 5, 5)]
    for change in (
        {"stride": 2},
        {"padding": 1},
        {"groups": 2},
        {"padding_mode": "circular"},
        {"dilated_kernel_size": 4},
    ):
        layers.Dcls2d(4, 4, 3, **{**same, **change})(x)
    layers.Dcls2d(4, 8, 3, **same)(x)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "v3"}, "set version to one of"),
        ({"kernel_count": 0}, "kernel_count=0; set it to 1 or more"),
        ({"groups": 3}, "in_channels=4 is not divisible by groups=3"),
        ({"groups": 0}, "groups=0; set it to 1 or more"),
        ({"out_channels": 3, "groups": 2}, "out_channels=3 is not divisible by groups=2"),
        ({"dilated_kernel_size": 0}, "dilated_kernel_size=0; every number must be"),
        ({"dilated_kernel_size": (3, 3, 3)}, "has 3 numbers; give one number, or 2"),
        ({"padding": -1}, "padding=-1; every number must be an integer >= 0"),
        ({"stride": 1.5}, "stride"),
        ({"padding_mode": "same"}, "use one of zeros, reflect, replicate, circular"),
    ],
)
def test_bad_arguments_say_what_to_set(change: dict[str, Any], message: str) -> None:
    arguments = {"in_channels": 4, "out_channels": 4, "kernel_count": 3} | change
    with pytest.raises(LayerArgumentError, match=message.replace("(", r"\(")):
        layers.Dcls2d(**arguments)


def test_bad_flat_dim() -> None:
    with pytest.raises(LayerArgumentError, match="flat_dim=2"):
        layers.Dcls2dK1d(4, 4, 3, flat_dim=2)


def test_use_implicit_gemm_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments, "_warned_of_implicit_gemm", False)
    with pytest.warns(UserWarning, match="use_implicit_gemm is ignored"):
        layers.Dcls2d(4, 4, 3, use_implicit_gemm=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers.Dcls2d(4, 4, 3, use_implicit_gemm=True)


def test_repr_names_what_differs_from_the_defaults() -> None:
    layer = layers.Dcls2d(
        4, 4, 3, stride=2, padding=1, dilated_kernel_size=5, groups=2, bias=False, version="max"
    )
    assert repr(layer) == (
        "Dcls2d(4, 4, kernel_count=3, kernel_size=(5, 5), version=max, stride=(2, 2), "
        "padding=(1, 1), groups=2, bias=False)"
    )
