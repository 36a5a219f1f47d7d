"""Two processes of one run, forked from this one instead of started: nothing is imported anew."""

import os
import socket
import sys
import traceback
import warnings
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra

from tasks.run_folder import FOLDER_VARIABLE

COUNT = 2


def fork_run(folder: Path, *overrides: str) -> Path:
    """Run `python -m tasks.run` in two processes as an external launcher starts them.

    Args:
        folder: where they run.
        overrides: settings of the command.

    Returns:
        The run folder, `distributed` in `folder`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run_folder = folder / "distributed"
    run_folder.mkdir(parents=True)
    environment = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "NODE_RANK": "0",
        "WORLD_SIZE": str(COUNT),
        FOLDER_VARIABLE: str(run_folder),
    }
    sys.stdout.flush()
    sys.stderr.flush()
    children = [_child(folder, environment, rank, overrides) for rank in range(COUNT)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    said = "\n".join((folder / f"rank{rank}.txt").read_text() for rank in range(COUNT))
    assert codes == [0] * COUNT, said
    return run_folder


def _child(folder: Path, environment: dict, rank: int, overrides: tuple[str, ...]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside other threads
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        with (folder / f"rank{rank}.txt").open("w") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ.update(environment, LOCAL_RANK=str(rank))
        os.chdir(folder)
        warnings.resetwarnings()
        GlobalHydra.instance().clear()
        sys.argv = ["tasks.run", *overrides]
        from tasks.run import main

        main()
        code = 0
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the tests of the process that was forked are not this one's
