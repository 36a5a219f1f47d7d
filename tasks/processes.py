"""One job's processes: what the children of a distributed job are started with, and their end.

Lightning starts the other processes of a job by running this program's command again. In a sweep
that would be the whole sweep, in folders of its own. So while a job runs, the command is this job
alone: its own overrides, no `--multirun`, and the run folder passed on through the environment.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist

from tasks.run_folder import FOLDER_VARIABLE

_RANK_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
LAUNCHER_VARIABLES = ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID")


@contextmanager
def job_processes(
    arguments: Sequence[str], folder: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Set the command that this job's children run; on leaving, wait for them and clean up.

    Args:
        arguments: of the command, without those of a sweep.
        folder: its run folder.

    Yields:
        A list to which the trainer's child processes are to be added.
    """
    command, inherited = sys.argv[:], FOLDER_VARIABLE in os.environ
    external = any(name in os.environ for name in LAUNCHER_VARIABLES) or inherited
    sys.argv = [command[0], *arguments]
    os.environ[FOLDER_VARIABLE] = str(folder)
    children: list[subprocess.Popen[bytes]] = []
    try:
        yield children
    except BaseException:
        for child in children:  # they may wait for this process for ever
            child.kill()
        raise
    finally:
        sys.argv = command
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()
        for child in children:
            child.wait()
        if not external:  # the next job of a sweep starts as if it were the first
            for name in (FOLDER_VARIABLE, *_RANK_VARIABLES):
                os.environ.pop(name, None)
