"""The Triton kernels: interpreted on the CPU where there is no GPU, against float64."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, library
from torch.distributed import destroy_process_group, init_process_group
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils.flop_counter import FlopCounterMode

import dcls
from dcls.depthwise import depthwise_conv2d, paths
from dcls.errors import LayerArgumentError
from dcls.gpu import availability, records
from dcls.gpu.availability import obstacle
from dcls.gpu.layout import padded_layout, plain_layout
from dcls.gpu.records import Win
from dcls.gpu.tiling import tiling_of
from dcls.native import depthwise as native

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

INTERPRETED = DEVICE == "cpu"
"""Interpreted kernels take seconds where compiled ones take none: their tests are smaller."""

MOST = 18 if INTERPRETED else 36

# (N, C, H, W), (KH, KW)
SIZES = [
    ((1, 2, 17, 56), (17, 17)),  # several tiles in both directions
    ((1, 2, 20, 20), (17, 17)),  # one tile across
    ((2, 2, 14, 14), (17, 17)),  # one tile
    ((9, 3, 7, 7), (17, 17)),  # map smaller than half the kernel
    ((1, 1, 5, 70), (31, 31)),  # the widest kernel
    ((3, 2, 40, 5), (31, 3)),
    ((1, 2, 5, 40), (3, 31)),
    ((40, 2, 2, 3), (7, 7)),  # several blocks of samples
    ((2, 4, 1, 1), (17, 17)),  # one pixel
    ((2, 3, 1, 9), (17, 5)),
    ((2, 1, 12, 1), (3, 17)),
]

try:
    importable = obstacle(DEVICE) is None
except RuntimeError:
    importable = False
pytestmark = [pytest.mark.skipif(not importable, reason="no Triton for this machine")]
if DEVICE == "cuda":
    # Libraries warn of what only a GPU does.
    pytestmark += [pytest.mark.gpu, pytest.mark.filterwarnings("default::UserWarning")]


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here is computed by the kernels, unless a test sets another backend.

    What PyTorch computes beside them must be as exact: cuDNN would convolve float32 with numbers
    of 11 bits (TF32) otherwise.
    """
    monkeypatch.setattr(dcls.depthwise, "backend", "triton")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)


def reference(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    return functional.conv2d(x, weight, bias, padding=padding, groups=x.shape[1])


def random_inputs(
    shape: tuple[int, ...], kernel_size: tuple[int, int], layout: str, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    tensors = (torch.randn(shape), torch.randn(shape[1], 1, *kernel_size), torch.randn(shape[1]))
    x, weight, bias = (tensor.to(DEVICE, dtype) for tensor in tensors)
    return x.contiguous(memory_format=LAYOUTS[layout]), weight, bias


def all_passes(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Output and the gradients to all inputs."""
    inputs = tuple(tensor.detach().requires_grad_() for tensor in inputs)
    y = function(*inputs)
    # Whole numbers, the same in every type.
    gradient = torch.randint(-3, 4, y.shape, generator=torch.Generator().manual_seed(1))
    return (y.detach(), *torch.autograd.grad(y, inputs, gradient.to(y)))


def assert_as_float64(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Every pass within the rounding of the type, relative to the root of the squares' sum.

    Or relative to values of 1, as the inputs are: where a few terms cancel out, what is left is
    smaller than their rounding.
    """
    found = all_passes(depthwise_conv2d, inputs)
    wanted = all_passes(reference, tuple(tensor.double() for tensor in inputs))
    # A GPU rounds to the nearest, Triton's interpreter cuts bfloat16 off.
    share = max(torch.finfo(inputs[0].dtype).eps, 2e-6)
    for name, a, b in zip(("y", "x", "weight", "bias"), found, wanted, strict=False):
        assert (a.shape, a.dtype) == (b.shape, inputs[0].dtype), name
        least = b.numel() ** 0.5
        assert (a.double() - b).norm() <= share * max(float(b.norm()), least), name
    return found


@pytest.mark.parametrize(
    ("layout", "dtype"),
    [
        ("contiguous", torch.float32),
        ("channels_last", torch.float16),
        ("channels_last", torch.bfloat16),
    ],
)
@pytest.mark.parametrize(("shape", "kernel_size"), SIZES)
def test_all_passes_match_float64(
    shape: tuple[int, ...], kernel_size: tuple[int, int], layout: str, dtype: torch.dtype
) -> None:
    inputs = random_inputs(shape, kernel_size, layout, dtype)
    for tensor in assert_as_float64(inputs)[:2]:  # output and input gradient
        assert tensor.is_contiguous(memory_format=LAYOUTS[layout])


@settings(deadline=None, max_examples=8 if INTERPRETED else 50)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3), *[st.integers(1, MOST)] * 2),
    st.tuples(*[st.integers(1, MOST // 3)] * 2),
    st.sampled_from(list(LAYOUTS)),
    st.sampled_from(DTYPES),
)
def test_any_size(
    shape: tuple[int, ...], reach: tuple[int, int], layout: str, dtype: torch.dtype
) -> None:
    kernel_size = (2 * reach[0] + 1, 2 * reach[1] + 1)
    assert_as_float64(random_inputs(shape, kernel_size, layout, dtype))


def test_inputs_in_any_strides() -> None:
    storage = torch.randn(4, 8, 22, 24, device=DEVICE)
    x = storage[::2, 1::2, 2:18, 3:20].transpose(2, 3)
    weight = torch.randn(7, 9, 1, 4, device=DEVICE).permute(3, 2, 0, 1)
    assert_as_float64((x, weight, torch.randn(8, device=DEVICE)[::2]))
    expanded = x[:1].expand(3, -1, -1, -1)
    assert_as_float64((expanded, weight, torch.randn(1, device=DEVICE).expand(4)))


def test_many_maps() -> None:
    samples, channels = (256, 33) if INTERPRETED else (32_768, 65_537)
    assert_as_float64(random_inputs((samples, 2, 2, 2), (3, 3), "contiguous", torch.float32))
    assert_as_float64(random_inputs((1, channels, 2, 2), (3, 3), "contiguous", torch.float32))


def test_offsets_beyond_32_bits() -> None:
    from dcls.gpu.blocks import Block
    from dcls.gpu.launches import Case, convolution_launch, matrices_shape, toeplitz_launch

    # As if there were 2^30 channels, of which the programs of the first one alone are run: the
    # second sample starts at cell 2^31. Pages that nobody touches take no memory.
    stride = 2**31
    x, y = (torch.empty(stride + 2, dtype=torch.float16, device=DEVICE) for _ in range(2))
    for tensor in (x, y):
        tensor[[0, 1, stride, stride + 1]] = torch.tensor([1.0, 2, 3, 4]).to(tensor)
    weight = torch.ones(1, 1, 1, 3, device=DEVICE)
    one = Case(2, 1, 1, plain_layout(2), 1, 3)
    tiling = one.tiling
    matrices = x.new_empty(matrices_shape(one, tiling))
    toeplitz_launch(one, False, tiling).run(weight, matrices)
    launch = convolution_launch(
        one._replace(channels=2**30), x.dtype, False, tiling, Block(16, 2, 4)
    )
    dataclasses.replace(launch, grid=(1, 1, 1)).run(x, matrices, None, y)
    assert y[[0, 1, stride, stride + 1]].tolist() == [3, 3, 7, 7]


@pytest.mark.parametrize(("samples", "width"), [(1, 3), (2, 2)])
def test_offsets_in_maps_beyond_32_bits(samples: int, width: int) -> None:
    from dcls.gpu.planes import from_planes_launch, to_planes_launch

    # As above: of 2^30 channels the programs of the first 64 alone are run.
    channels, ran = 2**30, 64
    shape, strides = (samples, ran, width), (width * channels, 1, channels)
    x, planes = (
        torch.empty(samples * width * channels, dtype=torch.int8, device=DEVICE) for _ in range(2)
    )
    maps = x.as_strided(shape, strides)
    wanted = torch.randint(100, shape, dtype=torch.int8, device=DEVICE)
    maps.copy_(wanted)
    for launched, tensors in (
        (to_planes_launch, (x, planes)),
        (from_planes_launch, (planes, x)),
    ):
        launch = launched((samples, channels, 1), plain_layout(width))
        dataclasses.replace(launch, grid=(samples, 1, 1)).run(*tensors)
        assert torch.equal(planes.as_strided(shape, (strides[0], width, 1)), wanted)
        assert torch.equal(maps, wanted)
        maps.zero_()


def test_more_cells_than_can_be_numbered_are_left_to_conv2d() -> None:
    weight = torch.empty(1, 1, 3, 3, device=DEVICE)
    for samples, is_taken in ((2**24, True), (2**26, False)):
        x = torch.empty(1, 1, 2, 2, device=DEVICE).expand(samples, 1, 2, 2)
        assert paths._uses_triton(x, weight, x.dtype, "triton") is is_taken


def test_a_penalty_on_gradients_trains() -> None:
    def second(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, weight, _ = (tensor.detach().requires_grad_() for tensor in inputs)
        loss = function(x, weight, None).square().sum()
        gradients = torch.autograd.grad(loss, (x, weight), create_graph=True)
        penalty = torch.stack([gradient.square().sum() for gradient in gradients]).sum()
        return torch.autograd.grad(penalty, (x, weight))

    inputs = random_inputs((2, 3, 8, 9), (11, 11), "channels_last", torch.float32)
    wanted = second(reference, tuple(tensor.double() for tensor in inputs))
    for a, b in zip(second(depthwise_conv2d, inputs), wanted, strict=True):
        assert (a.double() - b).norm() <= 3e-6 * b.norm()


def test_repeated_runs_agree_to_the_bit() -> None:
    inputs = random_inputs((9, 1, 14, 14), (17, 17), "channels_last", torch.bfloat16)
    first, second = (all_passes(depthwise_conv2d, inputs) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_operators_are_sound() -> None:
    from dcls.gpu.operators import OPERATORS

    x, weight, bias = random_inputs((3, 4, 9, 10), (7, 5), "contiguous", torch.float32)
    maps = x.contiguous(memory_format=torch.channels_last)
    planes = functional.pad(x, (8, 6))
    checked = library.opcheck
    checked(OPERATORS.triton_to_planes.default, (maps, torch.float16, 24, 8))
    checked(OPERATORS.triton_from_planes.default, (planes, torch.float16, 10, 8))
    # Beside a map an output is not defined, so maps are compared that fill their planes.
    checked(OPERATORS.triton_depthwise.default, (x, weight, bias, 10, 0, False))
    checked(OPERATORS.triton_depthwise.default, (x, weight, None, 10, 0, True))
    gradient = OPERATORS.triton_depthwise_weight_gradient
    checked(gradient.default, (planes, functional.pad(x + 1, (8, 6)), (7, 5), 10, 8))


def test_operators_say_what_they_expect() -> None:
    from dcls.gpu.operators import OPERATORS

    x, weight, _ = random_inputs((3, 4, 9, 10), (7, 5), "contiguous", torch.float32)
    with pytest.raises(RuntimeError, match="contiguous and not empty"):
        OPERATORS.triton_depthwise(x[:, :, :, ::2], weight, None, 5, 0, False)
    with pytest.raises(RuntimeError, match="room for 10 columns from 8 on in 10"):
        OPERATORS.triton_depthwise(x, weight, None, 10, 8, False)
    with pytest.raises(RuntimeError, match="a gradient like the input"):
        OPERATORS.triton_depthwise_weight_gradient(x, x.half(), (7, 5), 10, 0)
    with pytest.raises(RuntimeError, match="in channels_last"):
        OPERATORS.triton_to_planes(x, torch.float16, 24, 8)
    with pytest.raises(RuntimeError, match=r"kernels \(4, 1, KH, KW\)"):
        OPERATORS.triton_depthwise(x, weight[:3], None, 10, 0, False)


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 70, 3, 20), (1, 8, 4, 40)])
def test_planes_have_zeros_beside_the_map_and_lead_back(shape: tuple[int, ...]) -> None:
    from dcls.gpu import convolution
    from dcls.gpu.layout import padded_layout

    x = torch.randn(shape, device=DEVICE).contiguous(memory_format=torch.channels_last)
    layout = padded_layout(shape[2], shape[3], 17, 17)
    planes = convolution.to_planes(x, torch.float16, layout)
    right = layout.pitch - layout.origin - layout.width
    assert torch.equal(planes, functional.pad(x.half(), (layout.origin, right)))
    back = convolution.from_planes(planes, torch.float32, layout)
    assert torch.equal(back, x.half().float())
    assert back.is_contiguous(memory_format=torch.channels_last)


def test_operations_are_those_of_dense_kernels() -> None:
    inputs = random_inputs((2, 3, 9, 10), (7, 7), "contiguous", torch.float32)
    with FlopCounterMode(display=False) as counter:
        all_passes(depthwise_conv2d, inputs)
    assert counter.get_total_flops() == 3 * 2 * 2 * 3 * 9 * 10 * 7 * 7  # three passes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_that_of_conv2d(dtype: torch.dtype) -> None:
    inputs = random_inputs((2, 4, 9, 9), (7, 7), "channels_last", torch.float32)
    with torch.autocast(DEVICE, dtype=dtype):
        found, wanted = all_passes(depthwise_conv2d, inputs), all_passes(reference, inputs)
    assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in wanted]
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).double().norm() <= 2 * torch.finfo(dtype).eps * b.double().norm()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_compiles_to_one_graph_of_any_batch_size(layout: str) -> None:
    torch.compiler.reset()
    compiled = torch.compile(depthwise_conv2d, backend="aot_eager", fullgraph=True, dynamic=True)
    for batch in (2, 3, 5):
        inputs = random_inputs((batch, 4, 7, 6), (5, 5), layout, torch.float32)
        with torch.compiler.set_stance("default" if batch == 2 else "fail_on_recompile"):
            found = all_passes(compiled, inputs)
        for a, b in zip(found, all_passes(depthwise_conv2d, inputs), strict=True):
            torch.testing.assert_close(a, b)
    torch.compiler.reset()


@pytest.fixture
def process_group(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if sys.platform == "linux":  # the machine's own name may lead nowhere
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    store = torch.distributed.HashStore()
    init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_trains_in_a_distributed_model() -> None:
    layer = dcls.DepthwiseConv2d(3, 3, 7, padding=3, groups=3, device=DEVICE)
    x = torch.randn(2, 3, 9, 9, device=DEVICE)
    DistributedDataParallel(layer)(x).square().sum().backward()
    wanted = torch.autograd.grad(layer(x).square().sum(), list(layer.parameters()))
    for parameter, gradient in zip(layer.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.gpu
def test_replays_in_a_cuda_graph() -> None:
    inputs = random_inputs((4, 8, 14, 14), (17, 17), "channels_last", torch.bfloat16)
    with torch.no_grad():
        depthwise_conv2d(*inputs)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = depthwise_conv2d(*inputs)
        inputs[0].copy_(torch.randn_like(inputs[0]))
        graph.replay()
        assert torch.equal(y, depthwise_conv2d(*inputs))


@pytest.mark.parametrize("name", ["tritn", None])
def test_an_unknown_backend(monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    with pytest.raises(LayerArgumentError, match=r"expected one of auto, torch, triton"):
        monkeypatch.setattr(dcls.depthwise, "backend", name)
    assert dcls.depthwise.backend == "triton"


def test_a_backend_of_a_block() -> None:
    with dcls.depthwise.use_backend("torch"):
        assert dcls.depthwise.backend == dcls.depthwise.get_backend() == "torch"
    assert dcls.depthwise.backend == "triton"
    with pytest.raises(ZeroDivisionError), dcls.depthwise.use_backend("auto"):
        raise ZeroDivisionError
    assert dcls.depthwise.get_backend() == "triton"


def test_without_a_gpu_the_setting_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(LayerArgumentError, match=r"device 'cpu'.*TRITON_INTERPRET=1.*'auto'"):
        depthwise_conv2d(torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 5, 5))


def test_without_triton_the_setting_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "has_triton", lambda: False)
    with pytest.raises(LayerArgumentError, match="Triton is not installed"):
        depthwise_conv2d(torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 5, 5))


@pytest.mark.parametrize(
    ("capability", "message"), [((7, 5), "capability 7.5, expected 8.0"), ((9, 0), None)]
)
def test_old_gpus_are_named(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], message: str | None
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(availability, "driver_obstacle", lambda: None)
    found = obstacle("cuda")
    assert (found is None) if message is None else (found is not None and message in found)


def test_what_keeps_triton_from_the_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime import driver

    class NoCompiler:
        def get_current_target(self) -> None:
            raise RuntimeError("Failed to find C compiler")

    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(driver, "_active", NoCompiler())
    availability.driver_obstacle.cache_clear()
    try:
        found = obstacle("cuda")
    finally:
        availability.driver_obstacle.cache_clear()
    assert found is not None
    assert "Failed to find C compiler" in found
    assert "python3-dev" in found


def test_torch_means_pytorchs_operators_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dcls.depthwise, "backend", "torch")
    for module in (native, pytest.importorskip("dcls.gpu.convolution")):
        for name in ("convolve", "correlate"):
            monkeypatch.setattr(module, name, lambda *_: pytest.fail("not asked for"))
    assert_as_float64(random_inputs((2, 2, 14, 14), (17, 17), "channels_last", torch.float32))


def test_auto_takes_them_where_a_win_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    win = Win("A GPU", "9.0", "float32", "channels_last", 100, 14, 14, 17, 17, 2.0, 3.0)
    slow = win._replace(layout="contiguous", training=0.9)
    monkeypatch.setattr(records, "wins", lambda: (slow, win))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))

    def is_win(
        samples: int = 2, side: int = 14, kernel: int = 17, layout: str = "channels_last"
    ) -> bool:
        x = torch.zeros(samples, 50, side, side).contiguous(memory_format=LAYOUTS[layout])
        return records.is_recorded_win(x, torch.zeros(50, 1, kernel, kernel), torch.float32)

    assert is_win()
    assert is_win(samples=3, side=20, kernel=31)
    assert not is_win(samples=1)  # a GPU may not be filled
    assert not is_win(side=13)
    assert not is_win(kernel=15)
    assert not is_win(layout="contiguous")  # quicker forward, slower in training
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 0))
    assert not is_win()


def test_records_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(records, "WINS", tmp_path / "wins.json")
    rows = [Win("A GPU", "9.0", "bfloat16", "contiguous", 400, 14, 14, 17, 17, 2.0, 3.0)]
    records.write_wins(rows)
    assert records.wins() == tuple(rows)
    records.wins.cache_clear()


@settings(deadline=None, max_examples=200)
@given(*[st.integers(1, 300)] * 2, *[st.integers(0, 15)] * 2)
def test_tilings_cover_every_map(height: int, width: int, up: int, left: int) -> None:
    rows, columns = min(2 * up + 1, 2 * height - 1), min(2 * left + 1, 2 * width - 1)
    tiling = tiling_of(height, width, rows, columns)
    assert tiling.down * tiling.rows >= height
    assert tiling.across * tiling.group * tiling.columns >= width
    for size in (tiling.rows, tiling.columns, tiling.group):
        assert size & (size - 1) == 0
    assert 16 <= tiling.cells * tiling.group <= 256
    layout = padded_layout(height, width, rows, columns)
    assert layout.pitch % tiling.columns == 0
    assert layout.pitch - layout.origin >= width
    if width <= 32:
        assert (tiling.seen, tiling.group) == (1, 1)
    else:
        assert min(tiling.margin, layout.origin) >= columns // 2
        assert tiling.seen * tiling.columns >= tiling.margin + tiling.columns + columns // 2


COMPILE = """
import torch
from dcls.gpu.convolution import _convolution, _weight_gradient
from dcls.gpu.launches import Case
from dcls.gpu.layout import padded_layout
from dcls.gpu.machine_code import machine_code
from dcls.gpu.planes import from_planes_launch, to_planes_launch

for samples, side in ((128, 56), (1, 5000)):  # usual ones, and more cells than 32 bits number
    layout = padded_layout(side, side, 17, 17)
    for launched in (to_planes_launch, from_planes_launch):
        launch = launched((samples, 96, side), layout)
        code = machine_code(launch, (torch.bfloat16, torch.bfloat16), 90)
        assert code.spilled == 0, (side, code)
usual = ((96, 56), (192, 28), (384, 14), (768, 7))
for channels, side in usual if torch.cuda.is_available() else usual[::3]:
    case = Case(128, channels, side, padded_layout(side, side, 17, 17), 17, 17)
    _, _, convolution = _convolution(case, torch.bfloat16, False, False)
    gradient, _ = _weight_gradient(case, torch.bfloat16)
    for launch, last in ((convolution, torch.bfloat16), (gradient, torch.float32)):
        bias = (None,) if launch is convolution else ()
        code = machine_code(launch, (torch.bfloat16, torch.bfloat16, *bias, last), 90)
        assert code.spilled == 0, (side, code)
        assert code.instructions["HGMMA"] > 0, (side, code)
        assert side == 7 or code.instructions["LDGSTS"] > 0, (side, code)  # there all at once
        assert code.shared < 227 * 1024, (side, code)
"""


def test_compiles_for_hopper_without_spills() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    command = [sys.executable, "-c", COMPILE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
