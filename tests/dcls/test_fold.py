"""Folded models compute the same with plain convolutions."""

import pytest
import torch
from torch import nn

from dcls.fold import fold, fold_layer
from dcls.interpolation import VERSIONS
from dcls.layers import Dcls1d, Dcls2_1d, Dcls2d, Dcls2dK1d, Dcls3_1d, Dcls3d
from dcls.ndlayer import DclsNd

torch.manual_seed(0)
# Positions start within two cells of the centre, so that there is something to crop.
LAYERS: dict[str, tuple[DclsNd, tuple[int, ...]]] = {
    "1d": (Dcls1d(4, 6, 3, padding=5, dilated_kernel_size=11, groups=2), (20,)),
    "2d same": (Dcls2d(4, 4, 3, padding=7, dilated_kernel_size=15, groups=4), (9, 16)),
    "2d stride": (Dcls2d(4, 8, 3, stride=(2, 3), padding=6, dilated_kernel_size=13), (17, 16)),
    "2d even": (Dcls2d(4, 4, 3, padding=4, dilated_kernel_size=10, groups=4), (12, 11)),
    "2d little padding": (Dcls2d(4, 4, 3, padding=(0, 1), dilated_kernel_size=9), (12, 11)),
    "2d much padding": (Dcls2d(4, 4, 3, padding=9, dilated_kernel_size=9, bias=False), (5, 6)),
    "2d reflect": (
        Dcls2d(4, 4, 3, padding=7, dilated_kernel_size=15, padding_mode="reflect"),
        (9, 16),
    ),
    "2d circular": (
        Dcls2d(4, 4, 3, padding=6, dilated_kernel_size=13, padding_mode="circular", stride=2),
        (9, 16),
    ),
    "3d": (Dcls3d(2, 4, 3, padding=(3, 4, 4), dilated_kernel_size=(7, 9, 9), groups=2), (7, 9, 8)),
    "2_1d": (
        Dcls2_1d(4, 4, 3, padding=(1, 5), dense_kernel_size=3, dilated_kernel_size=11),
        (9, 9),
    ),
    "3_1d": (Dcls3_1d(2, 2, 3, padding=2, dense_kernel_size=2, dilated_kernel_size=5), (6, 6, 6)),
    "2dK1d": (Dcls2dK1d(4, 4, 3, padding=(0, 6), dilated_kernel_size=13, flat_dim=1), (8, 16)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_same_outputs(name: str) -> None:
    layer, size = LAYERS[name]
    torch.manual_seed(0)
    x = torch.randn(2, layer.in_channels, *size)
    folded = fold_layer(layer)
    want = layer(x)
    assert (folded(x) - want).abs().max() <= 1e-6 * want.abs().max()
    assert {key for key, _ in folded.named_parameters()} <= {"weight", "bias"}
    assert not any(isinstance(module, DclsNd) for module in folded.modules())


def test_crop_is_symmetric_and_takes_the_padding_along() -> None:
    layer = Dcls2d(2, 2, 2, padding=8, dilated_kernel_size=17, groups=2, version="v0")
    with torch.no_grad():
        layer.P[0] = torch.tensor([-3.0, 1.0])  # rows -3 .. 1: three cells each way are kept
        layer.P[1] = torch.tensor([0.5, 4.5])  # columns 0 .. 5
    folded = fold_layer(layer)
    assert folded.kernel_size == (7, 11)
    assert folded.padding == (3, 5)
    tight = Dcls2d(2, 2, 2, padding=(8, 1), dilated_kernel_size=17, groups=2, version="v0")
    tight.P = layer.P
    folded = fold_layer(tight)
    assert folded.kernel_size == (7, 15)  # columns: no more than the padding
    assert folded.padding == (3, 0)


def test_an_empty_kernel_leaves_one_cell() -> None:
    layer = Dcls2d(2, 2, 2, padding=3, dilated_kernel_size=7, groups=2, version="v0")
    nn.init.zeros_(layer.weight)
    folded = fold_layer(layer)
    assert folded.kernel_size == (1, 1)
    x = torch.randn(1, 2, 5, 5)
    torch.testing.assert_close(folded(x), layer(x))


@pytest.mark.parametrize("version", VERSIONS)
def test_models_with_shared_positions(version: str) -> None:
    torch.manual_seed(0)
    same = {"padding": 4, "dilated_kernel_size": 9, "groups": 4}
    one, two = (
        Dcls2d(4, 4, 3, version=version, **same)  # type: ignore[arg-type]
        for _ in range(2)
    )
    two.P, two.SIG = one.P, one.SIG
    model = nn.Sequential(one, nn.Sequential(nn.GELU(), two), one).eval()
    x = torch.randn(2, 4, 9, 9)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    folded = fold(model)
    want = model(x)
    assert (folded(x) - want).abs().max() <= 1e-6 * want.abs().max()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert isinstance(folded, nn.Sequential)
    assert folded[0] is folded[2]  # a layer used twice is folded once
    assert not folded.training
    assert {key.rpartition(".")[2] for key in folded.state_dict()} == {"weight", "bias"}
    assert fold(model, inplace=True) is model
    assert not any(isinstance(module, DclsNd) for module in model.modules())


def test_a_layer_alone_and_frozen_half_weights() -> None:
    layer = Dcls2d(4, 4, 3, padding=4, dilated_kernel_size=9, groups=4, version="v0").bfloat16()
    layer.requires_grad_(False)
    folded = fold(layer)
    assert isinstance(folded, nn.Conv2d)
    assert folded.weight.dtype == torch.bfloat16
    assert not folded.weight.requires_grad
    x = torch.randn(2, 4, 9, 9, dtype=torch.bfloat16)
    torch.testing.assert_close(folded(x), layer(x), rtol=1e-2, atol=1e-2)


def test_folding_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    fold(LAYERS["2d same"][0])
    assert torch.equal(torch.get_rng_state(), state)
