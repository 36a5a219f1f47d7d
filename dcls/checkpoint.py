"""Reading checkpoints: the released ones, timm's and our own, always as plain data."""

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dcls.backbones import SIZES
from dcls.convnext import ConvNeXt
from dcls.errors import CheckpointError
from dcls.key_names import State, find_prefix, from_timm, is_timm, under_prefix

_WRAPPERS = ("state_dict", "model", "model_ema")
_SHARED = re.compile(r"^stages\.(\d+)\.\d+\.dwconv\.(P|SIG)$")
_HEAD = ("norm.", "head.")
_STAGE_NORM = re.compile(r"^norm\d\.")
# Types in the authors' training checkpoints (their settings and figures); they run no code.
_HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    np.ndarray,
    *(type(np.dtype(kind)) for kind in ("float32", "float64", "int32", "int64")),
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    np._core.multiarray.scalar,
]


class LoadReport(NamedTuple):
    """What loading did.

    Args:
        source: kind of the names found, `released` (the authors', Facebook's, ours) or `timm`.
        missing: parameters of the model that keep their values, because the file has none.
        ignored: entries of the file that the model has no place for.
    """

    source: str
    missing: tuple[str, ...]
    ignored: tuple[str, ...]


def load_checkpoint(
    model: nn.Module, path: str | Path, strict: bool = True, head: bool = True
) -> LoadReport:
    """Load a checkpoint's weights into a backbone.

    Reads the authors' released files, Facebook's and timm's ConvNeXt, checkpoints of this
    project's runs (of an averaged run: the average), the backbone inside a segmentation or
    detection checkpoint, bare state dicts, and safetensors.

    A model built with `features=True` takes classification weights too: their final norm and head
    are ignored, and the norm of each stage keeps its values.

    Args:
        model: from `create_backbone`.
        path: the file.
        strict: raise if anything is missing or left over beyond what is said above.
        head: False leaves the classification head out, for another number of classes.

    Raises:
        CheckpointError: no such file, not a checkpoint, or one that does not fit; the message
            names the keys and, if it can, the backbone that the file belongs to.
    """
    saved = read_state(Path(path))
    state, source, outside = _as_own_names(model, saved, path)
    kept = {key: value for key, value in state.items() if _has_place(model, key, head)}
    expected = model.state_dict()
    _check_classes(expected, kept, path)
    missing = tuple(key for key in expected if key not in kept)
    unexpected = tuple(key for key in kept if key not in expected)
    misshapen = [k for k, v in kept.items() if k in expected and v.shape != expected[k].shape]
    excused = {key for key in missing if _may_be_missing(key, state, head)}
    if misshapen or (strict and (unexpected or set(missing) - excused)):
        problems = {
            "missing": [key for key in missing if key not in excused],
            "unexpected": list(unexpected),
            "of another shape": misshapen,
        }
        raise CheckpointError(_does_not_fit(path, problems, state))
    if getattr(model, "share_positions", False):
        _check_shared(kept, path)
    model.load_state_dict(kept, strict=False)
    left = (key for key in state if key not in kept)
    return LoadReport(source, missing, (*outside, *left, *unexpected))


def read_state(path: Path) -> State:
    """The state dict in a file, out of its wrapper, on the CPU.

    Raises:
        CheckpointError: if there is no such file or no state dict in it.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; give the path of a checkpoint.")
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with torch.serialization.safe_globals(_HARMLESS):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, SafetensorError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) cannot be read as a checkpoint: {first} It "
            "may be cut short, or be a web page saved under that name; fetch it again."
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} holds no state dict but a {type(content).__name__}.")
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors; its keys are {list(content)[:6]}.")
    return tensors


def guess_backbone(state: Mapping[str, Tensor]) -> str | None:
    """The ConvNeXt whose depths and channels the weights have, or None."""
    stem = "downsample_layers.0.0.weight"
    if stem not in state:
        return None
    places = [re.match(r"stages\.(\d+)\.(\d+)\.", key) for key in state]
    blocks = {(int(m[1]), int(m[2])) for m in places if m}
    depths = tuple(sum(stage == i for stage, _ in blocks) for i in range(4))
    width = state[stem].shape[0]
    dcls = "dcls_" if any(key.endswith("dwconv.P") for key in state) else ""
    for name, size in SIZES.items():
        if size.depths == depths and size.dims[0] == width:
            return f"convnext_{dcls}{name}"
    return None


def _as_own_names(
    model: nn.Module, saved: State, path: str | Path
) -> tuple[State, str, list[str]]:
    anchors = (next(iter(model.state_dict())),)
    if isinstance(model, ConvNeXt):
        anchors += ("stem.0.weight",)
    prefix = find_prefix(saved, anchors)
    if prefix is None and not isinstance(model, ConvNeXt):
        inner = {f"model.{key}": value for key, value in saved.items()}  # timm's own files
        if anchors[0] in inner:
            return inner, "timm", []
    if prefix is None:
        raise CheckpointError(
            f"{path} holds no weights of such a backbone: none of its {len(saved)} keys is "
            f"{anchors[0]} (found {', '.join(list(saved)[:3])}, ...). Choose the backbone that the "
            "file belongs to."
        )
    state, outside = under_prefix(saved, prefix)
    if is_timm(state) and isinstance(model, ConvNeXt):
        return from_timm(state), "timm", outside
    return state, "released", outside


def _has_place(model: nn.Module, key: str, head: bool) -> bool:
    if key.startswith(_HEAD) and hasattr(model, "norm0"):
        return False
    return head or not _is_head(key)


def _may_be_missing(key: str, state: State, head: bool) -> bool:
    from_classification = any(name.startswith(_HEAD) for name in state)
    return (bool(_STAGE_NORM.match(key)) and from_classification) or (
        not head and (_is_head(key) or key.startswith("norm."))
    )


def _is_head(key: str) -> bool:
    return re.match(r"^(model\.)?(head(\.fc)?|fc|classifier)\.(weight|bias)$", key) is not None


def _check_classes(expected: Mapping[str, Tensor], kept: State, path: str | Path) -> None:
    for key, value in kept.items():
        if _is_head(key) and key in expected and value.shape[0] != expected[key].shape[0]:
            raise CheckpointError(
                f"{path} was trained on {value.shape[0]} classes, but the model has "
                f"{expected[key].shape[0]}. Build it with num_classes={value.shape[0]} (choose the "
                "dataset it was trained on), or load it without its head: "
                "backbone.pretrained=<file>, load_checkpoint(..., head=False)."
            )


def _check_shared(state: State, path: str | Path) -> None:
    first: dict[tuple[str, str], tuple[str, Tensor]] = {}
    for key, value in state.items():
        match = _SHARED.match(key)
        if match is None:
            continue
        name, other = first.setdefault((match[1], match[2]), (key, value))
        if not torch.equal(value, other):
            raise CheckpointError(
                f"The blocks of stage {match[1]} in {path} have positions of their own ({key} "
                f"differs from {name}), but the model shares them. Build it with "
                "share_positions=False."
            )


def _does_not_fit(path: str | Path, problems: dict[str, list[str]], state: State) -> str:
    parts = [
        f"{len(keys)} {what} ({', '.join(keys[:4])}{', ...' if keys[4:] else ''})"
        for what, keys in problems.items()
        if keys
    ]
    guess = guess_backbone(state)
    hint = f" This looks like {guess}." if guess else ""
    return f"{path} does not fit the model: {'; '.join(parts)}.{hint}"
