"""Writing a file whole or not at all, and plain data that JSON can hold."""

import json
import math
import os
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from tasks.errors import ReportError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) to `path`; whatever goes wrong, the old file stays as it was.

    Raises:
        ReportError: if the disk is full or the place not writable.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # opened plainly, not by tempfile, so that the reader's rights follow the umask
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ReportError(
            f"{path} cannot be written ({error.strerror or error}). Free space or give the right "
            "to write there, or choose another place with runs=..."
        ) from error


def to_json(plain: Any) -> str:
    """Plain data as indented, strict JSON, keys in the order given."""
    return json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def plain_data(value: Any, notes: list[str], path: str = "") -> Any:
    """Copy of `value` that strict JSON can hold.

    Args:
        value: nested mappings, sequences and scalars; any other object becomes its text.
        notes: gets a line for every NaN or infinity, which JSON lacks and which becomes None.
        path: where `value` stands, for the notes.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):  # numpy's numbers too
        return int(value)
    if isinstance(value, Real):
        if math.isfinite(value):
            return float(value)
        notes.append(f"{path} is {value}, which JSON cannot hold; null stands for it")
        return None
    if isinstance(value, dict):
        inside = f"{path}." if path else ""
        return {str(key): plain_data(v, notes, f"{inside}{key}") for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(item, notes, f"{path}[{i}]") for i, item in enumerate(value)]
    return str(value)
