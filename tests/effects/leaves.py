"""The leaves of every composition, found in the configuration itself."""

from collections.abc import Iterator
from pathlib import Path

from builds import composed
from omegaconf import DictConfig, OmegaConf

import conf

TASKS = ("cls", "seg", "det", "robustness")
OTHER_GROUPS = ("backbone", "optim", "trainer", "logger", "callbacks")
"""Groups whose choices may have leaves that the default choice has not."""
_ROOT = Path(conf.__file__).parent


def leaves(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Dotted names of the leaves; an empty group is a leaf."""
    for key in config:
        name = f"{prefix}{key}"
        node = config._get_node(key)
        missing = OmegaConf.is_missing(config, key)
        if not missing and isinstance(node, DictConfig) and not node._is_none() and len(node):
            yield from leaves(node, f"{name}.")
        else:
            yield name


def shared_leaves() -> set[str]:
    """Leaves of no task and no data set, of all compositions together."""
    found = {leaf for task in TASKS for leaf in leaves(composed(f"task={task}"))}
    for group in OTHER_GROUPS:
        found |= {f"{group}.{leaf}" for path in _files(group) for leaf in _written_in(path)}
    found |= experiment_leaves() | {leaf for path in _files("mode") for leaf in _written_in(path)}
    found -= set().union(*(_own_leaves(task) for task in TASKS))
    return {leaf for leaf in found if not leaf.startswith(("dataset.", "task."))}


def experiment_leaves() -> set[str]:
    """Leaves that experiments set."""
    return {leaf for path in _files("experiment") for leaf in _written_in(path)}


def task_leaves(task: str) -> set[str]:
    """Leaves of group `task`, and those that the task's file puts at the top."""
    config = composed(f"task={task}")
    return {leaf for leaf in leaves(config) if leaf.startswith("task.")} | _own_leaves(task)


def dataset_leaves(name: str) -> set[str]:
    """Leaves of a data set, `shapes` with its task behind a slash (`shapes/seg`)."""
    choice, _, task = name.partition("/")
    config = composed(f"dataset={choice}", *([f"task={task}"] if task else []))
    return {leaf for leaf in leaves(config) if leaf.startswith("dataset.")}


def dataset_names() -> list[str]:
    """All data sets, `shapes` once for each task that it has settings for."""
    plain = sorted(path.stem for path in (_ROOT / "dataset").glob("*.yaml"))
    shapes = sorted(path.stem for path in (_ROOT / "dataset/shapes_for").glob("*.yaml"))
    return [name for name in plain if name != "shapes"] + [f"shapes/{task}" for task in shapes]


def _own_leaves(task: str) -> set[str]:
    """Leaves at the top of a task's composition that not all tasks have."""
    everywhere = set.intersection(*({str(k) for k in composed(f"task={one}")} for one in TASKS))
    config = composed(f"task={task}")
    return {leaf for leaf in leaves(config) if leaf.split(".")[0] not in everywhere}


def _files(group: str) -> list[Path]:
    return sorted((_ROOT / group).rglob("*.yaml"))


def _written_in(path: Path) -> set[str]:
    """The leaves that a file itself sets, under its package."""
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    config.pop("defaults", None)
    return set(leaves(config))
