"""A block's perceptron in inference: in parts, by the compiled kernels or without them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional

from dcls import perceptron as parts
from dcls.blocks import Block, DepthwiseSpec
from dcls.native import perceptron as native
from dcls.native.kernels import native_library

SPEC = DepthwiseSpec(kernel_size=7)
# Without them the plain way is taken, which `test_it_is_the_formula` tests on every machine.
needs_kernels = pytest.mark.skipif(
    native_library() is None, reason="no C++ compiler: the kernels cannot be built"
)


@pytest.fixture(params=["native", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "plain":
        monkeypatch.setattr(parts, "native_library", lambda: None)
    elif native_library() is None:
        pytest.skip("no C++ compiler")
    return str(request.param)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Cells per call of the compiled perceptron."""
    counts: list[int] = []
    function = native.perceptron

    def counted(cells: Tensor, *args: object) -> Tensor:
        counts.append(len(cells))
        return function(cells, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(native, "perceptron", counted)
    return counts


def block_of(channels: int = 16, layer_scale: float | None = 0.5) -> Block:
    torch.manual_seed(0)
    block = Block(channels, SPEC, drop_path=0.3, layer_scale=layer_scale).eval()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    return block


def images(channels: int = 16, last: bool = True) -> Tensor:
    x = torch.randn(3, channels, 9, 7, generator=torch.Generator().manual_seed(1))
    return x.contiguous(memory_format=torch.channels_last) if last else x


def exact(block: Block, x: Tensor) -> Tensor:
    """The block's formula in float64."""
    state = {name: value.detach().double() for name, value in block.state_dict().items()}
    y = functional.conv2d(
        x.double(), state["dwconv.weight"], state["dwconv.bias"], padding=3, groups=x.shape[1]
    )
    y = y.permute(0, 2, 3, 1)
    y = functional.layer_norm(y, y.shape[-1:], state["norm.weight"], state["norm.bias"], 1e-6)
    y = functional.gelu(functional.linear(y, state["pwconv1.weight"], state["pwconv1.bias"]))
    y = functional.linear(y, state["pwconv2.weight"], state["pwconv2.bias"])
    return x + (y * state.get("gamma", 1.0)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("hidden_bytes", [8 * 2**20, 4 * 64 * 50, 1])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(("channels", "scale"), [(16, 0.5), (16, None), (5, 0.5)])
def test_it_is_the_formula(
    way: str,
    channels: int,
    scale: float | None,
    last: bool,
    hidden_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "HIDDEN_BYTES", hidden_bytes)
    block, x = block_of(channels, scale), images(channels, last)
    with torch.no_grad():
        y = block(x)
    wanted = exact(block, x)
    assert (y - wanted).abs().max() < 3e-6 * wanted.abs().max()
    with torch.enable_grad():
        torch.testing.assert_close(y, block(x).detach(), atol=1e-5, rtol=1e-5)
    assert not last or y.is_contiguous(memory_format=torch.channels_last)


@needs_kernels
class TestWhenTheKernelsAreUsed:
    def test_in_inference(self, calls: list[int]) -> None:
        block, x = block_of(), images()
        with torch.inference_mode():
            block(x)
        assert calls == [3 * 9 * 7]

    @pytest.mark.parametrize(
        "change",
        [
            lambda block: block.train(),
            lambda block: block.double(),
            lambda block: setattr(block, "act", nn.GELU("tanh")),
            lambda block: setattr(block, "act", nn.ReLU()),
            lambda block: setattr(block, "pwconv1", nn.Sequential(block.pwconv1)),
            lambda block: setattr(block, "drop_path", nn.Sigmoid()),
            lambda block: setattr(block, "gamma", nn.Parameter(torch.full((1,), 0.5))),
            lambda block: setattr(block.pwconv1, "bias", nn.Parameter(torch.full((1,), 0.5))),
            lambda block: setattr(block.pwconv2, "bias", None),
            lambda block: setattr(block.act, "forward", torch.sigmoid),
            lambda block: block.drop_path.train(),
        ],
    )
    def test_not_for_another_block(
        self, change: Callable[[Block], object], calls: list[int]
    ) -> None:
        block, x = block_of(), images()
        change(block)
        x = x.to(block.norm.weight.dtype)
        torch.manual_seed(0)
        wanted = block(x).detach()
        torch.manual_seed(0)
        with torch.no_grad():
            torch.testing.assert_close(block(x), wanted, atol=1e-5, rtol=1e-5)
        assert calls == []

    def test_not_with_gradients(self, calls: list[int]) -> None:
        block, x = block_of(), images()
        block(x).sum().backward()
        assert calls == []
        assert block.pwconv1.weight.grad is not None

    def test_not_under_autocast_or_for_a_contiguous_map(self, calls: list[int]) -> None:
        block, x = block_of(), images()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            assert block(x).isfinite().all()
        with torch.no_grad():
            block(x.contiguous())
        assert calls == []

    def test_a_hook_sees_its_layer(self, calls: list[int]) -> None:
        block, x, seen = block_of(), images(), []
        block.act.register_forward_hook(lambda module, inputs, y: seen.append(y.shape))
        with torch.no_grad():
            block(x)
            handle = nn.modules.module.register_module_forward_hook(
                lambda module, inputs, y: seen.append(type(module))
            )
            try:
                block_of()(x)
            finally:
                handle.remove()
        assert calls == []
        assert seen[0] == (3, 9, 7, 64)
        assert {nn.Linear, nn.GELU} <= set(seen[1:])

    @pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
    def test_not_where_tensors_are_more_than_values(self, calls: list[int]) -> None:
        block, x = block_of(), images()
        with torch.no_grad():
            wanted = block(x)
            calls.clear()
            torch.testing.assert_close(torch.func.vmap(block)(x.unsqueeze(0))[0], wanted)
            with forward_ad.dual_level():
                y = block(forward_ad.make_dual(x, torch.ones_like(x)))
                assert forward_ad.unpack_dual(y).tangent is not None
        assert calls == []


@needs_kernels
@pytest.mark.parametrize("columns", [1, 8, 19])
def test_gelu_by_float64(columns: int) -> None:
    kernels = native_library()
    assert kernels is not None
    ends = torch.tensor([torch.nan, torch.inf, 0.0, 1e30, -1e30, 100.0, -100.0])
    values = torch.cat([ends, torch.linspace(-8, 8, 19 * 400 - 7)]).view(-1, columns)
    bias = torch.linspace(-1, 1, columns)
    found = values.clone()
    kernels.dcls_bias_gelu(found.data_ptr(), bias.data_ptr(), *found.shape, 2)
    wanted = functional.gelu(values.double() + bias.double())
    torch.testing.assert_close(found.double(), wanted, atol=2e-6, rtol=3e-7, equal_nan=True)
