"""Kind and sizes of a detector, as its weights show them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_SIZES = {
    "task.channels": ("neck.lateral_convs.0.conv.weight", 0),
    "task.width": ("fc_cls.weight", 1),
}
"""By setting: the end of a parameter's name, and the dimension that has this size."""


def shown_settings(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings of a command with which a detector's weights fit, as far as they show.

    Args:
        state: a state dict, under any prefix; empty if it is not a detector's.
    """
    if not any("roi_head." in key for key in state):
        return {}
    shown: dict[str, Any] = {"detector": _kind(state)}
    for setting, (end, dimension) in _SIZES.items():
        sizes = (value.shape[dimension] for key, value in state.items() if key.endswith(end))
        size = next(sizes, None)
        if size is not None:
            shown[setting] = size
    return shown


def _kind(state: Mapping[str, Tensor]) -> str:
    if any(".bbox_head.0." in key for key in state):
        return "cascade_mask_rcnn"
    return "mask_rcnn" if any(".mask_head." in key for key in state) else "faster_rcnn"
