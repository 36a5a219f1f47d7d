"""The setting `trainer.precision`: every value in every task, clipping, and what is refused."""

from math import isfinite
from typing import NamedTuple

import pytest
import torch
from commands import TINY_SHAPES, Ended, command, refused
from detection import DET_SHAPES
from gradient_norms import SETTINGS as RECORDED
from gradient_norms import GradientNorms
from optimization import SETTINGS
from segmentation import SEG_SHAPES
from torch import nn
from torch.amp import GradScaler
from torch.nn.modules.module import register_module_forward_hook

from tasks.data.pixels import Pixels
from tasks.engine import precision
from tasks.engine.optimization import build_optimizer
from tasks.engine.precision import ClippingMixedPrecision, resolved_precision

TASKS = {"cls": TINY_SHAPES, "seg": SEG_SHAPES, "det": DET_SHAPES}
FIGURE = {"cls": "test/loss", "seg": "test/aacc", "det": "test/box_ar100"}
CLIP = 0.01


class Fitted(NamedTuple):
    """A run in some precision, with a fused optimizer, and the norms of its clipped gradients."""

    task: str
    form: str
    ended: Ended
    fused: bool
    norms: list[float]


FORMS = ("bf16-mixed", "16-mixed", "64-true")


@pytest.fixture(scope="module", params=[(t, f) for f in FORMS for t in TASKS], ids="-".join)
def fitted(request, tmp_path_factory):
    task, form = request.param
    ended = command(
        tmp_path_factory.mktemp("fitted"),
        *TASKS[task],
        *RECORDED,
        f"trainer.precision={form}",
        f"trainer.gradient_clip_val={CLIP}",
        "optim.fused=true",
        "optim.ema_decay=0.5",
    )
    assert ended.code == 0, ended.err
    return Fitted(task, form, ended, GradientNorms.fused, GradientNorms.norms)


def test_a_fused_optimizer_is_clipped(fitted):
    assert fitted.fused
    finite = [norm for norm in fitted.norms if isfinite(norm)]
    assert finite  # the scaler of 16-mixed leaves out steps whose gradients are too large for it
    assert fitted.form == "16-mixed" or len(finite) == len(fitted.norms)
    assert finite == pytest.approx([CLIP] * len(finite), rel=1e-3)


def test_without_clipping_gradients_are_larger(run):
    settings = (*TINY_SHAPES, *RECORDED, "trainer.precision=bf16-mixed", "optim.fused=true")
    assert run(*settings, "trainer.gradient_clip_val=null").code == 0
    assert min(GradientNorms.norms) > 10 * CLIP
    assert run(*TINY_SHAPES, *RECORDED).code == 0
    assert not GradientNorms.fused  # the documented figures are those of the plain form


def test_every_precision_fits_and_tests_every_task(run, fitted):
    task, form, ended, *_ = fitted
    assert ended.code == 0, ended.err
    best = ended.folder / "checkpoints/best.ckpt"
    tested = run(*TASKS[task], f"trainer.precision={form}", "mode=test", f"ckpt={best}")
    assert tested.code == 0, tested.err
    figure = FIGURE[task]
    expected = ended.results["metrics"][figure]
    assert tested.results["metrics"][figure] == pytest.approx(expected, abs=1e-6)
    if task != "cls" and form != "64-true":
        return  # autocast treats the network in robustness as in a test
    evaluated = run(
        "task=robustness",
        "figures=false",
        "trainer=cpu",
        "dataset.workers=0",
        "corruptions=[fog]",
        f"trainer.precision={form}",
        f"ckpt={best}",
    )
    assert evaluated.code == 0, evaluated.err


def test_weights_and_their_average_have_the_type_asked_for(fitted):
    _, form, ended, *_ = fitted
    checkpoint = torch.load(ended.folder / "checkpoints/last.ckpt", weights_only=True)
    wanted = torch.float64 if form == "64-true" else torch.float32
    for part in ("state_dict", "current_model_state"):
        weights = [v for v in checkpoint[part].values() if v.is_floating_point()]
        assert {weight.dtype for weight in weights} == {wanted}
        if form == "64-true":  # rounded nowhere
            assert all((w.double() != w.float()).any() for w in weights if w.numel() > 100)


@pytest.mark.parametrize("mode", ["fit", "benchmark"])
@pytest.mark.parametrize("task", TASKS)
def test_weights_in_half_precision_are_refused_before_there_is_a_folder(run, task, mode):
    ended = run(*TASKS[task], f"mode={mode}", "trainer.precision=bf16-true")
    refused(ended, "trainer.precision=bf16-true", "positions", "Set trainer.precision=bf16-mixed")
    assert not ended.folders


def test_an_unknown_precision_is_refused_with_the_choices(run):
    ended = run(*TINY_SHAPES, "trainer.precision=bf17")
    refused(ended, "trainer.precision=bf17", "auto, 32-true, bf16-mixed, 16-mixed, 64-true")
    assert not ended.folders


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("form", ["auto", "32-true"])
def test_a_gpu_that_is_not_there_is_refused_before_there_is_a_folder(run, form):
    ended = run(*TINY_SHAPES, "trainer=gpu", f"trainer.precision={form}")
    refused(ended, "trainer.accelerator=gpu", "Set trainer=cpu")
    assert not ended.folders


def test_an_unknown_accelerator_is_refused_before_there_is_a_folder(run):
    ended = run(*TINY_SHAPES, "trainer.accelerator=abacus")
    refused(ended, "trainer.accelerator=abacus", "auto, cpu, gpu")
    assert not ended.folders


def test_a_benchmark_computes_in_the_precision_asked_for(run):
    seen = []

    def record(module, inputs, output):
        seen.append(output.dtype)

    with register_module_forward_hook(record):
        ended = run(
            *TINY_SHAPES,
            "mode=benchmark",
            "trainer.precision=16-mixed",
            "benchmark.passes=[inference]",
            "benchmark.variants=[plain]",
            "benchmark.seconds=0.01",
            "benchmark.batch_sizes=[1]",
            "benchmark.image_size=32",
            "benchmark.classes=3",
        )
    assert ended.code == 0, ended.err
    assert ended.results["facts"]["precision"] == "16-mixed"
    assert torch.float16 in seen
    assert torch.bfloat16 not in seen


def test_lightnings_short_names_are_known():
    for name, meant in ((32, "32-true"), ("16", "16-mixed"), ("bf16", "bf16-mixed")):
        assert resolved_precision(name, "cpu") == meant
    assert resolved_precision("auto", "cpu") == "32-true"


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bfloat16_where_the_gpu_computes_in_it(monkeypatch, native):
    def supported(including_emulation=True):
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert resolved_precision("auto", "gpu") == ("bf16-mixed" if native else "32-true")
    assert resolved_precision("auto", "cpu") == "32-true"


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_scaled_gradients_are_unscaled_once_whether_fused_or_not(clip):
    """As in 16-mixed: loss scaled, clipped by the plugin, stepped by the scaler."""
    ends = []
    for fused in (True, False):
        torch.manual_seed(0)
        layer = nn.Linear(8, 4)
        groups = [{"params": list(layer.parameters())}]
        settings = {**vars(SETTINGS), "lr": 0.1, "fused": fused}
        optimizer = build_optimizer(groups, type(SETTINGS)(**settings))
        assert precision.is_fused(optimizer) is fused
        scaler = GradScaler("cpu", init_scale=1024.0)
        plugin = ClippingMixedPrecision("16-mixed", "cpu", scaler)
        for _ in range(3):
            scaler.scale(layer(torch.randn(16, 8)).square().sum()).backward()
            if not fused:
                scaler.unscale_(optimizer)  # as Lightning does
            plugin.clip_gradients(optimizer, clip)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        ends.append([p.detach().clone() for p in layer.parameters()])
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("value", ["always", 2])
def test_fused_is_auto_true_or_false(run, value):
    ended = run(*TINY_SHAPES, f"optim.fused={value}")
    refused(ended, f"optim.fused={value} must be true or false, or auto")
    assert not ended.folders


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixels_are_of_the_networks_type_wherever_they_go(dtype):
    task = nn.Sequential(Pixels((0.5,) * 3, (0.25,) * 3)).to(dtype).to("cpu")
    images = torch.randint(0, 256, (1, 4, 4, 3), dtype=torch.uint8)
    exact = (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    assert task(images).dtype == dtype
    torch.testing.assert_close(task(images).float(), exact)
