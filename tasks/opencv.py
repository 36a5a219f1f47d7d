"""OpenCV, imported only where something needs it: its wheel needs libraries of the system."""

import importlib
from typing import Any

from tasks.errors import TaskError


class OpenCvError(TaskError, ImportError):
    """OpenCV is needed, and cannot be imported."""


def require_cv2(what: str) -> Any:
    """The module `cv2`.

    Args:
        what: needs it, for the message, such as ``task=seg``.

    Raises:
        OpenCvError: it cannot be imported; the message names the packages that are missing.
    """
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise OpenCvError(
            f"OpenCV cannot be imported here ({error}), and {what} needs it. On Debian and Ubuntu: "
            "apt-get install libxcb1 libgl1 libglib2.0-0."
        ) from error
