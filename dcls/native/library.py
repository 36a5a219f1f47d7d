"""The compiled kernels: built on first use where a compiler is there."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch.nn import functional

SOURCES = tuple(Path(__file__).with_name(f"{name}.cpp") for name in ("depthwise", "perceptron"))
COMPILERS = ("g++", "c++", "clang++")
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


@cache
def native_library() -> ctypes.CDLL | None:
    """The kernels, or None where they cannot be had: then PyTorch's operators are used.

    Needs a C++ compiler (`CXX`, g++ or clang++) with OpenMP the first time, for some seconds; what
    it builds is kept in `DCLS_CACHE`, by default ``~/.cache/dcls``, per processor and source.
    `DCLS_NATIVE=0` switches all of it off.
    """
    if os.environ.get("DCLS_NATIVE") == "0" or not all(s.is_file() for s in SOURCES):
        return None
    try:
        path = _cache_folder() / f"kernels-{_fingerprint()}.so"
        if not path.is_file():
            _build(path)
        library = ctypes.CDLL(str(path))
        for name, arguments in ARGUMENTS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, None
    except (OSError, RuntimeError, AttributeError, subprocess.SubprocessError):
        return None
    return library if _agrees(library) else None


def find_compiler() -> str | None:
    """Path of the first C++ compiler of `CXX` and the usual names."""
    names = (os.environ.get("CXX"), *COMPILERS)
    return next((path for name in names if name and (path := shutil.which(name))), None)


def _build(path: Path) -> None:
    compiler = find_compiler()
    if compiler is None:
        raise FileNotFoundError("no C++ compiler")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Other processes may build at the same time: each writes its own file and renames it.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        result = Path(folder, path.name)
        command = [compiler, *FLAGS, *map(str, SOURCES), "-o", str(result)]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
        result.replace(path)


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


def _agrees(library: ctypes.CDLL) -> bool:
    """Whether both kernels give what `conv2d` gives: no guard against a compiler is too cheap."""
    samples, channels, height, width, cells = 1, 3, 6, 5, 5
    x = torch.arange(samples * channels * height * width, device="cpu").remainder(7).float()
    weight = torch.arange(channels * cells * cells, device="cpu").remainder(5).float()
    x, weight = x.view(samples, channels, height, width), weight.view(channels, 1, cells, cells)
    y, gradient = torch.empty_like(x), torch.empty_like(weight)
    shape = (NUMBER * 7)(samples, channels, height, width, cells, cells, 0)
    library.dcls_depthwise(x.data_ptr(), weight.data_ptr(), None, y.data_ptr(), shape, 1)
    library.dcls_depthwise_weight_gradient(
        x.data_ptr(), x.data_ptr(), gradient.data_ptr(), shape, 1
    )
    wanted = functional.conv2d(x, weight, padding=cells // 2, groups=channels)
    lags = functional.conv2d(x, x.view(channels, 1, height, width), padding=2, groups=channels)
    return torch.equal(y, wanted) and torch.equal(gradient[:, 0], lags[0])
