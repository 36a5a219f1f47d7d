"""Python objects brought together from the processes of a distributed run."""

from collections.abc import Callable
from typing import TypeVar, cast

import torch.distributed as dist

Item = TypeVar("Item")
Value = TypeVar("Value")


def gather_lists(items: list[Item]) -> list[Item]:
    """The items of all processes, in the order of their ranks; every process must call it."""
    if not (dist.is_available() and dist.is_initialized()):
        return items
    parts: list[list[Item] | None] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, items)
    return [item for part in parts if part is not None for item in part]


def computed_once(compute: Callable[[], Value]) -> Value:
    """What the first process computes, given to all; every process must call it."""
    if not (dist.is_available() and dist.is_initialized()):
        return compute()
    results = [compute() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(results)
    return cast(Value, results[0])
