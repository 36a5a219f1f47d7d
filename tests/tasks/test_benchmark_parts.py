"""The parts of a benchmark by hand: turns, percentiles, memory, counts, positions, layers."""

import math
from contextlib import nullcontext

import pytest
import torch
from torch import nn

import dcls
from dcls.fold import fold
from tasks.benchmark.benchmark import Benchmark
from tasks.benchmark.counting import counted, multiply_adds
from tasks.benchmark.layers import OUTSIDE, by_kind, time_layers
from tasks.benchmark.memory import peak_bytes, weight_bytes
from tasks.benchmark.models import Model, learned_layers, spread_positions
from tasks.benchmark.settings import BenchmarkSettings
from tasks.benchmark.statistics import Latency, relative_throughput
from tasks.benchmark.steps import TrainingStep
from tasks.benchmark.timing import burst_length, time_by_turns, using_threads, warm_up
from tasks.classification.task import ClassificationTask
from tasks.detection.random_batch import random_batch
from tasks.detection.task import DetectionTask
from tasks.engine.benchmarking import BenchmarkSizes
from tasks.errors import SettingError
from tasks.segmentation.task import SegmentationTask

CPU = torch.device("cpu")
SETTINGS = {
    "passes": ["inference"],
    "variants": ["plain"],
    "batch_sizes": [1],
    "image_size": 32,
    "classes": 5,
    "seconds": 0.1,
    "layers": False,
    "threads": None,
}


class Clock:
    """Time that passes only where a step takes it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def step(self, name, seconds, calls):
        def call():
            self.now += seconds
            calls.append(name)

        return call


def test_every_round_runs_each_case_once_in_turn():
    clock, calls = Clock(), []
    steps = {"a": clock.step("a", 1, calls), "b": clock.step("b", 2, calls)}
    timings = time_by_turns(steps, {"a": 1, "b": 1}, CPU, 12, clock=clock)
    assert calls == ["a", "b"] * 4  # 3 seconds a round
    assert timings.rounds == {"a": [[1]] * 4, "b": [[2]] * 4}


def test_a_burst_begins_with_a_step_that_does_not_count_and_a_round_is_never_half():
    clock, calls = Clock(), []
    steps = {"a": clock.step("a", 1, calls), "b": clock.step("b", 10, calls)}
    timings = time_by_turns(steps, {"a": 2, "b": 1}, CPU, 0.5, clock=clock)
    assert calls == ["a", "a", "a", "b"] * 3  # three rounds at least
    assert timings.rounds == {"a": [[1, 1]] * 3, "b": [[10]] * 3}


def test_a_case_that_fails_midway_leaves_the_others_going():
    clock, calls = Clock(), []

    def broken():
        if len(calls) > 1:
            raise MemoryError("no more")
        calls.append("broken")

    steps = {"broken": broken, "b": clock.step("b", 1, calls)}
    timings = time_by_turns(steps, {"broken": 1, "b": 1}, CPU, 3, clock=clock)
    assert calls == ["broken", "b", "b", "b"]
    assert str(timings.failures["broken"]) == "no more"
    assert timings.rounds["b"] == [[1]] * 3


def test_the_first_step_of_a_warm_up_does_not_count():
    clock, calls = Clock(), []

    def step():
        clock.now += 100 if not calls else 0.2
        calls.append(0)

    assert warm_up(step, CPU, clock) == pytest.approx(0.2)
    assert len(calls) == 1 + 3  # half a second
    assert [burst_length(s) for s in (1, 0.04, 1e-6)] == [1, 2, 20]


def test_percentiles_and_ratios_are_those_by_hand():
    latency = Latency.of([[3.0, 1.0], [2.0], [5.0, 4.0]])
    assert (latency.p50, latency.p25, latency.p75) == (3, 2, 4)
    assert latency.p95 == pytest.approx(4 + 0.8)  # place 3.8 of 0 to 4
    assert (latency.shortest, latency.longest, latency.mean) == (1, 5, 3)
    assert (latency.samples, latency.rounds) == (5, 3)
    throughput = latency.throughput(12)
    assert (throughput.median, throughput.low, throughput.high) == (4, 3, 6)
    # the second round, four times as slow for both, does not count against either
    ratio = relative_throughput([[1, 1, 9], [4], [1]], [[2], [8], [3]])
    assert (ratio.median, ratio.low, ratio.high) == (2, 2, 2.5)


def test_peak_memory_is_what_is_held_at_once():
    kept = []

    def step():
        first = torch.empty(250_000)  # 1,000,000 bytes
        second = torch.empty(500_000)
        del first
        kept.append(torch.empty(125_000))
        del second

    assert peak_bytes(step, CPU) == 3_000_000
    assert peak_bytes(lambda: kept.clear(), CPU) == 0


def test_peak_memory_of_a_layer_and_of_its_gradients():
    layer, x = nn.Linear(300, 400, bias=False), torch.ones(50, 300)

    def inference():
        with torch.no_grad():
            layer(x)

    assert peak_bytes(inference, CPU) == 4 * 50 * 400
    assert weight_bytes(layer) == 4 * 300 * 400

    def training():
        layer(x).sum().backward()
        layer.zero_grad()

    least = 4 * (50 * 400 + 300 * 400)  # the output, and the gradient of the weights
    assert least <= peak_bytes(training, CPU) <= least + 4 * 50 * 400 + 1000
    assert layer.weight.grad is None


def test_multiply_adds_of_a_tiny_network():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 5, padding=2, groups=8), nn.Flatten()
    )
    network.append(nn.Linear(8 * 6 * 6, 10))
    expected = 36 * 8 * 3 * 9 + 36 * 8 * 25 + 8 * 36 * 10
    assert multiply_adds(network, torch.ones(1, 3, 6, 6)) == expected
    counts = counted(network, torch.ones(1, 3, 6, 6), CPU)
    assert (counts.multiply_adds, counts.counted_on) == (expected, "meta")
    assert counts.parameters == 8 * 27 + 8 + 8 * 25 + 8 + 288 * 10 + 10


def test_every_tap_of_a_kernel_larger_than_the_map_counts(monkeypatch):
    monkeypatch.setattr("dcls.native.depthwise.is_available", lambda: False)
    layer, x = dcls.DepthwiseConv2d(4, 4, 17, padding=8, groups=4), torch.ones(1, 4, 3, 3)
    assert counted(layer, x, CPU).multiply_adds == 9 * 4 * 289
    assert multiply_adds(layer, x) < 9 * 4 * 289  # the processor's path cuts the kernel


def test_what_depends_on_the_data_is_counted_on_the_device():
    class Choosing(nn.Module):
        def forward(self, x):
            return x[x > 0].view(-1, 1) @ torch.ones(1, 3)

    counts = counted(Choosing(), torch.tensor([1.0, -1.0, 2.0]), CPU)
    assert (counts.multiply_adds, counts.counted_on) == (2 * 3, "cpu")


def test_convnext_tiny_has_the_published_multiply_adds():
    image = torch.ones(1, 3, 224, 224, device="meta")
    with torch.device("meta"):
        plain = dcls.create_backbone("convnext_tiny").eval()
        learned = dcls.create_backbone("convnext_dcls_tiny").eval()
    assert multiply_adds(plain, image) / 1e9 == pytest.approx(4.46, abs=0.01)
    taps = sum(
        side**2 * dim * depth
        for side, dim, depth in zip((56, 28, 14, 7), (96, 192, 384, 768), (3, 3, 9, 3), strict=True)
    )
    assert multiply_adds(learned, image) - multiply_adds(plain, image) >= (289 - 49) * taps


def test_positions_are_spread_over_the_kernel_so_that_folding_crops_nothing():
    model = dcls.create_backbone("convnext_dcls_atto", num_classes=5)
    layers = learned_layers(model)
    assert spread_positions(model, seed=3) == 4  # one set a stage
    for layer in layers:
        assert layer.P.abs().max() <= 8
        assert layer.P.std().item() == pytest.approx(16 / math.sqrt(12), rel=0.05)
    again = dcls.create_backbone("convnext_dcls_atto", num_classes=5)
    spread_positions(again, seed=3)
    assert torch.equal(learned_layers(again)[0].P, layers[0].P)
    sizes = {m.kernel_size for m in fold(model).modules() if isinstance(m, dcls.DepthwiseConv2d)}
    assert sizes == {(17, 17)}


def test_layers_are_timed_and_their_shares_sum_to_one():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 4)))
    layers = time_layers(model, lambda: model(torch.ones(2, 4)), CPU, passes=3)
    assert {(one.name, one.kind) for one in layers} == {
        ("0", "Linear"),
        ("1", "ReLU"),
        ("2.0", "Linear"),
        (OUTSIDE, OUTSIDE),
    }
    assert sum(one.share for one in layers) == pytest.approx(1)
    assert [one.seconds for one in layers] == sorted((o.seconds for o in layers), reverse=True)
    assert all(not module._forward_hooks for module in model.modules())
    linear = next(one for one in by_kind(layers) if one.kind == "Linear")
    assert linear.name == "2"
    assert linear.seconds == sum(one.seconds for one in layers if one.kind == "Linear")


def test_random_objects_lie_within_the_image_and_fill_their_masks():
    draw = torch.Generator().manual_seed(0)
    batch = random_batch(2, 40, classes=5, masks=True, draw=draw)
    assert batch["image"].shape == (2, 64, 64, 3)
    assert batch["size"] == [(40, 40)] * 2
    for boxes, labels, masks in zip(batch["boxes"], batch["labels"], batch["masks"], strict=True):
        sides = boxes[:, 2:] - boxes[:, :2]
        assert boxes.min() >= 0
        assert boxes.max() <= 40
        assert sides.min() > 0
        assert labels.max() < 5
        assert masks.shape == (7, 40, 40)
        assert all(
            abs(mask.sum() - side.prod()) <= side.sum() + 1
            for mask, side in zip(masks, sides, strict=True)
        )


def test_threads_are_set_for_the_time_alone():
    before = torch.get_num_threads()
    with using_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with using_threads(None):
        assert torch.get_num_threads() == before


def test_missing_sizes_are_the_usual_ones_of_the_task():
    empty = BenchmarkSettings(**{**SETTINGS, "batch_sizes": None, "image_size": None})
    usual = empty.completed(SegmentationTask.benchmark_sizes)
    assert (usual.batch_sizes, usual.image_size) == ((1, 2), 512)
    assert empty.completed(DetectionTask.benchmark_sizes).classes == 5
    assert ClassificationTask.benchmark_sizes == BenchmarkSizes(224, (1, 8), 1000)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("passes", ["sleeping"]),
        ("passes", "inference"),
        ("variants", []),
        ("variants", ["plain", "plain"]),
        ("batch_sizes", 8),
        ("batch_sizes", [0]),
        ("image_size", 22.5),
        ("classes", True),
        ("threads", 0),
        ("seconds", "long"),
        ("seconds", 0),
        ("layers", "yes"),
    ],
)
def test_settings_that_cannot_be_are_refused(setting, value):
    with pytest.raises(SettingError, match=f"benchmark.{setting}="):
        BenchmarkSettings(**{**SETTINGS, setting: value})


def test_a_model_that_is_folded_says_the_same(build_tiny):
    benchmark: Benchmark = build_tiny()
    (task,) = benchmark.tasks.values()
    plain, folded = (Model("tiny", "plain", task).in_variant(v) for v in ("plain", "folded"))
    x = torch.randn(2, 3, 32, 32)
    for model in (plain, folded):
        model.train(False)
    assert learned_layers(plain.task)
    assert not learned_layers(folded.task)
    torch.testing.assert_close(folded.network(x), plain.network(x), atol=1e-5, rtol=1e-4)
    assert learned_layers(task), "the original is left as it is"


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_timed_training_leaves_the_weights_and_the_zeros_of_folded_kernels(build_tiny):
    benchmark: Benchmark = build_tiny()
    (task,) = benchmark.tasks.values()
    model = Model("tiny", "plain", task).in_variant("folded")
    before = {name: value.clone() for name, value in model.task.named_parameters()}
    assert any((value == 0).any() for name, value in before.items() if "dwconv.weight" in name)
    batch = model.task.random_batch(2, 32, torch.Generator().manual_seed(0))
    batch["unreadable"] = []
    step = TrainingStep(model, batch, nullcontext)
    step()
    step()
    assert all(torch.equal(value, before[n]) for n, value in model.task.named_parameters())
    state = model.optimizer.state[model.task.backbone.stages[0][0].dwconv.weight]
    assert state["exp_avg"].abs().sum() > 0, "the optimizer did its work"


@pytest.fixture
def build_tiny():
    """A benchmark of a tiny classifier, without the command."""
    from hydra import compose, initialize_config_module

    from tasks.build_benchmark import build_benchmark

    def build(*overrides):
        tiny = ("+backbone.depths=[1,1,1,1]", "+backbone.dims=[4,4,8,8]", "trainer=cpu")
        sizes = ("benchmark.image_size=32", "benchmark.classes=5")
        with initialize_config_module("conf", version_base="1.3"):
            config = compose("run", overrides=["mode=benchmark", *tiny, *sizes, *overrides])
        return build_benchmark(config)

    return build
