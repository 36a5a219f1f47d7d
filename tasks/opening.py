"""What a run says when it begins: its folder, and what it will do."""

from pathlib import Path
from typing import cast

import torch
from omegaconf import DictConfig
from torch import nn

from tasks.benchmark.benchmark import Benchmark
from tasks.build import Job
from tasks.modes import BENCHMARK, ROBUSTNESS
from tasks.reporting.console import print_line
from tasks.reporting.progress import joined
from tasks.robustness.task import RobustnessTask


def print_job(config: DictConfig, job: Job, folder: Path) -> None:
    """Say what a run with a trainer will do, and what was set otherwise than by default."""
    print_line(f"run folder: {folder}")
    if config.mode == ROBUSTNESS:
        print_line(_robustness(config, cast(RobustnessTask, job.task)))
    else:
        model = f"{config.backbone.name} ({_size(job.task)})"
        print_line(f"{config.mode}, task={config.task.name}: {model}, {_data(job, config.mode)}")
    print_line(_machine(config, job))
    for note in job.notes:
        print_line(note)


def print_benchmark(benchmark: Benchmark, config: DictConfig, folder: Path) -> None:
    """Say what a benchmark will time."""
    print_line(f"run folder: {folder}")
    precision = str(benchmark.fabric.strategy.precision.precision)
    device = str(benchmark.fabric.device)
    models = " and ".join(f"{name} ({_size(task)})" for name, task in benchmark.tasks.items())
    cases = benchmark.case_count
    seconds = f"about {cases * benchmark.settings.seconds:.3g} s of timing after preparation"
    plural = "s" if cases != 1 else ""
    print_line(
        joined(f"{BENCHMARK}, task={config.task.name}: {models}", f"{cases} case{plural}", seconds)
    )
    threads = f"threads {torch.get_num_threads()}"
    print_line(joined(f"device {device}", f"precision {precision}", threads))


def _robustness(config: DictConfig, task: RobustnessTask) -> str:
    conditions = f"{len(task.cells)} condition{'s' if len(task.cells) != 1 else ''}"
    return joined(
        f"{ROBUSTNESS}: {' and '.join(task.names)} on {task.data.name} under {conditions}",
        f"at most {config.limit:,} images each" if config.limit else None,
    )


def _data(job: Job, mode: str) -> str:
    counts = [f"{job.data.count(split):,} {split}" for split in job.data.splits_of(mode)]
    listed = " and ".join(filter(None, (", ".join(counts[:-1]), counts[-1])))
    altered = "" if job.data.alteration is None else f" under {job.data.alteration}"
    classes = len(job.data.class_names)
    return f"{job.data.name} of {classes:,} classes with {listed} images{altered}"


def _machine(config: DictConfig, job: Job) -> str:
    trainer = job.trainer
    world = trainer.world_size
    return joined(
        f"device {trainer.strategy.root_device}",
        f"{world} processes" if world > 1 else None,
        f"precision {trainer.precision}",
        f"seed {config.seed}",
        f"batches of {job.data.loading.batch_size}",
    )


def _size(model: nn.Module) -> str:
    """Number of parameters, shared ones once."""
    return f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.3g} M parameters"
