"""One job, from its configuration to its report: what is the same in every mode."""

import time
from pathlib import Path
from typing import Any, cast

import lightning as L
from omegaconf import DictConfig, OmegaConf

from tasks.config import command
from tasks.config.checks import check_settings, import_plugins
from tasks.config.schema import check_schema, imported
from tasks.depthwise import set_depthwise
from tasks.modes.mode import Mode, Result
from tasks.processes import job_processes
from tasks.reporting.console import print_line, print_results
from tasks.reporting.metrics import as_plain
from tasks.reporting.provenance import Provenance
from tasks.reporting.results import Results
from tasks.reporting.run_report import write_run_report
from tasks.run_folder import claim_run_folder, removed_if_refused, write_protocol


def run_job(config: DictConfig) -> None:
    """Check, build, run a mode, and report; a check that fails leaves no folder behind.

    Args:
        config: the composed configuration.
    """
    started = time.monotonic()
    import_plugins(config)
    check_schema(config)
    mode_class: type[Mode] = imported("mode", config.mode._target_)
    config = mode_class.with_checkpoint(config)
    check_settings(config, mode_class)
    set_depthwise(config)
    L.seed_everything(config.seed, workers=True, verbose=False)
    mode = mode_class(config)
    if mode.folder_group is None:
        mode.run(_provenance(config))
        return
    folder = claim_run_folder(
        config.runs, mode.folder_group, config.name, config.run_dir, mode.protocol
    )
    arguments = [*command.options(), *command.overrides(), *mode.child_overrides]
    with job_processes(arguments, folder) as children, mode.environment():
        with removed_if_refused(folder):
            mode.start(folder)
        if mode.is_main_process:
            _open(mode, folder)
        provenance = _provenance(config)
        try:
            result = mode.run(provenance)
        finally:
            children += mode.children
        if mode.is_main_process:
            _report(config, provenance, result, time.monotonic() - started, folder)


def _open(mode: Mode, folder: Path) -> None:
    """Write what the run is about into its folder, and say it."""
    if mode.protocol is not None:
        write_protocol(folder, mode.protocol)
    OmegaConf.save(mode.config, folder / "config.yaml", resolve=True)
    for line in (f"run folder: {folder}", *mode.opening()):
        print_line(line)


def _provenance(config: DictConfig) -> Provenance:
    return Provenance.gather(command.overrides(), config.seed)


def _report(
    config: DictConfig, provenance: Provenance, result: Result, seconds: float, folder: Path
) -> None:
    """Write results and report, and print the end of the run."""
    results = Results(
        task=config.task.name,
        name=config.name,
        mode=config.mode.name,
        metrics=result.metrics,
        facts=result.facts,
        checkpoint=result.checkpoint,
        wall_seconds=round(seconds, 2),
        provenance=provenance.as_plain(),
        config=cast(dict[str, Any], OmegaConf.to_container(config, resolve=True)),
        notes=result.notes,
        records=result.records,
        metrics_about=as_plain(result.declared),
    )
    results.write(folder)
    page = write_run_report(
        results, folder, result.sections, result.movements, result.headline, config.figures
    )
    print_results(results, page, result.printed or result.headline)
