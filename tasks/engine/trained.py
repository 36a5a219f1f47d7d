"""What a checkpoint of a run holds beside weights: settings and facts from which it can be rebuilt.

They stand under `hyper_parameters` as plain data, so that `weights_only=True` loads them.
"""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeGuard

import numpy as np
import torch
from omegaconf import OmegaConf

from tasks.data.loaders import Loading, TaskData

KEY = "hyper_parameters"
CONFIG_FILE = "config.yaml"
"""In the folder of a run: its settings, for people, and for checkpoints of earlier versions."""
_OPTIONAL = ("category_ids", "masks")
Settings = dict[str, Any]


class KnownData(TaskData):
    """What a checkpoint knows of the data on which it was trained: enough to use the model.

    Args:
        facts: as `facts_of` gives them.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__(facts["name"], Loading(batch_size=1, workers=0))
        self.class_names = tuple(facts["class_names"])
        self.recipe = SimpleNamespace(mean=facts["mean"], std=facts["std"], erase=0.0)
        if "palette" in facts:
            self.palette = np.array(facts["palette"], np.uint8)
        for name in _OPTIONAL:
            if name in facts:
                setattr(self, name, facts[name])


def facts_of(data: Any) -> dict[str, Any]:
    """Names of the classes, moments of the pixels and the like, as plain data.

    Args:
        data: the data of a task.
    """
    facts = {
        "name": data.name,
        "class_names": list(data.class_names),
        "mean": [float(value) for value in data.recipe.mean],
        "std": [float(value) for value in data.recipe.std],
        "preprocessing": dict(vars(data.recipe)),
    }
    if hasattr(data, "palette"):
        facts["palette"] = np.asarray(data.palette).tolist()
    for name in _OPTIONAL:
        if hasattr(data, name):
            value = getattr(data, name)
            facts[name] = list(value) if isinstance(value, tuple) else value
    return facts


def trained_settings(path: str | Path) -> Settings | None:
    """The settings with which a run trained the weights in a file, or None for other files.

    Args:
        path: a checkpoint of a run; of an earlier version of this project, in the run's folder.

    Returns:
        `task` and `backbone`, arguments by name, and what else the checkpoint holds: `class` of the
        task, `optim`, `data` (see `facts_of`), `config`, the whole configuration of the run, and
        `versions` of the packages.
    """
    path = Path(path).expanduser()
    if path.is_file():
        try:
            content = torch.load(path, map_location="meta", weights_only=True)
        except Exception:  # broken files make the reader raise nearly anything; loading says so
            return None
        own = content.get(KEY) if isinstance(content, Mapping) else None
        if _is_ours(own):
            return dict(own)
    config = path.resolve().parent.parent / CONFIG_FILE
    return _of_run(config) if path.parent.name == "checkpoints" and config.is_file() else None


def backbone_settings(
    path: str | Path | None, name: str, given: Mapping[str, Any]
) -> tuple[dict[str, Any], Settings]:
    """How to build the backbone of a dense model so that weights fit.

    Args:
        path: the weights; None: fresh ones.
        name: of the backbone.
        given: settings of the caller, which win.

    Returns:
        Arguments of `dcls.create_backbone`, and the task's settings with which a run trained the
        weights; empty if no run did, or another backbone.
    """
    trained = None if path is None else trained_settings(path)
    if trained is None or trained["backbone"].get("name") != name:
        return {"name": name, "features": True, **given}, {}
    own = {k: v for k, v in trained["backbone"].items() if k not in ("pretrained", "num_classes")}
    return {**own, "features": True, **given}, dict(trained["task"])


def _of_run(path: Path) -> Settings | None:
    try:
        config = OmegaConf.to_container(OmegaConf.load(path))
    except Exception:  # no configuration of a run, whatever it is
        return None
    if not _is_ours(config):
        return None
    task = dict(config["task"])
    task.setdefault("detector", config.get("detector"))
    return {"task": task, "backbone": dict(config["backbone"])}


def _is_ours(settings: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether they are settings of a run; other programs keep theirs under the same name."""
    groups = settings if isinstance(settings, Mapping) else {}
    return all(isinstance(groups.get(name), Mapping) for name in ("task", "backbone"))
