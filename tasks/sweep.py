"""The end of a sweep: a table over its jobs."""

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from tasks.failures import FAILURE_FILE


class SweepTable(Callback):
    """Hydra calls this when all jobs of `-m` have ended; a failed job makes the exit code 1."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table over the jobs and write it into the sweep's folder."""
        from tasks.reporting.sweep import sweep_table

        folder = Path(config.hydra.sweep.dir)
        sweep_table(folder)
        if any(folder.glob(f"*/{FAILURE_FILE}")):
            sys.exit(1)
