"""The name of the backbone to which weights belong, from their names and shapes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dcls.backbones import SIZES, default_points
from dcls.key_names import CONVNEXT_VOCABULARIES, STEM, State, find

_BLOCK = re.compile(r"^stages\.(\d)\.(\d+)\.")


@dataclass(frozen=True)
class Recognised:
    """A backbone as its weights show it.

    Args:
        name: for `create_backbone`.
        settings: those that are not as that name has them, as they are written.
    """

    name: str
    settings: dict[str, str]

    def __str__(self) -> str:
        written = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        return f"{self.name} with {written}" if written else self.name


def guess_backbone(saved: Mapping[str, Tensor]) -> str | None:
    """What to pass to `create_backbone` in words, or None; see `recognise`."""
    found = recognise(saved)
    return None if found is None else str(found)


def recognise(saved: Mapping[str, Tensor]) -> Recognised | None:
    """What to pass to `create_backbone` so that the weights fit, or None if it is no ConvNeXt.

    Names the settings that differ from the defaults, where shapes tell. A dilation, the size of a
    DCLS kernel, and which of `v0` and `v1`, or of `max` and `gauss`, it is do not show in them.
    """
    found = find(saved, CONVNEXT_VOCABULARIES, ())
    if found is None:
        return None
    state = found.state
    blocks = {(int(m[1]), int(m[2])) for m in map(_BLOCK.match, state) if m}
    depths = tuple(sum(stage == i for stage, _ in blocks) for i in range(4))
    gains = [state.get(f"stages.{i}.0.norm.weight") for i in range(4)]
    dims = tuple(0 if gain is None else gain.shape[0] for gain in gains)
    weight = state.get("stages.0.0.dwconv.weight")
    if weight is None or 0 in dims:
        return None
    learned = "stages.0.0.dwconv.P" in state
    settings = _of_stem(state) + (
        _of_points(state, weight, depths, dims) if learned else _of_kernel(weight)
    )
    if "stages.0.0.gamma" not in state:
        settings.append("layer_scale=None")
    if "norm0.weight" in state:
        settings.append("features=True")
    sizes = [name for name, size in SIZES.items() if (size.depths, size.dims) == (depths, dims)]
    if not sizes:
        settings = [f"depths={depths}", f"dims={dims}", *settings]
    name = f"convnext_{'dcls_' if learned else ''}{sizes[0] if sizes else 'tiny'}"
    if name == "convnext_tiny" and settings[:1] == ["kernel_size=17"]:
        name, settings = "convnext_tiny_ker17", settings[1:]
    return Recognised(name, dict(one.split("=", 1) for one in settings))


def _of_kernel(weight: Tensor) -> list[str]:
    size = weight.shape[-1]
    return [] if size == 7 else [f"kernel_size={size}"]


def _of_points(
    state: State, weight: Tensor, depths: tuple[int, ...], dims: tuple[int, ...]
) -> list[str]:
    has_widths = "stages.0.0.dwconv.SIG" in state
    shared = all(
        _equal(state.get(f"stages.{i}.{j}.dwconv.P"), state[f"stages.{i}.0.dwconv.P"])
        for i, depth in enumerate(depths)
        for j in range(depth)
    )
    settings = ["version=gauss"] if has_widths else []
    if not shared:
        settings.append("share_positions=False")
    count = weight.shape[-1]
    if count != default_points(depths, dims, "gauss" if has_widths else "v0", shared)[1]:
        settings.append(f"kernel_count={count}")
    return settings


def _equal(one: Tensor | None, other: Tensor) -> bool:
    if one is None or other.is_meta:  # of a model without values: as by default
        return one is not None
    return torch.equal(one, other)


def _of_stem(state: State) -> list[str]:
    _, channels, stride, _ = state[STEM].shape
    settings = [] if stride == 4 else [f"stem_stride={stride}"]
    return settings if channels == 3 else [*settings, f"in_channels={channels}"]
