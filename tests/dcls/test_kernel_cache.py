"""The kernel that evaluation keeps: kept while nothing changes, never longer."""

import copy
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

import dcls
from dcls import ndlayer


@pytest.fixture
def constructions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry per constructed kernel."""
    made: list[str] = []
    construct = ndlayer.construct_kernel

    def counted(*args: object) -> Tensor:
        made.append(str(args[-1]))
        return construct(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(ndlayer, "construct_kernel", counted)
    return made


def layer_of(version: str = "gauss") -> dcls.Dcls2d:
    torch.manual_seed(0)
    layer = dcls.Dcls2d(
        6, 6, kernel_count=5, padding=4, dilated_kernel_size=9, groups=6, version=version
    )
    nn.init.uniform_(layer.P, -4, 4)
    return layer.eval()


X = torch.randn(2, 6, 8, 7, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def fresh(layer: dcls.Dcls2d, x: Tensor = X) -> Tensor:
    """What a layer with nothing kept gives."""
    return copy.deepcopy(layer)(x)


def _times_two_in_place(layer: dcls.Dcls2d) -> None:
    with torch.no_grad():
        layer.weight.mul_(2)


def _optimizer_step(layer: dcls.Dcls2d) -> None:
    with torch.enable_grad():
        layer(X).square().sum().backward()
    torch.optim.AdamW(layer.parameters(), lr=0.1).step()


def _fused_step(layer: dcls.Dcls2d) -> None:
    with torch.enable_grad():
        layer(X).square().sum().backward()
    torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True).step()  # not counted either


def _wrapped_anew(layer: dcls.Dcls2d) -> None:
    layer.weight = nn.Parameter(layer.weight.data)
    with torch.no_grad():
        layer.weight.mul_(2)


def _load(layer: dcls.Dcls2d) -> None:
    layer.load_state_dict({k: v + 0.1 for k, v in layer.state_dict().items()})


def _another_parameter(layer: dcls.Dcls2d) -> None:
    layer.P = nn.Parameter(layer.P.detach() / 2)


def _other_memory(layer: dcls.Dcls2d) -> None:
    layer.weight.data = layer.weight.data * 3


def _written_through_data(layer: dcls.Dcls2d) -> None:
    layer.weight.data.mul_(3)  # not counted by PyTorch


def _clamp(layer: dcls.Dcls2d) -> None:
    layer.P.data.mul_(3)
    layer.clamp_positions()


def _widths(layer: dcls.Dcls2d) -> None:
    assert layer.SIG is not None
    with torch.inference_mode():
        layer.SIG.add_(0.5)


CHANGES = [
    _times_two_in_place,
    _optimizer_step,
    _fused_step,
    _wrapped_anew,
    _load,
    _another_parameter,
    _other_memory,
    _written_through_data,
    _clamp,
    _widths,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_parameter_is_seen(
    change: Callable[[dcls.Dcls2d], None], constructions: list[str]
) -> None:
    layer = layer_of()
    with torch.no_grad():
        before = layer(X)
    change(layer)
    wanted = fresh(layer)
    assert not torch.equal(wanted, before)
    constructions.clear()
    with torch.no_grad():
        torch.testing.assert_close(layer(X), wanted)
        assert len(constructions) == 1
        layer(X)
    assert len(constructions) == 1


def test_nothing_is_constructed_twice(constructions: list[str]) -> None:
    layer = layer_of()
    for mode in (torch.no_grad(), torch.inference_mode(), torch.no_grad()):
        with mode:
            torch.testing.assert_close(layer(X), layer(X))
    layer.eval()
    with torch.no_grad():
        layer(X)
    assert len(constructions) == 1
    # The kernel kept in inference mode serves gradients to the input, too.
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    x = X.clone().requires_grad_()
    layer(x).sum().backward()
    assert x.grad is not None
    assert len(constructions) == 1


def test_training_and_gradients_construct_each_time(constructions: list[str]) -> None:
    layer = layer_of()
    layer.train()
    with torch.no_grad():
        layer(X), layer(X)
    assert len(constructions) == 2
    layer.eval()
    layer(X).sum().backward()
    assert len(constructions) == 3
    assert layer.P.grad is not None
    assert layer.P.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_another_type_of_the_input_or_of_the_parameters(
    dtype: torch.dtype, constructions: list[str]
) -> None:
    layer = layer_of()
    with torch.no_grad():
        single = layer(X)
        assert layer(X.to(dtype)).dtype == dtype
        assert torch.equal(layer(X), single)
        assert len(constructions) == 3
        layer.to(dtype)
        constructions.clear()
        other = layer(X.to(dtype))
        assert len(constructions) == 1
        torch.testing.assert_close(other, fresh(layer, X.to(dtype)))
        assert torch.equal(layer.to(torch.float32)(X), fresh(layer))


def test_another_device(constructions: list[str]) -> None:
    layer = layer_of()
    with torch.no_grad():
        layer(X)
    moved = layer.to("meta")
    constructions.clear()
    with torch.no_grad():
        assert moved(X.to("meta")).is_meta
    assert len(constructions) == 1
    back = moved.to_empty(device="cpu")
    with torch.no_grad():
        back.load_state_dict(layer_of().state_dict())
        torch.testing.assert_close(back(X), fresh(layer_of()))


def test_replaced_tensors_of_a_functional_call() -> None:
    layer = layer_of()
    other = {name: value.detach() * 2 for name, value in layer.named_parameters()}
    with torch.no_grad():
        first = layer(X)
        second = torch.func.functional_call(layer, other, (X,))
        assert not torch.equal(first, second)
        torch.testing.assert_close(layer(X), first)


def test_a_single_image_without_a_batch() -> None:
    layer = layer_of("v0")
    with torch.no_grad():
        layer.P.div_(4)  # so that the kept kernel is cropped
        wanted = layer.train()(X[:1])[0]
        torch.testing.assert_close(layer.eval()(X[0]), wanted)
    torch.testing.assert_close(layer(X[0]).detach(), wanted)


# PyTorch's own forward mode compiles a script when it is first used.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
def test_tangents_of_parameters_pass() -> None:
    layer = layer_of()
    with torch.no_grad(), forward_ad.dual_level():
        dual = {"weight": forward_ad.make_dual(layer.weight.detach(), torch.ones(6, 1, 5))}
        y = torch.func.functional_call(layer, dual, (X,))
        assert forward_ad.unpack_dual(y).tangent is not None


def test_faked_and_traced_calls() -> None:
    layer = layer_of("v0")
    with torch.no_grad():
        graph = make_fx(layer)(X)
        torch.testing.assert_close(graph(X), layer(X))
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            assert layer(mode.from_tensor(X)).shape == X.shape
        torch.testing.assert_close(layer(X), fresh(layer))


def test_state_of_a_release_without_it() -> None:
    layer = layer_of()
    state = {k: v for k, v in layer.__getstate__().items() if k != "_kept"}
    other = dcls.Dcls2d.__new__(dcls.Dcls2d)
    other.__setstate__(state)
    with torch.no_grad():
        torch.testing.assert_close(other(X), layer(X))


def test_threads_share_a_layer() -> None:
    layer = layer_of()
    with torch.no_grad():
        wanted = layer(X)
    layer._kept.clear()

    def call(_: int) -> Tensor:
        with torch.no_grad():
            return layer(X)

    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(y, wanted) for y in pool.map(call, range(40)))


def test_shared_positions_that_another_layer_moves() -> None:
    first, second = layer_of(), layer_of()
    second.P = first.P
    with torch.no_grad():
        first(X), second(X)
        first.P.mul_(-1)
        torch.testing.assert_close(second(X), fresh(second))


def test_copies_and_pickles_leave_it_out() -> None:
    layer = layer_of()
    sizes = []
    for _ in range(2):
        file = io.BytesIO()
        torch.save(layer, file)
        sizes.append(len(file.getvalue()))
        with torch.no_grad():
            layer(X)
    assert sizes[0] == sizes[1]
    assert list(layer.state_dict()) == ["weight", "P", "SIG", "bias"]


@pytest.mark.parametrize("version", ["v0", "v1", "max", "gauss"])
def test_a_kernel_with_an_unused_border_is_cropped(version: str) -> None:
    layer = layer_of(version)
    with torch.no_grad():
        layer.P.div_(4)
        kept = layer._kernel(torch.float32)
        whole = layer.construct_kernel()
        margin = (9 - kept.shape[2]) // 2
        assert version == "gauss" or margin > 0
        inner = whole[:, :, margin : 9 - margin, (9 - kept.shape[3]) // 2 :][..., : kept.shape[3]]
        assert torch.equal(kept, inner)
        assert kept.count_nonzero() == whole.count_nonzero()
        wanted = nn.functional.conv2d(X, whole, layer.bias, padding=4, groups=6)
        torch.testing.assert_close(layer(X), wanted)


def test_other_convolutions_keep_the_whole_kernel() -> None:
    torch.manual_seed(0)
    layer = dcls.Dcls2d(
        4, 8, kernel_count=3, stride=2, padding=1, dilated_kernel_size=7, version="v1"
    ).eval()
    x = torch.randn(1, 4, 12, 12)
    with torch.no_grad():
        wanted = nn.functional.conv2d(x, layer.construct_kernel(), layer.bias, 2, 1)
        torch.testing.assert_close(layer(x), wanted)
        torch.testing.assert_close(layer(x), wanted)
