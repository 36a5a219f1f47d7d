"""The base of tasks whose network is a module of its own, with a backbone and heads."""

import re
from typing import Any, cast

from torch import Tensor, nn

from dcls.backbone import Backbone
from tasks.engine.optimization import Optimization
from tasks.engine.task import Task

_CHILD = "network"
_PREFIX = re.compile(rf"(?:^|(?<=\.)){_CHILD}\.")


class NetworkTask(Task):
    """A task around a network that holds the backbone and the heads.

    The network is the child `network` of the task. Checkpoints keep the keys that the network has
    by itself: a state dict names ``backbone.stem.weight``, not ``network.backbone.stem.weight``,
    and such a state dict is what loads.

    Args:
        network: has a child `backbone`.
        optimization: how parameters are updated.
        monitor: the validation figure that picks the best checkpoint.
    """

    def __init__(self, network: nn.Module, optimization: Optimization, monitor: str) -> None:
        super().__init__(optimization, monitor)
        self.network = network
        module = cast(Any, self)  # torch has no types for these
        module.register_state_dict_post_hook(_without_child)
        module.register_load_state_dict_pre_hook(_with_child)
        module.register_load_state_dict_post_hook(_named_without_child)

    @property
    def backbone(self) -> Backbone:  # type: ignore[override]
        """The network's."""
        return cast(Backbone, self.network.get_submodule("backbone"))

    def checkpoint_name(self, name: str) -> str:
        """What checkpoints call a parameter or module of that name."""
        return name.removeprefix(f"{_CHILD}.")


def _without_child(
    _task: nn.Module, state: dict[str, Tensor], prefix: str, _metadata: dict[str, Any]
) -> None:
    """Rename the network's keys when a state dict is made; their order stays."""
    for key, value in list(state.items()):
        if key.startswith(prefix):
            own = key.removeprefix(prefix)
            del state[key]
            state[f"{prefix}{own.removeprefix(f'{_CHILD}.')}"] = value


def _with_child(task: nn.Module, state: dict[str, Tensor], prefix: str, *_further: object) -> None:
    """Rename the network's keys before a state dict is loaded."""
    children = {name for name, _ in task.get_submodule(_CHILD).named_children()}
    for key in list(state):
        own = key.removeprefix(prefix)
        if key.startswith(prefix) and own.partition(".")[0] in children:
            state[f"{prefix}{_CHILD}.{own}"] = state.pop(key)


def _named_without_child(_task: nn.Module, keys: Any) -> None:
    """Name what is missing or unexpected as the file has it."""
    for names in (keys.missing_keys, keys.unexpected_keys):
        names[:] = [_PREFIX.sub("", name, count=1) for name in names]
