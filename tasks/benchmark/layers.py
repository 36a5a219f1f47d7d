"""Time of every layer of a model in inference."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tasks.benchmark.timing import Step, seconds_of, synchronise

PASSES = 5
OUTSIDE = "between layers"
"""What a pass does outside of modules without children, such as resizing maps or choosing boxes."""


@dataclass(frozen=True)
class LayerTime:
    """Median time of a layer in a pass.

    Args:
        name: of the module in its model.
        kind: its class.
        seconds: over all calls of a pass.
        share: of the sum of all.
    """

    name: str
    kind: str
    seconds: float
    share: float


def time_layers(
    model: nn.Module, step: Step, device: torch.device, passes: int = PASSES
) -> list[LayerTime]:
    """Time the modules without children, each from an idle device to an idle device.

    On an accelerator that waiting makes the sum longer than a pass without it.

    Args:
        model: whose modules are timed.
        step: a pass through it.
        device: where it computes.
        passes: of which the median is taken, after one that does not count.

    Returns:
        The layers that took part, and what was outside of them, longest first.
    """
    found: dict[str, list[float]] = defaultdict(list)
    with _hooked(model, device) as spent:
        step()
        for _ in range(passes):
            spent.clear()
            whole = seconds_of(step, device)
            for name, seconds in spent.items():
                found[name].append(seconds)
            found[OUTSIDE].append(whole - sum(spent.values()))
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    total = sum(medians.values())
    return [
        LayerTime(name, kinds.get(name, OUTSIDE), medians[name], medians[name] / total)
        for name in sorted(medians, key=lambda name: -medians[name])
    ]


def by_kind(layers: list[LayerTime]) -> list[LayerTime]:
    """Sums over the layers of a kind, longest first; `name` says how many there are."""
    groups: dict[str, list[LayerTime]] = defaultdict(list)
    for layer in layers:
        groups[layer.kind].append(layer)
    sums = [
        LayerTime(
            str(len(group)), kind, sum(one.seconds for one in group), sum(o.share for o in group)
        )
        for kind, group in groups.items()
    ]
    return sorted(sums, key=lambda one: -one.seconds)


@contextmanager
def _hooked(model: nn.Module, device: torch.device) -> Iterator[dict[str, float]]:
    """Seconds by name of each module without children that is called, added up."""
    spent: dict[str, float] = defaultdict(float)
    handles = []
    for name, module in model.named_modules():
        if name and next(module.children(), None) is None:
            before, after = _hooks(name, spent, device)
            handles.append(module.register_forward_pre_hook(before))
            handles.append(module.register_forward_hook(after))
    try:
        yield spent
    finally:
        for handle in handles:
            handle.remove()


def _hooks(
    name: str, spent: dict[str, float], device: torch.device
) -> tuple[Callable[..., None], Callable[..., None]]:
    started = [0.0]

    def before(*_: Any) -> None:
        synchronise(device)
        started[0] = time.perf_counter()

    def after(*_: Any) -> None:
        synchronise(device)
        spent[name] += time.perf_counter() - started[0]

    return before, after
