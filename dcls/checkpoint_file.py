"""Files of weights, read as plain data: nothing in them is ever run."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from dcls.errors import CheckpointError
from dcls.key_names import State

WRAPPERS = ("state_dict", "model", "model_ema")
"""Keys under which the state dict stands; the first one found counts. (`state_dict` of an averaged
run of this project is the average.)"""

_NUMPY_BUILDERS: tuple[Any, ...] = (np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0])
_HARMLESS: list[Any] = [
    # Settings and figures in the authors' training checkpoints: they hold values and run no code.
    argparse.Namespace,
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in "?bBhHiIlLefd"),
    *(
        (function, f"{package}.multiarray.{function.__name__}")
        # NumPy 2 renamed the package; a file says the name of its day.
        for package in ("numpy.core", "numpy._core")
        for function in _NUMPY_BUILDERS
    ),
]
_FORBIDDEN = re.compile(r"GLOBAL (\S+)")
_BEGINNINGS = (
    (b"<", "It is a web page, probably an error page saved under that name; fetch it again."),
    (b"version https://git-lfs", "It is a Git LFS pointer; fetch the file with `git lfs pull`."),
)


def read_state(path: str | Path) -> State:
    """The state dict in a file, out of its wrapper, on the CPU.

    Args:
        path: written by `torch.save` or, if it ends in `.safetensors`, by safetensors.

    Raises:
        CheckpointError: there is no such file, or no state dict in it.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {found}; give the path of a checkpoint file.")
    content = _unwrapped(_read(path))
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"{path} holds no state dict but a {type(content).__name__}; save "
            "model.state_dict() and load that."
        )
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(
            f"{path} holds no tensors; expected a state dict, alone or under one of the keys "
            f"{', '.join(WRAPPERS)}, found the keys {', '.join(map(str, list(content)[:6]))}."
        )
    return tensors


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # broken files make the readers raise nearly anything
        raise CheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) cannot be read as a checkpoint. "
            + _explanation(path, f"{type(error).__name__}: {error}")
        ) from error


def _explanation(path: Path, message: str) -> str:
    with path.open("rb") as file:
        beginning = file.read(64).lstrip()
    for known, explanation in _BEGINNINGS:
        if beginning.startswith(known):
            return explanation
    if forbidden := _FORBIDDEN.search(message):
        return (
            f"It holds an object of {forbidden[1]}, which is code and not data; save its "
            "state dict alone, where you trust the file, and load that."
        )
    first = message.splitlines()[0].strip().rstrip(".")
    return f"It may be cut short or of another kind ({first}); fetch it again."


def _unwrapped(content: Any) -> Any:
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            return content[wrapper]
    return content
