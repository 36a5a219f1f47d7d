"""Files of weights, read as plain data: nothing in them is ever run."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from dcls.errors import CheckpointError
from dcls.key_names import State

AVERAGES = ("state_dict_ema", "model_ema", "ema", "teacher")
"""Keys of averaged weights: timm's, ConvNeXt's and torchvision's, others', and DINO's, whose
teacher is the average of the student."""
WRAPPERS = (*AVERAGES, "state_dict", "model", "module", "ema_state_dict", "student")
"""Keys under which weights stand; the first one found counts, so that an average is preferred as
in timm. (`state_dict` is the average itself in the checkpoints of an averaged run of this project
and of mmengine, which keeps the raw weights as `ema_state_dict`.)"""
RAW = "current_model_state"
"""Key of the raw weights beside the average in the checkpoints of this project's runs."""
_FEWEST = 2
"""Tensors of other weights that are worth naming: a loss may keep a centre or a counter."""

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


class Saved(NamedTuple):
    """The weights in a file."""

    state: State
    """The state dict, on the CPU."""
    taken: str
    """The key under which it stands in the file; empty if it stands alone."""
    beside: tuple[str, ...]
    """Keys of other weights in the file."""


def read_state(path: str | Path) -> State:
    """The state dict in a file, on the CPU; see `read_saved`."""
    return read_saved(path).state


def read_saved(path: str | Path) -> Saved:
    """The state dict in a file, the averaged one if there are several, and what stands beside it.

    Args:
        path: written by `torch.save` or, if it ends in `.safetensors`, by safetensors.

    Raises:
        CheckpointError: there is no such file, or no state dict in it.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {found}; give the path of a checkpoint file.")
    content, taken, beside = _unwrapped(_read(path))
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
    return Saved(tensors, taken, beside)


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


def _unwrapped(content: Any) -> tuple[Any, str, tuple[str, ...]]:
    """What stands under the first wrapper, the key of that, and the keys of other weights."""
    if not isinstance(content, Mapping):
        return content, "", ()
    for wrapper in WRAPPERS:
        if _holds_weights(content.get(wrapper), 1, by_parts=True):
            others = (key for key in content if key != wrapper)
            beside = [str(key) for key in others if _holds_weights(content[key], _FEWEST)]
            inner, deeper, more = _unwrapped(content[wrapper])
            inner = inner if deeper else _flat(inner)  # by parts, as some trainers save them
            key = f"{wrapper}.{deeper}" if deeper else wrapper
            return inner, key, (*beside, *(f"{wrapper}.{one}" for one in more))
    return content, "", ()


def _flat(content: Any) -> Any:
    """A mapping of parts of a model, such as `backbone`, with full names as its keys."""
    if not isinstance(content, Mapping):
        return content
    flat: dict[str, Any] = {}
    for key, value in content.items():
        inner = _flat(value)
        if isinstance(inner, Mapping):
            flat |= {f"{key}.{name}": one for name, one in inner.items()}
        else:
            flat[str(key)] = inner
    return flat


def _holds_weights(content: Any, fewest: int, by_parts: bool = False) -> bool:
    if not isinstance(content, Mapping):
        return False
    values = (_flat(content) if by_parts else content).values()
    tensors = sum(isinstance(value, Tensor) for value in values)
    return tensors >= fewest or any(_holds_weights(content.get(k), fewest) for k in WRAPPERS)
