"""The compiled kernels: built on first use where a compiler is there."""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from dcls.native.trial import agree

SOURCES = tuple(Path(__file__).with_name(f"{name}.cpp") for name in ("depthwise", "perceptron"))
COMPILERS = ("g++", "c++", "clang++")
logger = logging.getLogger(__name__)
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fPIC", "-shared", "-fopenmp", "-std=c++17")
SECONDS = 120.0
"""After which a compiler counts as broken."""

POINTER, NUMBER = ctypes.c_void_p, ctypes.c_int64
ARGUMENTS = {
    "dcls_depthwise": (*(POINTER,) * 5, NUMBER),
    "dcls_depthwise_weight_gradient": (*(POINTER,) * 4, NUMBER),
    "dcls_bias_gelu": (*(POINTER,) * 2, *(NUMBER,) * 3),
    "dcls_scaled_residual": (*(POINTER,) * 5, *(NUMBER,) * 3),
}


class _UnusableError(Exception):
    """Why the kernels cannot be had here."""


@cache
def native_library() -> ctypes.CDLL | None:
    """The kernels, or None where they cannot be had: then PyTorch's operators are used.

    Needs a C++ compiler (`CXX`, g++ or clang++) with OpenMP the first time, for some seconds; what
    it builds is kept in `DCLS_CACHE`, by default ``~/.cache/dcls``, per processor and source.
    `DCLS_NATIVE=0` switches all of it off. Why they cannot be had is logged (level info).
    """
    if os.environ.get("DCLS_NATIVE") == "0":
        return None
    try:
        path = _cache_folder() / f"kernels-{_fingerprint()}.so"
        if not _is_whole(path):
            _build(path)
        library = _load(path)
    except (OSError, RuntimeError, AttributeError, _UnusableError) as error:
        logger.info("PyTorch's operators are used instead of compiled kernels: %s", error)
        return None
    return library


def find_compilers() -> list[list[str]]:
    """Commands of the C++ compilers that are there, `CXX` first."""
    named = [shlex.split(os.environ.get("CXX", "")), *([name] for name in COMPILERS)]
    return [command for command in named if command and shutil.which(command[0])]


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    for name, arguments in ARGUMENTS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None
    if not agree(library):
        raise _UnusableError(f"{path} computes something else")
    return library


def _build(path: Path) -> None:
    """Compile by the first compiler that can, beside its digest."""
    _make_private(path.parent)
    reasons = ["no C++ compiler"]
    # Other processes may build at the same time: each writes its own file and renames it.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        result = Path(folder, path.name)
        for compiler in find_compilers():
            command = [*compiler, *FLAGS, *map(str, SOURCES), "-o", str(result)]
            try:
                done = subprocess.run(command, capture_output=True, timeout=SECONDS, text=True)
            except (OSError, subprocess.SubprocessError) as error:
                reasons.append(str(error))
                continue
            if done.returncode == 0:
                _digest_file(result).write_text(_digest(result))
                result.replace(path)
                _digest_file(result).replace(_digest_file(path))
                return
            reasons.append(f"{' '.join(compiler)}: {done.stderr[:500]}")
    raise _UnusableError("; ".join(reasons[-len(COMPILERS) :]))


def _make_private(folder: Path) -> None:
    """Make the folder, and refuse one in which somebody else could put code."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.stat()
    if hasattr(os, "getuid") and (state.st_uid != os.getuid() or state.st_mode & stat.S_IWOTH):
        raise _UnusableError(f"{folder} is not this user's own; set DCLS_CACHE to one that is")


def _is_whole(path: Path) -> bool:
    """Whether the file is there as it was built: what is cut short would end the process."""
    if not path.is_file() or not _digest_file(path).is_file():
        return False
    _make_private(path.parent)
    return _digest_file(path).read_text() == _digest(path)


def _digest_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _cache_folder() -> Path:
    chosen = os.environ.get("DCLS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "dcls")


def _fingerprint() -> str:
    """Of everything that the machine code depends on; a home may be shared by unlike machines."""
    parts = [
        *(source.read_text() for source in SOURCES),
        *FLAGS,
        platform.machine(),
        *platform.libc_ver(),
    ]
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else [platform.processor()]
    parts += sorted({line for line in lines if line.startswith(("flags", "Features", "model"))})
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
