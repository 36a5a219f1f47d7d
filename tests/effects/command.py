"""Settings at the top of `conf/run.yaml`, and those of the benchmark."""

from unittest.mock import patch

from builds import with_settings

import dcls.depthwise
from effects.models import DETECTOR, MIRRORED, SLIDING, VIEWS
from effects.probes import with_masks
from effects.rows import Effect, Elsewhere
from tasks.benchmark import timing
from tasks.build_benchmark import build_benchmark
from tasks.depthwise import set_depthwise


def backend(case):
    """What depthwise convolutions compute with, once a job has set it."""
    with patch.object(dcls.depthwise, "backend", "auto"):
        set_depthwise(case.config)
        return dcls.depthwise.backend


def corrupted_image(case):
    return case.image("test").tolist()


TOP = {
    "mode.name": Elsewhere(
        "test_run.py::test_testing_a_checkpoint_gives_the_figures_of_its_run", "mode=test"
    ),
    "mode._target_": Elsewhere(
        "test_run.py::test_testing_a_checkpoint_gives_the_figures_of_its_run", "mode=test"
    ),
    "plugins": Elsewhere("test_plugins.py::test_everything_that_can_be_added_from_outside"),
    "seed": Elsewhere(
        "test_run.py::test_the_same_seed_gives_the_same_figures_and_another_does_not"
    ),
    "ckpt": Elsewhere("test_run.py::test_resuming_goes_on_at_the_next_epoch"),
    "compile": Elsewhere("test_training_step.py::test_compile_makes_the_backbone_run_compiled"),
    "depthwise": Effect("torch", backend, expected="torch"),
    "debug": Elsewhere("test_errors.py::test_debug_shows_where_it_was_raised"),
    "name": Elsewhere("test_every_setting.py::test_a_run_lies_where_it_is_told_under_its_name"),
    "runs": Elsewhere("test_every_setting.py::test_a_run_lies_where_it_is_told_under_its_name"),
    "run_dir": Elsewhere("test_run.py::test_a_run_folder_is_never_overwritten"),
    "detector": (DETECTOR, Effect("faster_rcnn", with_masks, expected=False, tasks=("det",))),
    "figures": Elsewhere(
        "test_det_run.py::test_fit_on_shapes_leaves_figures_images_and_detections",
        "figures=true",
    ),
    "eval": SLIDING,
    "tta": (MIRRORED, VIEWS),
    "corruption": Effect("fog/5", corrupted_image, tasks=("cls", "seg", "det")),
    "profile": Effect("imagenet-c", corrupted_image, base={"corruption": "fog/3"}),
    "corruptions": Elsewhere(
        "test_robustness_run.py::test_copies_have_the_tree_of_imagenet_c_and_are_gone_on_with"
    ),
    "limit": Elsewhere(
        "test_robustness_run.py::test_copies_have_the_tree_of_imagenet_c_and_are_gone_on_with"
    ),
    "out": Elsewhere(
        "test_robustness_run.py::test_copies_have_the_tree_of_imagenet_c_and_are_gone_on_with"
    ),
    "experiment.task": Elsewhere(
        "test_configs.py::test_an_experiment_of_another_task_is_refused", "recipe of task=cls"
    ),
    "compare": Elsewhere(
        "test_robustness_run.py::test_several_models_see_the_same_images_and_are_compared"
    ),
}
"""`corruption` and what goes with it: see also `tests/tasks/test_robustness_run.py`."""


NO_DATA = {"dataset": {"name": "random", "tasks": ["cls"]}}
"""What stands for a data set in a benchmark."""


def benchmark_findings(case):
    """What a benchmark of one case finds, within milliseconds."""
    config = with_settings(case.config, {**NO_DATA, "backbone.stem_stride": 4})
    with (
        patch.object(timing, "WARM_UP_SECONDS", 0.0),
        patch.object(timing, "FEWEST_ROUNDS", 1),
        patch.object(timing, "LONGEST_BURST", 1),
    ):
        return build_benchmark(config).run()


def cases(field):
    """A field of the cases that are timed."""

    def probe(case):
        return sorted({getattr(one.case, field) for one in benchmark_findings(case).measurements})

    return probe


def measured(field):
    """A field of the only case that is timed."""

    def probe(case):
        (one,) = benchmark_findings(case).measurements
        return getattr(one, field)

    return probe


def multiply_adds(case):
    return measured("counts")(case).multiply_adds


def seconds_of_timing(case):
    """For how long the only case is timed."""
    given = []

    def time_by_turns(steps, bursts, device, seconds, tell):
        given.append(seconds)
        return timing.time_by_turns(steps, bursts, device, 1e-3, tell)

    with patch("tasks.benchmark.benchmark.time_by_turns", time_by_turns):
        benchmark_findings(case)
    return given


ONE_CASE = {
    "benchmark.passes": ["inference"],
    "benchmark.variants": ["plain"],
    "benchmark.batch_sizes": [2],
    "benchmark.image_size": 32,
    "benchmark.classes": 5,
    "benchmark.seconds": 0.01,
}
OF_BENCHMARK = ("benchmark",)
"""Composed with mode=benchmark."""
BENCHMARK = {
    "benchmark.passes": Effect(["training"], cases("kind"), ["training"], ONE_CASE, OF_BENCHMARK),
    "benchmark.variants": Effect(["folded"], cases("variant"), ["folded"], ONE_CASE, OF_BENCHMARK),
    "benchmark.batch_sizes": Effect([3, 4], cases("batch_size"), [3, 4], ONE_CASE, OF_BENCHMARK),
    "benchmark.image_size": Effect(
        64, lambda c: measured("counts")(c).multiply_adds, base=ONE_CASE, tasks=OF_BENCHMARK
    ),
    "benchmark.classes": Effect(10, measured("weight_bytes"), base=ONE_CASE, tasks=OF_BENCHMARK),
    "benchmark.seconds": Effect(30, seconds_of_timing, [30], ONE_CASE, OF_BENCHMARK),
    "benchmark.layers": Effect(
        True, lambda case: bool(benchmark_findings(case).layers), True, ONE_CASE, OF_BENCHMARK
    ),
    "benchmark.threads": Elsewhere(
        "test_benchmark_run.py::test_results_name_machine_settings_and_the_spread_positions"
    ),
}

COMMAND = {**TOP, **BENCHMARK}
