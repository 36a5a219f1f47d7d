"""`mode=benchmark` from the command."""

import json

import pytest
import torch
from commands import TINY_SHAPES, refused
from omegaconf import OmegaConf

import dcls

BACKBONE = ("+backbone.depths=[1,1,1,1]", "+backbone.dims=[4,4,8,8]")
QUICK = (
    "mode=benchmark",
    "figures=false",
    "trainer=cpu",
    "benchmark.image_size=32",
    "benchmark.batch_sizes=[2]",
    "benchmark.classes=5",
    "benchmark.seconds=0.05",
)
TINY = (*QUICK, *BACKBONE)
PASSES = ("inference", "training")
TASKS = {
    "cls": (),
    "seg": ("task.decode_head.channels=8", "task.auxiliary_head.channels=8"),
    "det": ("task.channels=8", "task.width=16", "task.proposals=20", "task.samples=16"),
}


def cases(ended):
    found = [one for one in ended.results["records"] if one["what"] == "case"]
    return {(r["model"], r["variant"], r["pass"], r["batch_size"]): r for r in found}


@pytest.fixture(autouse=True)
def short_warm_up(monkeypatch):
    """Half a second for each case would be most of a test's time."""
    monkeypatch.setattr("tasks.benchmark.timing.WARM_UP_SECONDS", 0.0)


@pytest.mark.parametrize("task", TASKS)
def test_a_model_of_every_task_is_timed_folded_and_not_in_both_passes(run, task):
    ended = run(*TINY, f"task={task}", *TASKS[task], "figures=true")
    assert ended.code == 0, ended.err
    assert ended.folder.parent.name == "benchmark"
    assert ended.folder.name.endswith(f"-convnext_dcls_yocto-{task}")
    found = cases(ended)
    assert set(found) == {
        ("convnext_dcls_yocto", variant, kind, 2)
        for variant in ("plain", "folded")
        for kind in PASSES
    }
    for (_, variant, kind, batch), one in found.items():
        assert one["failure"] is None
        latency = one["latency_seconds"]
        assert 0 < latency["shortest"] <= latency["p50"] <= latency["p95"] <= latency["longest"]
        assert latency["samples"] >= latency["rounds"] >= 3
        assert one["images_per_second"]["median"] == pytest.approx(batch / latency["p50"])
        assert one["peak_bytes"] > 0
        assert one["weight_bytes"] == 4 * one["parameters"]
        assert one["counted_on"] == ("cpu" if task == "det" else "meta")
        name = f"{kind}/images_per_second/convnext_dcls_yocto/{variant}/{batch}"
        assert ended.results["metrics"][name] == one["images_per_second"]["median"]
        if variant == "plain":
            assert one["relative_throughput"]["median"] == 1
    for kind in PASSES:
        plain, folded = (found["convnext_dcls_yocto", v, kind, 2] for v in ("plain", "folded"))
        assert plain["multiply_adds"] >= folded["multiply_adds"] > 0
    held = [found["convnext_dcls_yocto", "plain", k, 2]["peak_bytes"] for k in PASSES]
    assert task == "det" or held[0] < held[1]  # inference alone pastes masks
    assert (ended.folder / "figures/throughput.png").is_file()
    assert "x of convnext_dcls_yocto" in ended.out
    assert not torch.is_inference_mode_enabled()


def test_results_name_machine_settings_and_the_spread_positions(run):
    ended = run(*TINY, "benchmark.passes=[inference]", "benchmark.threads=1")
    results = ended.results
    assert results["mode"] == "benchmark"
    assert results["facts"]["threads"] == 1
    assert results["facts"]["precision"] == "32-true"
    assert results["facts"]["device"] == "cpu"
    assert "1 threads" in results["provenance"]["machine"]
    assert results["provenance"]["versions"]["torch"]
    assert any("drawn uniformly over the kernels" in note for note in results["notes"])
    saved = OmegaConf.load(ended.folder / "config.yaml")
    assert saved.backbone.stem_stride == 4  # as published, not as for shapes
    headline = [k for k in results["metrics"] if k.count("/") == 1]
    assert headline == ["inference/images_per_second_batch_2"]
    assert "convnext_dcls_yocto folded" in (ended.folder / "report.md").read_text()


@pytest.mark.parametrize("depthwise", ["torch", "triton"])
def test_what_convolves_is_chosen_and_named(run, monkeypatch, depthwise):
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(dcls.depthwise, "backend", "auto")  # as it is afterwards
    computed = []

    def convolve(x, weight, bias, dtype):
        computed.append(x.device.type)
        return torch.nn.functional.conv2d(x, weight, bias, padding="same", groups=len(weight))

    monkeypatch.setattr("dcls.gpu.autograd.depthwise", convolve)
    ended = run(*TINY, f"depthwise={depthwise}", "benchmark.variants=[plain]")
    assert ended.code == 0, ended.err
    assert ended.results["facts"]["depthwise"] == depthwise
    assert set(computed) == ({"cpu"} if depthwise == "triton" else set())


def test_models_are_compared_a_timm_model_among_them(run):
    ended = run(
        *TINY,
        "compare=[timm/test_convnext,convnext_dcls_yocto]",
        "benchmark.passes=[inference]",
        "benchmark.batch_sizes=[1,2]",
    )
    assert ended.code == 0, ended.err
    found = cases(ended)
    models = ("convnext_dcls_yocto", "timm/test_convnext", "convnext_dcls_yocto-2")
    assert list(dict.fromkeys(key[0] for key in found)) == list(models)
    assert ("timm/test_convnext", "folded", "inference", 1) not in found
    for key, one in found.items():
        own, reference = one["latency_seconds"], found[models[1], "plain", "inference", key[3]]
        assert one["relative_throughput"]["low"] > 0
        assert own["rounds"] == reference["latency_seconds"]["rounds"]
    assert found[models[1], "plain", "inference", 2]["relative_throughput"]["median"] == 1
    assert found[models[2], "plain", "inference", 2]["parameters"] > 1e6  # as published, not tiny
    assert "x of timm/test_convnext" in ended.out


def test_layers_are_timed_on_request(run):
    ended = run(*TINY, "benchmark.layers=true", "benchmark.passes=[training]")
    assert ended.code == 0, ended.err
    layers = [one for one in ended.results["records"] if one["what"] == "layer"]
    plain = [one for one in layers if one["model"] == "convnext_dcls_yocto"]
    assert {"Dcls2d", "Linear", "GELU", "between layers"} <= {one["kind"] for one in plain}
    assert sum(one["share"] for one in plain) == pytest.approx(1)
    folded = {one["kind"] for one in layers if one["model"] == "convnext_dcls_yocto folded"}
    assert "DepthwiseConv2d" in folded
    assert "Dcls2d" not in folded
    page = (ended.folder / "report.md").read_text()
    assert "Layers of convnext_dcls_yocto folded in inference" in page


def test_what_cannot_be_compiled_becomes_a_row_that_says_why(run, monkeypatch):
    def no_compiler(*_, **__):
        raise RuntimeError("no working C++ compiler\nis there")

    def compiled(function, **_):
        return no_compiler

    monkeypatch.setattr(torch, "compile", compiled)
    ended = run(*TINY, "benchmark.variants=[plain,compiled]", "benchmark.passes=[inference]")
    assert ended.code == 0, ended.err
    found = cases(ended)
    broken = found["convnext_dcls_yocto", "compiled", "inference", 2]
    assert broken["failure"] == "RuntimeError: no working C++ compiler"
    assert broken["latency_seconds"] is None
    assert (
        broken["multiply_adds"]
        == found["convnext_dcls_yocto", "plain", "inference", 2]["multiply_adds"]
    )
    assert found["convnext_dcls_yocto", "plain", "inference", 2]["failure"] is None
    assert "not measured: RuntimeError: no working C++ compiler" in ended.out
    assert ended.results["facts"]["not_measured"] == 1
    assert (ended.folder / "report.html").is_file()


def test_the_backbone_is_compiled_once_for_every_case(run, monkeypatch):
    real, graphs = torch.compile, []

    def backend(graph, inputs):
        graphs.append(inputs)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda f, **given: real(f, backend=backend, **given))
    torch.compiler.reset()
    with torch.compiler.config.patch(recompile_limit=1):
        ended = run(
            *TINY,
            "benchmark.variants=[compiled,folded+compiled]",
            "benchmark.batch_sizes=[2,3]",
            "benchmark.passes=[inference]",
        )
    torch.compiler.reset()
    assert ended.code == 0, ended.err
    assert ended.results["facts"]["not_measured"] == 0
    assert len(graphs) == 2 * 2  # more than PyTorch would compile by itself before it gives up


def test_one_image_that_cannot_be_trained_on_leaves_the_other_cases(run):
    ended = run(*TINY, "task=seg", *TASKS["seg"], "benchmark.batch_sizes=[1,2]")
    assert ended.code == 0, ended.err
    found = cases(ended)
    failed = {key[1:] for key, one in found.items() if one["failure"]}
    assert failed == {(variant, "training", 1) for variant in ("plain", "folded")}
    assert "Expected more than 1 value per channel" in ended.out


def test_weights_of_a_run_bring_their_backbone_and_keep_their_positions(run, fitted):
    trained = fitted(*TINY_SHAPES)
    checkpoint = trained.folder / "checkpoints/best.ckpt"
    settings = [o for o in QUICK if "classes" not in o]
    wrong = run(*settings, f"ckpt={checkpoint}", "benchmark.classes=1000")
    refused(wrong, "benchmark.classes=1000", "classes")
    assert wrong.folders == []
    ended = run(*settings, f"ckpt={checkpoint}")  # with the classes of the run
    assert ended.code == 0, ended.err
    saved = OmegaConf.load(ended.folder / "config.yaml")
    assert list(saved.backbone.dims) == [4, 4, 8, 8]
    assert saved.backbone.stem_stride == 2  # as it was trained
    assert not any("drawn uniformly" in note for note in ended.results["notes"])
    other = run(*settings, f"ckpt={checkpoint}", "task=seg")
    refused(other, "is a model of task=cls")


def test_recipes_of_other_tasks_need_no_dataset(run):
    ended = run(
        *TINY,
        "experiment=ade20k_upernet_convnext_dcls_tiny",
        *TASKS["seg"],
        "benchmark.passes=[inference]",
        "benchmark.variants=[plain]",
    )
    assert ended.code == 0, ended.err
    (one,) = cases(ended).values()
    assert one["model"] == "convnext_dcls_tiny"
    assert one["failure"] is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["compare=[convnext_tinny]"], ["No backbone is called 'convnext_tinny'", "convnext_tiny"]),
        (["compare=timm/resnet5"], ["timm/resnet5", "timm/resnet50"]),
        (["benchmark.image_size=16"], ["benchmark.image_size=16", "stride"]),
        (["benchmark.passes=[sleeping]"], ["inference or training"]),
        (["benchmark.variants=[bent]"], ["folded+compiled"]),
        (["benchmark.batch_sizes=[0]"], ["benchmark.batch_sizes=[0]"]),
        (["compile=true"], ["benchmark.variants=[plain,compiled]"]),
        (["trainer.precision=64-true"], ["trainer.precision=64-true", "bf16-mixed"]),
        (["trainer.accelerator=abacus"], ["trainer.accelerator=abacus"]),
        (["ckpt=nowhere.ckpt"], ["nowhere.ckpt is not a file"]),
        (["ckpt=[a,b]"], ["mode=benchmark takes one"]),
    ],
)
def test_what_is_refused_leaves_no_folder(run, settings, said):
    ended = run(*TINY, *settings)
    refused(ended, *said)
    assert ended.folders == []


def test_unknown_names_are_refused_before_anything_is_built(run, monkeypatch):
    def built(*_):
        raise AssertionError("a model was built")

    monkeypatch.setattr("tasks.build_benchmark.build_task", built)
    refused(run(*TINY, "compare=[convnext_yokto]"), "convnext_yocto")


def test_a_run_folder_is_never_overwritten(run, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "note.txt").write_text("mine")
    refused(run(*TINY, f"run_dir={taken}"), "already holds files")
    assert [path.name for path in taken.iterdir()] == ["note.txt"]


def test_a_sweep_shows_the_throughput_of_each_job(run, tmp_path):
    ended = run("-m", *TINY, "benchmark.passes=[inference]", "benchmark.batch_sizes=[1],[2]")
    assert ended.code == 0, ended.err
    (sweep,) = tmp_path.glob("runs/*/*/sweep.json")
    jobs = json.loads(sweep.read_text())
    assert [job["status"] for job in jobs] == ["finished"] * 2
    first, second = ({k: v for k, v in job["metrics"].items() if v is not None} for job in jobs)
    assert list(first) == ["inference/images_per_second_batch_1"]
    assert list(second) == ["inference/images_per_second_batch_2"]
