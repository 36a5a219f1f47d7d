"""Tests compute on one thread: their tensors are tiny, and threads would only wait.

Each worker of pytest, and each command that a test starts, would otherwise take all cores for
itself. Without a GPU, Triton's kernels are interpreted on the CPU. Hundreds of commands compose the
same files, which takes most of a tiny run's time: YAML is parsed once per content, and Hydra
composes once per command, not once more to look for `hydra.mode`, a setting that no file has.
Nothing waits for the disk: what tests write need not outlive a crash of the machine.
"""

import copy
import functools
import io
import os
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; commands of tests inherit it

import pytest
import torch
from hydra._internal.hydra import Hydra
from omegaconf import OmegaConf

from tasks.opencv import OpenCvError, require_cv2

torch.set_num_threads(1)
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


_load = OmegaConf.load


@functools.cache
def _parsed(text: str) -> Any:
    return _load(io.StringIO(text))


def _load_once(file: Any) -> Any:
    text = file.read() if hasattr(file, "read") else Path(file).read_text(encoding="utf-8")
    return copy.deepcopy(_parsed(text))


OmegaConf.load = staticmethod(_load_once)  # type: ignore[method-assign]
os.fsync = lambda _: None
Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign] # as without that setting


def pytest_configure(config: pytest.Config) -> None:
    """Refuse the whole suite where OpenCV cannot be imported; chosen files may not need it."""
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    if whole and not hasattr(config, "workerinput"):
        try:
            require_cv2("the whole suite")
        except OpenCvError as error:
            raise pytest.UsageError(f"{error} Tests of other parts run by their files.") from error


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `gpu` where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))
