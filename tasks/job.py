"""One job, from its configuration to its report."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import lightning as L
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file

from dcls.interpolation import row_axes
from dcls.ndlayer import DclsNd
from tasks.benchmark.outcome import benchmark_outcome
from tasks.benchmark.report import headline_table, main_table
from tasks.benchmark.report import sections as benchmark_sections
from tasks.benchmark.timing import using_threads
from tasks.build import Job, build_job, build_task
from tasks.build_benchmark import benchmarked, build_benchmark
from tasks.build_corruption import build_altered_data, write_corrupted
from tasks.build_evaluation import build_evaluation
from tasks.data.loaders import TaskData
from tasks.depthwise import set_depthwise
from tasks.engine.callbacks import positions_of
from tasks.engine.gathering import gather_lists
from tasks.engine.task import Task
from tasks.explicit import explicit_settings
from tasks.modes import BENCHMARK, CORRUPT, MODES, ROBUSTNESS, Outcome
from tasks.opening import print_benchmark, print_job
from tasks.processes import job_processes
from tasks.reporting.console import print_results
from tasks.reporting.page import Section
from tasks.reporting.positions import Movement
from tasks.reporting.provenance import Provenance
from tasks.reporting.results import Results
from tasks.reporting.run_report import write_run_report
from tasks.run_folder import claim_run_folder, removed_if_refused, write_protocol
from tasks.settings import check_kinds, check_settings
from tasks.subjects import with_subject


def run_job(config: DictConfig) -> None:
    """Check, build, run a mode, and report; a check that fails leaves no folder behind.

    Args:
        config: the composed configuration.
    """
    started = time.monotonic()
    check_kinds(config)
    config = benchmarked(config) if config.mode == BENCHMARK else with_subject(config)
    check_settings(config)
    set_depthwise(config)
    overrides = list(HydraConfig.get().overrides.task)
    provenance = Provenance.gather(overrides, config.seed)
    L.seed_everything(config.seed, workers=True, verbose=False)
    if config.mode == CORRUPT:
        write_corrupted(config, provenance)
        return
    if config.mode == BENCHMARK:
        _benchmark(config, overrides, started)
        return
    data, task = _build(config)
    level = ROBUSTNESS if config.mode == ROBUSTNESS else config.task.name
    folder = claim_run_folder(config.runs, level, config.name, config.run_dir, task.protocol)
    with job_processes(settled(overrides, config), folder) as children:
        with removed_if_refused(folder):
            job = build_job(config, data, task, folder)
        if job.trainer.is_global_zero:
            if task.protocol is not None:
                write_protocol(folder, task.protocol)
            OmegaConf.save(config, folder / "config.yaml", resolve=True)
            print_job(config, job, folder)
        try:
            outcome = MODES[config.mode](job)
            outcome.notes += job.notes
            unreadable = len(set(gather_lists([*task.unreadable])))
            outcome.facts.setdefault("unreadable_samples", unreadable)
            sections = task.sections()
        finally:
            children += getattr(job.trainer.strategy.launcher, "procs", [])
        if job.trainer.is_global_zero:
            seconds = time.monotonic() - started
            results = _results(config, provenance, outcome, seconds)
            _report(job, results, sections, folder, config.figures)


def _benchmark(config: DictConfig, overrides: list[str], started: float) -> None:
    """Time models; everything that can be refused is looked at before there is a folder."""
    benchmark = build_benchmark(config)
    folder = claim_run_folder(config.runs, BENCHMARK, config.name, config.run_dir)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    with using_threads(config.benchmark.threads):
        print_benchmark(benchmark, config, folder)
        provenance = Provenance.gather(overrides, config.seed)  # which names the threads
        findings = benchmark.run()
    outcome = benchmark_outcome(findings)
    results = _results(config, provenance, outcome, time.monotonic() - started)
    results.write(folder)
    headline, sections = headline_table(findings), benchmark_sections(findings)
    page = write_run_report(results, folder, sections, {}, headline, config.figures)
    print_results(results, page, main_table(findings))


def _build(config: DictConfig) -> tuple[TaskData, Task]:
    if config.mode == ROBUSTNESS:
        return build_evaluation(config)
    data = build_altered_data(config)
    task = build_task(config, data)
    if config.mode == "test":
        task.load_weights(config.ckpt)  # now, so that one that does not fit leaves no folder
    return data, task


def settled(overrides: list[str], config: DictConfig) -> list[str]:
    """The command for other processes, which must not look for the newest run once more."""
    found = config.mode == ROBUSTNESS and not explicit_settings().has("ckpt")
    return [*overrides, f"ckpt='{config.ckpt}'"] if found else overrides


def _results(
    config: DictConfig, provenance: Provenance, outcome: Outcome, seconds: float
) -> Results:
    plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    return Results(
        task=config.task.name,
        name=config.name,
        mode=config.mode,
        metrics=outcome.metrics,
        facts=outcome.facts,
        checkpoint=outcome.checkpoint,
        wall_seconds=round(seconds, 2),
        provenance=provenance.as_plain(),
        config=plain,
        notes=outcome.notes,
        records=outcome.records,
    )


def _report(
    job: Job, results: Results, sections: Sequence[Section], folder: Path, figures: bool
) -> None:
    results.write(folder)
    headline = job.task.headline()
    movements = _save_positions(job, folder)
    page = write_run_report(results, folder, sections, movements, headline, figures)
    print_results(results, page, headline)


def _save_positions(job: Job, folder: Path) -> dict[str, Movement]:
    """Keep positions before and after training as plain data, and return them for the images."""
    before, after = job.initial_positions, positions_of(job.task)
    if not before:
        return {}
    names = {name: job.task.checkpoint_name(name) for name in before}
    tensors = {f"initial/{names[k]}": v for k, v in before.items()}
    save_file(
        tensors | {f"learned/{names[k]}": v for k, v in after.items()},
        folder / "positions.safetensors",
    )
    return {
        names[name].removeprefix("backbone."): Movement(
            initial=before[name].flatten(1, -2).numpy(),
            learned=after[name].flatten(1, -2).numpy(),
            reach=float(max(_layer(job, name).dilated_kernel_size) // 2),
            row_axes=row_axes(_layer(job, name).version, 2),
        )
        for name in before
    }


def _layer(job: Job, name: str) -> DclsNd:
    return cast(DclsNd, job.task.get_submodule(name))
