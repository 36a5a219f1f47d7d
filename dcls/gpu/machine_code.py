"""What Triton's compiler makes of a launch, for a GPU that need not be there.

Triton must not be interpreting.
"""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from dcls.gpu.launches import Launch

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
TYPES = {torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.float32: "*fp32"}
WARP = 32
DIVISIBLE = [["tt.divisibility", 16]]
"""How Triton is told, here as in a launch, that an address or number is a multiple of 16."""


@dataclass(frozen=True)
class MachineCode:
    """A compiled kernel in figures.

    Args:
        registers: per thread, of 255.
        spilled: bytes per thread that found no register and are in memory.
        shared: bytes of shared memory per program.
        instructions: how often each occurs in the code, as in "HGMMA" (matrix products of Hopper),
            "HMMA" (of Ampere), "LDGSTS" (copies past the registers).
    """

    registers: int
    spilled: int
    shared: int
    instructions: Counter[str]


def machine_code(launch: Launch, types: Sequence[torch.dtype | None], arch: int) -> MachineCode:
    """Compile a launch's kernel for a compute capability such as 90.

    Args:
        launch: what would run.
        types: of its tensors; None for one that is not there.
        arch: of the GPU.
    """
    code = triton.compile(
        _source(launch, types), target=GPUTarget("cuda", arch, WARP), options=launch.options
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code.asm["cubin"])
        file.flush()
        usage = _said_by("cuobjdump", "-res-usage", file.name)
        listing = _said_by("nvdisasm", file.name)
    mnemonics = re.findall(r"\*/\s+(?:@!?U?P\w+\s+)?([A-Z]\w+)", listing)
    return MachineCode(
        registers=_number("REG", usage),
        spilled=_number("STACK", usage) + _number("LOCAL", usage),
        shared=code.metadata.shared,
        instructions=Counter(mnemonics),
    )


def _source(launch: Launch, types: Sequence[torch.dtype | None]) -> Any:
    """The kernel with the types, constants and alignments that a launch would find."""
    values: list[Any] = [*types, *launch.numbers, *launch.constants.values()]
    signature, constants, aligned = {}, {}, {}
    runtime = len(types) + len(launch.numbers)
    for place, (name, value) in enumerate(zip(launch.kernel.arg_names, values, strict=True)):
        if place >= runtime or value is None or (isinstance(value, int) and value == 1):
            signature[name], constants[(place,)] = "constexpr", value
            continue
        signature[name] = "i32" if isinstance(value, int) else TYPES[value]
        if not isinstance(value, int) or value % 16 == 0:
            aligned[(place,)] = DIVISIBLE
    return ASTSource(launch.kernel, signature, constants, aligned)


def _said_by(tool: str, *arguments: str) -> str:
    command = [str(TOOLS / tool), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _number(name: str, usage: str) -> int:
    found = re.search(rf"{name}:(\d+)", usage)
    return int(found[1]) if found else 0
