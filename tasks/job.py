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
from tasks.build import Job, build_data, build_job, build_task
from tasks.modes import MODES, Outcome
from tasks.reporting.console import print_results
from tasks.reporting.page import Section
from tasks.reporting.positions import Movement
from tasks.reporting.provenance import Provenance
from tasks.reporting.results import Results
from tasks.reporting.run_report import write_run_report
from tasks.run_folder import claim_run_folder
from tasks.settings import check_settings
from tasks.training.callbacks import positions_of
from tasks.training.gathering import gather_lists
from tasks.training.processes import job_processes


def run_job(config: DictConfig) -> None:
    """Check, build, run a mode, and report; a check that fails leaves no folder behind.

    Args:
        config: the composed configuration.
    """
    started = time.monotonic()
    check_settings(config)
    overrides = list(HydraConfig.get().overrides.task)
    provenance = Provenance.gather(overrides, config.seed)
    L.seed_everything(config.seed, workers=True, verbose=False)
    data = build_data(config)
    task = build_task(config, data)
    folder = claim_run_folder(config.runs, config.task.name, config.name, config.run_dir)
    with job_processes(overrides, folder) as children:
        job = build_job(config, data, task, folder)
        if job.trainer.is_global_zero:
            OmegaConf.save(config, folder / "config.yaml", resolve=True)
        try:
            outcome = MODES[config.mode](job)
            outcome.facts["unreadable_samples"] = len(set(gather_lists([*task.unreadable])))
            sections = task.sections()
        finally:
            children += getattr(job.trainer.strategy.launcher, "procs", [])
        if job.trainer.is_global_zero:
            seconds = time.monotonic() - started
            results = _results(config, provenance, outcome, seconds)
            _report(job, results, sections, folder)


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
    )


def _report(job: Job, results: Results, sections: Sequence[Section], folder: Path) -> None:
    results.write(folder)
    page = write_run_report(results, folder, sections, _save_positions(job, folder))
    print_results(results, page)


def _save_positions(job: Job, folder: Path) -> dict[str, Movement]:
    """Keep positions before and after training as plain data, and return them for the pictures."""
    before, after = job.initial_positions, positions_of(job.task)
    if not before:
        return {}
    tensors = {f"initial/{k}": v for k, v in before.items()}
    save_file(
        tensors | {f"learned/{k}": v for k, v in after.items()}, folder / "positions.safetensors"
    )
    return {
        name.removeprefix("backbone."): Movement(
            initial=before[name].flatten(1, -2).numpy(),
            learned=after[name].flatten(1, -2).numpy(),
            reach=float(max(_layer(job, name).dilated_kernel_size) // 2),
            row_axes=row_axes(_layer(job, name).version, 2),
        )
        for name in before
    }


def _layer(job: Job, name: str) -> DclsNd:
    return cast(DclsNd, job.task.get_submodule(name))
