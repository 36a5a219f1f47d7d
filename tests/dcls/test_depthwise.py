"""Every path of the depthwise convolution against PyTorch's own in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, library, nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.nn import functional

from dcls.depthwise import DepthwiseConv2d, convolution, depthwise_conv2d, onednn, paths
from dcls.errors import LayerArgumentError
from dcls.native import depthwise as native

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

# (N, C, H, W), (KH, KW): each row takes another way through the file in one layout or the other.
SIZES = [
    ((3, 5, 14, 14), (17, 17)),  # wide kernel
    ((2, 8, 20, 17), (7, 7)),  # narrow kernel: blocked if contiguous
    ((2, 4, 10, 10), (3, 3)),  # left to conv2d
    ((2, 3, 16, 15), (13, 13)),  # a slow width of the kernel
    ((2, 5, 9, 12), (17, 17)),  # a slow width of the output gradient as kernel
    ((2, 5, 9, 13), (5, 11)),
    ((4, 6, 3, 3), (17, 17)),  # map much smaller than the kernel: cut in both layouts
    ((4, 6, 7, 7), (23, 23)),  # cut to a slow width
    ((4, 6, 1, 1), (17, 17)),  # one pixel
    ((2, 6, 1, 9), (17, 5)),
    ((2, 6, 12, 1), (3, 17)),
    ((1, 2, 40, 6), (1, 31)),
    ((0, 4, 8, 8), (17, 17)),  # no sample
    ((70, 40, 7, 6), (17, 17)),  # several chunks, the last one smaller
]


@pytest.fixture(params=["native", "onednn"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs with the compiled kernels and without."""
    if request.param == "onednn":
        monkeypatch.setattr(native, "is_available", lambda: False)
    elif not native.is_available():
        pytest.skip("no C++ compiler")
    return str(request.param)


def reference(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    return functional.conv2d(x, weight, bias, padding=padding, groups=x.shape[1])


def random_inputs(
    shape: tuple[int, ...], kernel_size: tuple[int, int], layout: str = "contiguous"
) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(shape).contiguous(memory_format=LAYOUTS[layout])
    return x, torch.randn(shape[1], 1, *kernel_size), torch.randn(shape[1])


def all_passes(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], gradient: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Output and the gradients to all inputs."""
    inputs = tuple(tensor.detach().requires_grad_() for tensor in inputs)
    y = function(*inputs)
    if gradient is None:
        # Whole numbers, the same in every type.
        gradient = torch.randint(-3, 4, y.shape, generator=torch.Generator().manual_seed(1))
    return (y.detach(), *torch.autograd.grad(y, inputs, gradient.to(y.dtype)))


def assert_near(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...], share: float) -> None:
    """Within a share of the largest value: a sum's rounding goes by its largest terms."""
    for name, a, b in zip(("y", "x", "weight", "bias"), found, wanted, strict=False):
        assert a.shape == b.shape, name
        if b.numel():
            error = (a.double() - b.double()).abs().max()
            assert error <= share * b.abs().max(), f"{name}: {error / b.abs().max():.1e}"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "kernel_size"), SIZES)
def test_all_passes_match_float64(
    shape: tuple[int, ...], kernel_size: tuple[int, int], layout: str
) -> None:
    inputs = random_inputs(shape, kernel_size, layout)
    found = all_passes(depthwise_conv2d, inputs)
    wanted = all_passes(reference, tuple(tensor.double() for tensor in inputs))
    assert_near(found, wanted, 3e-6)
    for tensor in found[:2]:  # output and input gradient
        assert tensor.is_contiguous(memory_format=LAYOUTS[layout])
    with torch.no_grad():
        torch.testing.assert_close(depthwise_conv2d(*inputs), found[0])


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 18), st.integers(1, 18)),
    st.tuples(st.integers(0, 11), st.integers(0, 11)),
    st.sampled_from(list(LAYOUTS)),
)
def test_any_size(shape: tuple[int, ...], reach: tuple[int, int], layout: str) -> None:
    inputs = random_inputs(shape, (2 * reach[0] + 1, 2 * reach[1] + 1), layout)
    wanted = all_passes(reference, tuple(tensor.double() for tensor in inputs))
    assert_near(all_passes(depthwise_conv2d, inputs), wanted, 3e-6)


@pytest.mark.parametrize("way", ["onednn"], indirect=True)
def test_the_paths_of_onednn_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[tuple[int, ...], bool]] = []

    def recorded(x: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        last = x.is_contiguous(memory_format=torch.channels_last)
        calls.append((tuple(weight.shape[2:]), last))
        return torch.conv2d(x, weight, *args, **kwargs)

    monkeypatch.setattr(onednn, "HAS_ONEDNN", True)
    monkeypatch.setattr(functional, "conv2d", recorded)
    monkeypatch.setattr(onednn, "CHUNK_ELEMENTS", 2 * 4 * 14 * 12)

    def paths(shape: tuple[int, ...], kernel: int, layout: str) -> list[tuple[Any, bool]]:
        calls.clear()
        all_passes(depthwise_conv2d, random_inputs(shape, (kernel, kernel), layout))
        return list(calls)

    # Output and input gradient, then the weight gradient in chunks of two samples, 12 wide + 2.
    wide = [((17, 17), True)] * 2
    chunks = [((14, 14), True)] * 2
    assert paths((3, 4, 14, 12), 17, "contiguous") == wide + chunks
    assert paths((3, 4, 14, 12), 17, "channels_last") == wide + chunks
    assert paths((1, 4, 14, 14), 7, "contiguous")[:2] == [((7, 7), False)] * 2
    assert paths((1, 4, 14, 14), 7, "channels_last")[:2] == [((7, 7), True)] * 2
    assert paths((1, 4, 16, 16), 13, "channels_last")[:2] == [((13, 15), True)] * 2
    assert paths((1, 4, 3, 3), 17, "contiguous")[:2] == [((5, 5), False)] * 2
    assert paths((1, 4, 3, 3), 17, "channels_last")[:2] == [((5, 5), True)] * 2
    assert paths((1, 4, 9, 9), 17, "channels_last")[:2] == [((17, 17), True)] * 2
    assert paths((1, 4, 1, 1), 17, "contiguous") == []
    assert paths((1, 4, 9, 9), 3, "contiguous") == [((3, 3), False)]
    monkeypatch.setattr(onednn, "HAS_ONEDNN", False)
    assert paths((1, 4, 3, 3), 17, "channels_last") == [((17, 17), True)]


@pytest.mark.parametrize("way", ["native"], indirect=True)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("shape", "kernel", "expected"),
    [
        ((2, 4, 14, 12), 17, ["convolve", "convolve", "correlate"]),
        ((2, 4, 7, 7), 17, ["convolve", "convolve", "correlate"]),
        ((2, 4, 14, 12), 7, ["correlate"]),  # oneDNN's kernel is as fast
        ((2, 4, 6, 12), 17, []),  # vectors would be mostly empty
    ],
)
def test_the_native_paths_are_taken(
    shape: tuple[int, ...],
    kernel: int,
    expected: list[str],
    layout: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    for name in ("convolve", "correlate"):
        function = getattr(native, name)

        def recorded(*args: Any, name: str = name, function: Any = function) -> Tensor:
            calls.append(name)
            result: Tensor = function(*args)
            return result

        monkeypatch.setattr(native, name, recorded)
    all_passes(depthwise_conv2d, random_inputs(shape, (kernel, kernel), layout))
    assert calls == expected


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("shape", "kernel_size"), [((2, 2, 4, 5), (5, 5)), ((3, 2, 2, 12), (5, 3))]
)
def test_first_and_second_derivatives(
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    kernel_size: tuple[int, int],
    layout: str,
) -> None:
    monkeypatch.setattr(paths, "FAST_DTYPES", (torch.float64,))
    monkeypatch.setattr(onednn, "CHUNK_ELEMENTS", 2 * 2 * 4 * 5)
    inputs = tuple(
        tensor.double().requires_grad_() for tensor in random_inputs(shape, kernel_size, layout)
    )
    assert "_Convolution" in str(depthwise_conv2d(*inputs).grad_fn)
    assert gradcheck(depthwise_conv2d, inputs, fast_mode=True)
    assert gradgradcheck(depthwise_conv2d, inputs, fast_mode=True)


def test_a_penalty_on_gradients_trains() -> None:
    def second(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, weight, _ = (tensor.detach().requires_grad_() for tensor in inputs)
        loss = function(x, weight, None).square().sum()
        gradients = torch.autograd.grad(loss, (x, weight), create_graph=True)
        penalty = torch.stack([gradient.square().sum() for gradient in gradients]).sum()
        return torch.autograd.grad(penalty, (x, weight))

    inputs = random_inputs((2, 3, 8, 9), (11, 11))
    wanted = second(reference, tuple(tensor.double() for tensor in inputs))
    assert_near(second(depthwise_conv2d, inputs), wanted, 3e-6)


def test_only_what_needs_a_gradient_gets_one() -> None:
    x, weight, bias = random_inputs((2, 4, 9, 9), (17, 17))
    y = depthwise_conv2d(x, weight.requires_grad_(), None)
    # The gradient of a sum is expanded, neither contiguous nor channels_last.
    (gradient,) = torch.autograd.grad(y.sum(), weight)
    torch.testing.assert_close(
        gradient, all_passes(reference, (x, weight, bias), torch.ones_like(x))[2]
    )
    saved: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = depthwise_conv2d(x.requires_grad_(), weight.detach(), bias)
    assert [tuple(tensor.shape) for tensor in saved] == [(4, 1, 17, 17)]
    assert torch.autograd.grad(y.sum(), x)[0].shape == x.shape
    with torch.no_grad():
        assert not depthwise_conv2d(x, weight).requires_grad


@pytest.mark.parametrize("kernel", [7, 17])
def test_inputs_in_any_strides(kernel: int) -> None:
    torch.manual_seed(0)
    storage = torch.randn(4, 12, 22, 24)
    x = storage[::2, 1::2, 2:18, 3:20].transpose(2, 3)
    weight = torch.randn(kernel, kernel, 1, 6).permute(3, 2, 0, 1)
    inputs = (x, weight, torch.randn(12)[::2])
    gradient = torch.randn(2, 6, 16, 17).transpose(2, 3)
    found = all_passes(depthwise_conv2d, inputs, gradient)
    wanted = all_passes(reference, tuple(tensor.double() for tensor in inputs), gradient)
    assert_near(found, wanted, 3e-6)
    found = all_passes(depthwise_conv2d, (x[:1].expand(3, -1, -1, -1), *inputs[1:]))
    assert torch.equal(found[0][0], found[0][2])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_half_precision_is_rounded_once(dtype: torch.dtype, layout: str) -> None:
    inputs = tuple(tensor.to(dtype) for tensor in random_inputs((3, 4, 9, 12), (17, 17), layout))
    found = all_passes(depthwise_conv2d, inputs)
    assert {tensor.dtype for tensor in found} == {dtype}
    wanted = all_passes(reference, tuple(tensor.double() for tensor in inputs))
    assert_near(found, wanted, torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_that_of_conv2d(dtype: torch.dtype) -> None:
    inputs = random_inputs((2, 4, 9, 9), (7, 7))
    with torch.autocast("cpu", dtype=dtype):
        found = all_passes(depthwise_conv2d, inputs)
        wanted = all_passes(reference, inputs)
        doubles = tuple(tensor.double() for tensor in inputs)
        assert depthwise_conv2d(*doubles).dtype == reference(*doubles).dtype
    assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in wanted]
    assert found[0].dtype == dtype
    # PyTorch adds partial sums in the narrow type; here they are float32.
    assert_near(found, wanted, 4 * torch.finfo(dtype).eps)
    x, weight, bias = (tensor.requires_grad_() for tensor in inputs)
    y = depthwise_conv2d(x, weight, bias)
    gradient = torch.randn_like(y)
    outside = torch.autograd.grad(y, (x, weight, bias), gradient, retain_graph=True)
    with torch.autocast("cpu", dtype=dtype):
        inside = torch.autograd.grad(y, (x, weight, bias), gradient)
    for a, b in zip(inside, outside, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_compiles_to_one_graph_of_any_batch_size(layout: str) -> None:
    torch.compiler.reset()
    compiled = torch.compile(depthwise_conv2d, backend="aot_eager", fullgraph=True, dynamic=True)
    for batch in (2, 3, 5):
        inputs = random_inputs((batch, 4, 9, 10), (17, 17), layout)
        with torch.compiler.set_stance("default" if batch == 2 else "fail_on_recompile"):
            found = all_passes(compiled, inputs)
        assert_near(found, all_passes(depthwise_conv2d, inputs), 1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = all_passes(compiled, inputs)
        assert_near(found, all_passes(depthwise_conv2d, inputs), 1e-2)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*inputs), depthwise_conv2d(*inputs))
    torch.compiler.reset()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_compiled_network_under_autocast_is_as_in_eager_mode(dtype: torch.dtype) -> None:
    """Autocast stays on for the layers after the convolution, in both passes."""
    torch.compiler.reset()
    large = [DepthwiseConv2d(8, 8, 17, padding=8, groups=8) for _ in range(2)]
    model = nn.Sequential(large[0], nn.Conv2d(8, 8, 2, 2), large[1], nn.Conv2d(8, 4, 1))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 8, 16, 16).contiguous(memory_format=torch.channels_last)
    results = []
    for network in (model, compiled):
        images = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype=dtype):
            y = network(images)
            assert y.dtype == dtype
            loss = y.float().square().sum()
        gradients = torch.autograd.grad(loss, (images, *model.parameters()))
        results.append((y.detach().float(), *gradients))
    for got, wanted in zip(results[1], results[0], strict=True):
        assert_near((got,), (wanted,), 4 * torch.finfo(dtype).eps)
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype):
        torch.testing.assert_close(compiled(x), model(x))
    torch.compiler.reset()


def test_the_compiled_convolution_is_a_sound_operator() -> None:
    for layout in LAYOUTS:
        inputs = tuple(
            tensor.bfloat16() for tensor in random_inputs((3, 4, 9, 10), (17, 17), layout)
        )
        library.opcheck(convolution._convolve_opaque, inputs)
        library.opcheck(convolution._convolve_opaque, (*inputs[:2], None))


def test_the_compiled_weight_gradient_is_a_sound_operator() -> None:
    x, _, _ = random_inputs((3, 4, 9, 10), (17, 17))
    library.opcheck(convolution._correlate_opaque, (x, torch.randn_like(x), 17, 7))


@pytest.mark.parametrize("strict", [False, True])
def test_exports_as_one_plain_convolution(strict: bool) -> None:
    layer = DepthwiseConv2d(4, 4, 17, padding=8, groups=4)
    sizes = (dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO),)
    program = torch.export.export(
        layer, (torch.randn(2, 4, 9, 10),), dynamic_shapes=sizes, strict=strict
    )
    assert [str(node.target) for node in program.graph.nodes if node.op == "call_function"].count(
        "aten.conv2d.default"
    ) == 1
    x = torch.randn(3, 4, 7, 15)
    torch.testing.assert_close(program.module()(x), layer(x))


def test_function_transforms() -> None:
    x, weight, _ = random_inputs((3, 4, 8, 9), (7, 7))

    def energy(kernel: Tensor, sample: Tensor) -> Tensor:
        return depthwise_conv2d(sample.unsqueeze(0), kernel).square().sum()

    per_sample = torch.func.vmap(torch.func.grad(energy), (None, 0))(weight, x)
    whole = all_passes(
        lambda kernel: depthwise_conv2d(x, kernel).square().sum(), (weight,), torch.ones(())
    )[1]
    assert_near((per_sample.sum(0),), (whole,), 3e-6)


# PyTorch's own forward mode compiles a script when it is first used.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
def test_forward_mode() -> None:
    x, weight, _ = random_inputs((1, 4, 8, 9), (7, 7))
    tangent = torch.randn_like(weight)
    found = torch.func.jvp(lambda kernel: depthwise_conv2d(x, kernel), (weight,), (tangent,))[1]
    torch.testing.assert_close(found, depthwise_conv2d(x, tangent))


@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated:FutureWarning")
def test_tracing_sees_a_plain_convolution() -> None:
    x, weight, bias = random_inputs((1, 4, 3, 3), (17, 17))
    trace: Callable[..., Callable[..., Tensor]] = torch.jit.trace
    traced = trace(depthwise_conv2d, (x, weight, bias))
    other = torch.randn(2, 4, 20, 20)
    torch.testing.assert_close(
        traced(other, weight, bias), depthwise_conv2d(other, weight, bias), atol=1e-4, rtol=1e-5
    )


def test_other_types_and_devices_are_left_to_conv2d() -> None:
    inputs = tuple(tensor.double() for tensor in random_inputs((2, 4, 9, 9), (17, 17)))
    assert torch.equal(depthwise_conv2d(*inputs), reference(*inputs))
    assert depthwise_conv2d(*(tensor.to("meta") for tensor in inputs)).shape == (2, 4, 9, 9)
    x, weight, _ = inputs
    with pytest.raises(RuntimeError, match="type"):
        depthwise_conv2d(x, weight.float())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_bias_of_another_type_is_refused_as_by_conv2d(dtype: torch.dtype) -> None:
    x, weight, bias = random_inputs((2, 4, 9, 9), (17, 17))
    with pytest.raises(RuntimeError, match="type"):
        depthwise_conv2d(x, weight, bias.to(dtype))


# As above.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
def test_dual_numbers_keep_their_tangents() -> None:
    x, weight, _ = random_inputs((1, 4, 8, 9), (11, 11))
    tangent = torch.randn_like(x)
    with forward_ad.dual_level():
        y = depthwise_conv2d(forward_ad.make_dual(x, tangent), weight)
        found = forward_ad.unpack_dual(y).tangent
    assert found is not None
    torch.testing.assert_close(found, depthwise_conv2d(tangent, weight))


def test_repeated_runs_agree_to_the_bit() -> None:
    inputs = random_inputs((9, 16, 14, 14), (17, 17), "channels_last")
    first, second = (all_passes(depthwise_conv2d, inputs) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        ((4, 8, 8), (4, 1, 3, 3), None, r"input has shape \(4, 8, 8\).*x.unsqueeze\(0\)"),
        ((2, 4, 8, 8), (4, 3, 3), None, r"expected \(4, 1, KH, KW\)"),
        ((2, 4, 8, 8), (5, 1, 3, 3), None, "for an input of 4 channels"),
        ((2, 4, 8, 8), (4, 4, 3, 3), None, "use torch.nn.functional.conv2d"),
        ((2, 4, 8, 8), (4, 1, 4, 3), None, "kernel of 4x3 has no centre"),
        ((2, 4, 8, 8), (4, 1, 3, 3), (3,), r"bias has shape \(3,\), expected \(4,\)"),
    ],
)
def test_shapes_that_do_not_fit(x: Any, weight: Any, bias: Any, message: str) -> None:
    with pytest.raises(LayerArgumentError, match=message):
        depthwise_conv2d(
            torch.zeros(x), torch.zeros(weight), None if bias is None else torch.zeros(bias)
        )


def test_module_is_a_conv2d() -> None:
    layer = DepthwiseConv2d(4, 4, (7, 17), padding=(3, 8), groups=4)
    plain = nn.Conv2d(4, 4, (7, 17), padding="same", groups=4)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 4, 9, 9)
    torch.testing.assert_close(layer(x), plain(x))
    DepthwiseConv2d(4, 4, 7, padding="same", groups=4, bias=False)(x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": 1}, "groups=1, expected 4"),
        ({"out_channels": 8}, "out_channels=8, expected 4"),
        ({"stride": 2}, r"stride=\(2, 2\), expected \(1, 1\); .* use torch.nn.Conv2d"),
        ({"dilation": 2}, "dilation"),
        ({"padding": 0}, r"padding=\(0, 0\), expected \(3, 3\)"),
        ({"padding": "valid"}, "padding='valid'"),
        ({"padding_mode": "circular"}, "padding_mode='circular'"),
        ({"kernel_size": 8}, "8x8 has no centre"),
    ],
)
def test_module_arguments_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    arguments = {"in_channels": 4, "out_channels": 4, "kernel_size": 7, "padding": 3, "groups": 4}
    with pytest.raises(LayerArgumentError, match=message):
        DepthwiseConv2d(**(arguments | change))
