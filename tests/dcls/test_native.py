"""The compiled kernels: built once, refused when wrong, done without when they cannot be had."""

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, library
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from dcls.depthwise import depthwise_conv2d
from dcls.native import depthwise as native
from dcls.native import kernels as built
from dcls.native.kernels import find_compilers, native_library

# Without a compiler there is nothing to test here: the fallback is, in every file that uses it.
needs_compiler = pytest.mark.skipif(
    not find_compilers(), reason="no C++ compiler: the kernels cannot be built"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder for what is built, and nothing loaded yet.

    Nothing is optimised: it takes most of the time, and hides memory that is read as if it were
    aligned. The kernels of `lanes` are optimised.
    """
    monkeypatch.setenv("DCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(built, "FLAGS", ("-O0", *built.FLAGS[1:]))
    native_library.cache_clear()
    yield tmp_path / "cache"
    native_library.cache_clear()


def files(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


@needs_compiler
def test_it_is_built_once(cache: Path) -> None:
    assert native_library() is not None
    name, digest = files(cache)[::-1]
    assert Path(name).with_suffix(".sha256").name == digest
    written = (cache / name).stat().st_mtime_ns
    native_library.cache_clear()
    assert native_library() is not None
    assert (cache / name).stat().st_mtime_ns == written


@needs_compiler
def test_two_that_build_at_once(cache: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(built._build, [cache / "both.so"] * 2))
    assert files(cache) == ["both.sha256", "both.so"]


def test_it_can_be_switched_off(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCLS_NATIVE", "0")
    assert native_library() is None
    assert files(cache) == []


def test_without_a_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))
    monkeypatch.delenv("CXX", raising=False)
    assert not find_compilers()
    assert native_library() is None
    assert files(cache) == []
    x, weight = torch.randn(1, 3, 9, 9), torch.randn(3, 1, 9, 9)
    torch.testing.assert_close(
        depthwise_conv2d(x, weight), functional.conv2d(x, weight, padding=4, groups=3)
    )


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_compiler_that_fails_says_why(
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = program(tmp_path / "c++", "echo no OpenMP here >&2; exit 1")
    monkeypatch.setattr(built, "COMPILERS", (str(broken),))
    monkeypatch.delenv("CXX", raising=False)
    with caplog.at_level("INFO"):
        assert native_library() is None
    assert files(cache) == []
    assert "no OpenMP here" in caplog.text


@needs_compiler
@pytest.mark.parametrize("script", ["exit 1", 'exec "$@"'])
def test_cxx_with_arguments_comes_first_and_the_usual_ones_after_it(
    script: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = " ".join(find_compilers()[0])
    monkeypatch.setenv("CXX", f"{program(tmp_path / 'wrapper', script)} {compiler}")
    assert find_compilers()[0] == [str(tmp_path / "wrapper"), compiler]
    assert native_library() is not None


@needs_compiler
def test_a_file_cut_short_is_built_again(cache: Path) -> None:
    assert native_library() is not None
    (path,) = cache.glob("*.so")
    whole = path.read_bytes()
    path.unlink()  # the loaded one stays as it is
    path.write_bytes(whole[: len(whole) // 2])
    native_library.cache_clear()
    assert native_library() is not None
    assert path.stat().st_size == len(whole)


@needs_compiler
def test_a_folder_where_others_may_write_is_refused(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    with caplog.at_level("INFO"):
        assert native_library() is None
    assert "set DCLS_CACHE" in caplog.text


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DCLS_CACHE", str(tmp_path / "file" / "cache"))
    native_library.cache_clear()
    assert native_library() is None
    native_library.cache_clear()


@needs_compiler
@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        (0, "Vector{} + bias;", "Vector{} + bias + 1;", "something else"),
        (0, "total += lanes[lane];", "total -= lanes[lane];", "something else"),
        (0, 'extern "C" {', "namespace hidden {", "undefined symbol"),
        (0, "namespace {", "not C++ {", "error"),
        (1, "1.905947671e-01f", "1.915947671e-01f", "something else"),
        (1, "y *= load_some(scale + c, count);", "", "something else"),
    ],
)
def test_wrong_kernels_are_not_used(
    file: int,
    right: str,
    wrong: str,
    said: str,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = built.SOURCES[file].read_text()
    assert right in text
    source = tmp_path / "changed.cpp"
    source.write_text(text.replace(right, wrong, 1))
    sources = [source if i == file else path for i, path in enumerate(built.SOURCES)]
    monkeypatch.setattr(built, "SOURCES", tuple(sources))
    with caplog.at_level("INFO"):
        assert native_library() is None
    assert said in caplog.text


@pytest.fixture(params=[8, 16], scope="module")
def lanes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The kernels for vectors of 8 numbers (AVX2) and of 16 (AVX-512), with bands of few rows."""
    if not find_compilers():
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("lanes")
    source = folder / "depthwise.cpp"
    text = built.SOURCES[0].read_text()
    for line, other in (
        ("constexpr int64_t LANES = 8;", f"constexpr int64_t LANES = {request.param};"),
        ("constexpr int64_t LANES = 16;", f"constexpr int64_t LANES = {request.param};"),
        ("BAND_FLOATS = 1 << 18;", "BAND_FLOATS = 1 << 13;"),
        ("SAMPLES_PER_SUM = 8;", "SAMPLES_PER_SUM = 2;"),
    ):
        assert line in text
        text = text.replace(line, other)
    source.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DCLS_CACHE", str(folder))
        patch.setattr(built, "SOURCES", (source, *built.SOURCES[1:]))
        patch.setattr(built, "FLAGS", (*built.FLAGS, "-Wno-psabi"))
        native_library.cache_clear()
        assert native_library() is not None
        yield request.param
    native_library.cache_clear()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("shape", "kernel"),
    [
        ((1, 3, 70, 9), (17, 17)),  # several bands
        ((5, 17, 33, 61), (5, 31)),  # several bands, blocks of channels and of columns
        ((3, 20, 7, 7), (17, 17)),
        ((2, 16, 1, 130), (3, 17)),
        ((2, 5, 100, 1), (31, 3)),
        ((1, 1, 2, 2), (1, 1)),
    ],
)
def test_both_kernels_by_float64(
    shape: tuple[int, ...], kernel: tuple[int, int], last: bool, threads: int, lanes: int
) -> None:
    torch.manual_seed(0)
    form = torch.channels_last if last else torch.contiguous_format
    x, gradient = (torch.randn(shape).contiguous(memory_format=form) for _ in range(2))
    weight = torch.randn(shape[1], 1, *kernel)
    weight[torch.rand_like(weight) < 0.5] = 0
    bias = torch.randn(shape[1])
    inputs = (x.double(), weight.double().requires_grad_(), bias.double())
    padding = (kernel[0] // 2, kernel[1] // 2)
    wanted = functional.conv2d(*inputs, padding=padding, groups=shape[1])
    (weight_gradient,) = torch.autograd.grad(wanted, inputs[1], gradient.double())
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        y, total = native.convolve(x, weight, bias), native.correlate(x, gradient, *kernel)
    finally:
        torch.set_num_threads(before)
    assert y.is_contiguous(memory_format=form)
    for found, exact in ((y, wanted), (total, weight_gradient)):
        assert (found - exact).abs().max() <= 2e-6 * exact.abs().max()


@needs_compiler
def test_they_are_sound_operators() -> None:
    for form in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 3, 6, 5).contiguous(memory_format=form)
        weight, bias = torch.randn(3, 1, 5, 7), torch.randn(3)
        utils = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
        library.opcheck(torch.ops.dcls.depthwise.default, (x, weight, bias), test_utils=utils)
        library.opcheck(torch.ops.dcls.depthwise.default, (x, weight, None), test_utils=utils)
        library.opcheck(
            torch.ops.dcls.depthwise_weight_gradient.default, (x, x, (5, 7)), test_utils=utils
        )


@needs_compiler
@pytest.mark.parametrize(
    ("x", "weight", "bias"),
    [
        (torch.zeros(1, 3, 4, 4).double(), torch.zeros(3, 1, 3, 3), None),
        (torch.zeros(1, 3, 4, 8)[..., ::2], torch.zeros(3, 1, 3, 3), None),
        (torch.zeros(1, 3, 4, 4), torch.zeros(2, 1, 3, 3), None),
        (torch.zeros(1, 3, 4, 4), torch.zeros(3, 1, 3, 3), torch.zeros(1)),
        (torch.zeros(1, 3, 4, 4), torch.zeros(3, 1, 3, 3), torch.zeros(3).double()),
    ],
)
def test_the_operators_read_only_what_they_can(
    x: Tensor, weight: Tensor, bias: Tensor | None
) -> None:
    with pytest.raises(RuntimeError):
        torch.ops.dcls.depthwise(x, weight, bias)
    with pytest.raises(RuntimeError):
        torch.ops.dcls.depthwise_weight_gradient(x, torch.zeros(1, 3, 5, 4), (3, 3))


@needs_compiler
def test_pytorch_counts_their_operations() -> None:
    x, weight = torch.randn(2, 3, 8, 9), torch.randn(3, 1, 5, 7, requires_grad=True)

    def count(passes: int) -> int:
        with FlopCounterMode(display=False) as counter:
            y: Tensor = depthwise_conv2d(x, weight)
            if passes == 2:
                y.sum().backward()
        return counter.get_total_flops()

    once = 2 * 2 * 3 * 8 * 9 * 5 * 7
    assert count(1) == once
    assert count(2) == 2 * once


@needs_compiler
def test_not_a_number_reaches_the_output() -> None:
    x, weight = torch.zeros(1, 1, 9, 9), torch.ones(1, 1, 9, 9)
    x[0, 0, 4, 4] = torch.nan
    assert native.convolve(x, weight, None).isnan().all()
    weight[0, 0, 0, 0] = torch.nan
    assert native.convolve(torch.zeros_like(x), weight, None).isnan().any()


def test_the_sources_are_installed() -> None:
    assert all(source.is_file() for source in built.SOURCES)
