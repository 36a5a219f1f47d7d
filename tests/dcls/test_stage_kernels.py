"""The kernels of a stage at once: those of its layers, to be had only while the stage runs."""

import pytest
import torch
from torch import Tensor, nn

import dcls
from dcls import stage_kernels
from dcls.interpolation import VERSIONS
from dcls.ndlayer import DclsNd
from dcls.stage_kernels import constructed_at_once, kernels_at_once


def layers_of(version: str = "v1", device: str = "cpu") -> list[DclsNd]:
    """Three that share their positions."""
    torch.manual_seed(0)
    first, *others = (
        dcls.Dcls2d(
            6, 6, kernel_count=5, padding=4, dilated_kernel_size=9, groups=6, version=version
        ).to(device)
        for _ in range(3)
    )
    for layer in others:
        layer.P, layer.SIG = first.P, first.SIG
    return [first, *others]


def model_of(device: str = "cpu") -> nn.Module:
    torch.manual_seed(0)
    with torch.device(device):  # moved to "meta", layers would no longer share their positions
        return dcls.create_backbone(
            "convnext_dcls_atto", depths=(1, 2, 3, 1), dims=(4, 8, 8, 8), num_classes=3
        )


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many kernels were constructed at once, each time."""
    made: list[int] = []

    def counted(layers: list[DclsNd]) -> tuple[Tensor, ...]:
        made.append(len(layers))
        return kernels_at_once(layers)

    monkeypatch.setattr(stage_kernels, "kernels_at_once", counted)
    return made


@pytest.mark.parametrize("version", VERSIONS)
def test_kernels_and_gradients_are_those_of_each_layer(version: str) -> None:
    layers = layers_of(version)
    leaves = [*(layer.weight for layer in layers), layers[0].P]
    leaves += [] if layers[0].SIG is None else [layers[0].SIG]
    factors = torch.randn(3, 6, 1, 9, 9)
    found = torch.stack(kernels_at_once(layers))
    wanted = torch.stack([layer.construct_kernel() for layer in layers])
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)
    for a, b in zip(
        torch.autograd.grad((found * factors).sum(), leaves),
        torch.autograd.grad((wanted * factors).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_model_is_the_same_with_and_without(
    monkeypatch: pytest.MonkeyPatch, batches: list[int]
) -> None:
    model, x = model_of(), torch.randn(2, 3, 64, 64)

    def outputs() -> list[Tensor]:
        y = model(x)
        return [y, *torch.autograd.grad(y.square().sum(), list(model.parameters()))]

    wanted = outputs()
    assert batches == []  # a CPU has nothing to wait for
    monkeypatch.setattr(stage_kernels, "_can_share", lambda layers: len(layers) > 1)
    found = outputs()
    assert batches == [2, 3]
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_training_off_the_cpu_takes_them_and_evaluation_keeps_its_own(batches: list[int]) -> None:
    model, x = model_of("meta"), torch.empty(2, 3, 64, 64, device="meta")
    model(x).sum().backward()
    assert batches == [2, 3]
    with torch.no_grad():
        model.eval()(x)
    assert batches == [2, 3, 2, 3]  # the meta device holds nothing that could be kept
    with stage_kernels.constructed_at_once([nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)]):
        assert batches == [2, 3, 2, 3]


def test_nothing_is_left_behind_by_a_failure() -> None:
    layers = layers_of(device="meta")

    def fail() -> None:
        with constructed_at_once(layers):
            assert all(layer.given_kernel is not None for layer in layers)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all(layer.given_kernel is None for layer in layers)


def test_layers_that_do_not_share_construct_their_own(batches: list[int]) -> None:
    alone = layers_of(device="meta")
    alone[1].P = nn.Parameter(alone[1].P.clone())
    with constructed_at_once(alone):
        assert batches == []
