"""Timing of steps by turns, so that another program's load falls on all of them alike."""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

Step = Callable[[], None]
Clock = Callable[[], float]
Key = TypeVar("Key", bound=Hashable)

WARM_UP_SECONDS = 0.5
FEWEST_ROUNDS = 3
BURST_SECONDS = 0.1
LONGEST_BURST = 20


@dataclass
class Timings(Generic[Key]):
    """Seconds of steps.

    Args:
        rounds: by step, a list of seconds for each round.
        failures: why a step could not go on, for those that could not.
    """

    rounds: dict[Key, list[list[float]]] = field(default_factory=dict)
    failures: dict[Key, Exception] = field(default_factory=dict)


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was asked to."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def seconds_of(step: Step, device: torch.device, clock: Clock = time.perf_counter) -> float:
    """Time of one step, from an idle device to an idle device."""
    synchronise(device)
    start = clock()
    step()
    synchronise(device)
    return clock() - start


def warm_up(step: Step, device: torch.device, clock: Clock = time.perf_counter) -> float:
    """Do a step once, and then for half a second, once at least; returns its shortest time there.

    The first time, in which kernels are chosen and code is compiled, does not count.
    """
    seconds_of(step, device, clock)
    found: list[float] = []
    start = clock()
    while not found or clock() - start < WARM_UP_SECONDS:
        found.append(seconds_of(step, device, clock))
    return min(found)


def burst_length(seconds: float) -> int:
    """How many steps of that time make a turn: about a tenth of a second."""
    return max(1, min(LONGEST_BURST, int(BURST_SECONDS / max(seconds, 1e-9))))


def time_by_turns(
    steps: Mapping[Key, Step],
    bursts: Mapping[Key, int],
    device: torch.device,
    seconds: float,
    tell: Callable[[float], None] | None = None,
    clock: Clock = time.perf_counter,
) -> Timings[Key]:
    """Time steps in rounds, in each of which every step has one turn.

    A turn is a burst of steps, each timed by itself. Before a burst of several, one is done
    untimed, since the step before it belonged to another model and left other data in the caches.
    A round that has begun is finished, and there are three at least.

    Args:
        steps: what to time; one that raises is left out from then on.
        bursts: how many steps a turn has.
        device: where they compute.
        seconds: of all rounds together.
        tell: is given the share of the time that is over, after each round.
        clock: in seconds.
    """
    timings: Timings[Key] = Timings({key: [] for key in steps})
    start, done = clock(), 0
    while len(timings.failures) < len(steps):
        for key, step in steps.items():
            if key in timings.failures:
                continue
            try:
                if bursts[key] > 1:
                    step()
                own = [seconds_of(step, device, clock) for _ in range(bursts[key])]
                timings.rounds[key].append(own)
            except Exception as error:  # whatever one model cannot, the others go on
                timings.failures[key] = error
        done += 1
        passed = clock() - start
        if tell is not None:
            tell(min(1.0, passed / seconds))
        if done >= FEWEST_ROUNDS and passed >= seconds:
            break
    return timings


@contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads of the processor, and afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
