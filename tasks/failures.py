"""How a job ends when it fails: an error message with a fix, exit code 1, and no traceback.

In a sweep the other jobs go on; the failure is noted in the job's folder, the closing table shows
it, and the sweep as a whole ends with exit code 1.
"""

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException

from tasks.config import command
from tasks.errors import TaskError

FAILURE_FILE = "failed.json"
_EXPLAINED = (TaskError, OmegaConfBaseException, HydraException)


@contextmanager
def explained(debug: bool) -> Iterator[None]:
    """Turn a known error into one message on the standard error stream and exit code 1.

    Args:
        debug: show the traceback as well (setting ``debug=true``).
    """
    try:
        yield
    except Exception as error:
        known = _known_cause(error)
        if known is None or debug:
            traceback.print_exc()
        if known is not None:
            print(f"\nerror: {known}", file=sys.stderr)
            if not debug:
                print("(debug=true shows where it was raised)", file=sys.stderr)
        if command.is_sweep():
            _note_failure(known or error)
            return
        sys.exit(1)


def _known_cause(error: BaseException) -> Exception | None:
    """The first error of a known kind in the chain of causes, or None if it is a fault of ours."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException  # brings torch in

    from dcls.errors import DclsError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(
            cause, (*_EXPLAINED, DclsError, MisconfigurationException)
        ) and not isinstance(cause, InstantiationException):
            return cause
        cause = cause.__cause__
    return error if isinstance(error, InstantiationException) else None


def _note_failure(error: BaseException) -> None:
    folder = command.job_folder()
    folder.mkdir(parents=True, exist_ok=True)
    note = {
        "error": type(error).__name__,
        "message": str(error),
        "overrides": command.overrides(),
    }
    (folder / FAILURE_FILE).write_text(json.dumps(note, indent=2) + "\n")
