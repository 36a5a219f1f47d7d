"""Names of the same ConvNeXt parameters in different libraries: pure functions on dictionaries."""

import re
from collections.abc import Mapping

from torch import Tensor

State = dict[str, Tensor]

PREFIXES = ("", "backbone.", "model.", "module.", "backbone.model.", "model.backbone.")
"""Where a backbone may stand inside a saved model, shortest first."""

_TIMM = (
    (r"^stem\.(\d)\.", r"downsample_layers.0.\1."),
    (r"^stages\.(\d)\.downsample\.(\d)\.", r"downsample_layers.\1.\2."),
    (r"^stages\.(\d)\.blocks\.(\d+)\.conv_dw\.", r"stages.\1.\2.dwconv."),
    (r"^stages\.(\d)\.blocks\.(\d+)\.mlp\.fc1\.", r"stages.\1.\2.pwconv1."),
    (r"^stages\.(\d)\.blocks\.(\d+)\.mlp\.fc2\.", r"stages.\1.\2.pwconv2."),
    (r"^stages\.(\d)\.blocks\.(\d+)\.", r"stages.\1.\2."),
    (r"^head\.norm\.", "norm."),
    (r"^norm_pre\.", "norm."),
    (r"^head\.fc\.", "head."),
)
_POINTWISE = re.compile(r"\.pwconv[12]\.weight$")


def from_timm(state: Mapping[str, Tensor]) -> State:
    """timm's ConvNeXt names to ours; its 1x1 convolutions become linear layers."""
    renamed: State = {}
    for key, value in state.items():
        name = key
        for pattern, replacement in _TIMM:
            name, hits = re.subn(pattern, replacement, name)
            if hits:
                break
        is_1x1 = _POINTWISE.search(name) is not None and value.ndim == 4
        renamed[name] = value.flatten(1) if is_1x1 else value
    return renamed


def is_timm(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of timm's ConvNeXt."""
    return "stem.0.weight" in state and "stages.0.blocks.0.conv_dw.weight" in state


def find_prefix(state: Mapping[str, Tensor], anchors: tuple[str, ...]) -> str | None:
    """The first of `PREFIXES` under which one of the anchor keys stands, or None."""
    for prefix in PREFIXES:
        if any(prefix + anchor in state for anchor in anchors):
            return prefix
    return None


def under_prefix(state: Mapping[str, Tensor], prefix: str) -> tuple[State, list[str]]:
    """The entries under a prefix, without it, and the keys of the others."""
    inside = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return inside, [key for key in state if not key.startswith(prefix)]
