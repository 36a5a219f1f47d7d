"""Peak memory of a step."""

import json
import os
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.autograd.profiler import profile

from tasks.benchmark.timing import Step, synchronise

# read when the profiler is first used; it would report a missing GPU as an error
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
_EVENT = "[memory]"
_CPU = 0


def peak_bytes(step: Step, device: torch.device) -> int:
    """Most bytes that PyTorch holds at once during a step, above those it held before.

    Activations, gradients and buffers of operators count; parameters, the state of the optimizer
    and the batch, which are there all the time, do not. On CUDA the caching allocator's count; on
    the processor that of PyTorch's allocator, in which the scratch memory of libraries such as
    oneDNN is not.
    """
    if device.type == "cuda":
        return _peak_on_cuda(step, device)
    return _peak_on_cpu(step)


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all parameters, shared ones once."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def _peak_on_cuda(step: Step, device: torch.device) -> int:
    synchronise(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step()
    synchronise(device)
    return torch.cuda.max_memory_allocated(device) - before


def _peak_on_cpu(step: Step) -> int:
    with profile(profile_memory=True) as found:  # torch.profiler's also takes all events apart
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        found.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8", errors="replace"))["traceEvents"]
    changes = [
        (event["ts"], event["args"]["Bytes"])
        for event in events
        if event["name"] == _EVENT and event["args"]["Device Type"] == _CPU
    ]
    held = peak = 0
    for _, change in sorted(changes, key=lambda pair: pair[0]):
        held += change
        peak = max(peak, held)
    return peak
