"""Weights from a file into a backbone: the released ones, timm's and our own."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dcls.checkpoint_file import RAW, Saved, read_saved, read_state
from dcls.convnext import ConvNeXt
from dcls.errors import CheckpointError
from dcls.key_names import CONVNEXT_VOCABULARIES, Found, State, Vocabulary, find
from dcls.misfit import misfit
from dcls.recognition import guess_backbone
from dcls.timm_backbone import TimmBackbone

__all__ = [
    "LoadReport",
    "check_shared",
    "guess_backbone",
    "load_checkpoint",
    "read_state",
]

logger = logging.getLogger(__name__)
_ENDS = ("norm.", "norm0.", "norm1.", "norm2.", "norm3.")
"""Norms behind the stages of a ConvNeXt: one for classification, four for dense tasks."""


class LoadReport(NamedTuple):
    """What loading did."""

    source: str
    """Who writes such names: `released` (the authors, Facebook, this project) or `timm`."""
    missing: tuple[str, ...]
    """Parameters of the model that keep their values, because none were loaded."""
    ignored: tuple[str, ...]
    """Entries of the file that were not loaded."""


def load_checkpoint(
    model: nn.Module, path: str | Path, strict: bool = True, head: bool = True
) -> LoadReport:
    """Load a checkpoint's weights into a backbone.

    Reads the authors' released files, Facebook's and timm's ConvNeXt, checkpoints of this
    project's runs (of an averaged run: the average), the backbone inside a segmentation or
    detection checkpoint, bare state dicts, and safetensors. Where a file holds several sets of
    weights, the averaged ones are taken (`state_dict_ema`, `model_ema`, `ema`, `teacher`), as timm
    does, and a log message names what was taken and what was not.

    A model built with `features=True` takes classification weights too: their final norm and head
    are ignored, and the norm of each stage keeps its values. A model without a head
    (`num_classes=0`) ignores the file's.

    Args:
        model: from `create_backbone`.
        path: the file.
        strict: raise if anything is missing or left over beyond what is said above; otherwise
            load what fits by name.
        head: False leaves the head out, for another number of classes.

    Raises:
        CheckpointError: no such file, not a checkpoint, or one that does not fit; the message
            names the keys and, if it can, the backbone that the file belongs to. The model is
            then as it was.
    """
    expected = model.state_dict()
    found = _find(model, expected, path)
    classifier = tuple(getattr(model, "classifier", ()))
    ends = classifier + (_ENDS if isinstance(model, ConvNeXt) else ())
    known = {
        key: value
        for key, value in found.state.items()
        if key in expected and (head or not key.startswith(classifier))
    }
    missing = tuple(key for key in expected if key not in known)
    ignored = tuple(key for key in found.state if key not in known)
    problems = {
        "missing": [k for k in missing if not _may_be_missing(k, found.state, classifier, head)],
        "unexpected": [key for key in ignored if not key.startswith(ends)],
    }
    misshapen = [key for key, value in known.items() if value.shape != expected[key].shape]
    if misshapen and all(key.startswith(classifier) for key in misshapen):
        raise CheckpointError(_other_classes(path, known[misshapen[0]], expected[misshapen[0]]))
    if misshapen or (strict and any(problems.values())):
        problems["of another shape"] = misshapen
        headless = any(key.startswith(classifier) for key in problems["missing"])
        others = found.outside if headless else ()
        raise CheckpointError(misfit(path, problems, found.state, expected, others))
    check_shared(model, known, path)
    model.load_state_dict(known, strict=False)
    report_ignored(path, (*found.outside, *ignored))
    return LoadReport(found.source, missing, (*found.outside, *ignored))


def _find(model: nn.Module, expected: Mapping[str, Tensor], path: str | Path) -> Found:
    file = read_saved(path)
    saved = file.state
    found = find(saved, _vocabularies(model, next(iter(expected))), expected)
    if found is None:
        guess = guess_backbone(saved)
        hint = f"this looks like {guess}" if guess else f"found {', '.join(list(saved)[:3])}, ..."
        raise CheckpointError(
            f"{path} holds no weights of this backbone: none of its {len(saved)} keys is "
            f"{next(iter(expected))}, with or without a prefix ({hint}). Build the backbone that "
            "the file belongs to."
        )
    report_choice(path, file, found)
    return found


def report_ignored(path: str | Path, names: Sequence[str]) -> None:
    """Log how many entries of a file were not loaded, by the first parts of their names."""
    if names:
        firsts = list(dict.fromkeys(name.split(".")[0] for name in names))
        shown = ", ".join(firsts[:4]) + (", ..." if len(firsts) > 4 else "")
        logger.info("%s: %d entries were not loaded (%s)", path, len(names), shown)


def report_choice(path: str | Path, file: Saved, found: Found) -> None:
    """Log which weights of a file were taken, if there are others beside them."""
    if not (file.beside or found.beside):
        return
    inside = f"{file.taken}." if file.taken else ""
    others = [*file.beside, *(f"{inside}{prefix}*" for prefix in found.beside)]
    logger.log(
        logging.INFO if others == [RAW] else logging.WARNING,
        "%s holds several sets of weights: %s* was taken, not %s",
        path,
        inside + found.prefix,
        ", ".join(others),
    )


def _vocabularies(model: nn.Module, anchor: str) -> tuple[Vocabulary, ...]:
    if isinstance(model, ConvNeXt):
        return CONVNEXT_VOCABULARIES
    own = Vocabulary("released", anchor, dict)
    if not isinstance(model, TimmBackbone):
        return (own,)
    timms = Vocabulary("timm", anchor.removeprefix("model."), _inside_adapter)
    return own, timms


def _inside_adapter(state: Mapping[str, Tensor]) -> State:
    return {f"model.{key}": value for key, value in state.items()}


def _may_be_missing(key: str, state: State, classifier: tuple[str, ...], head: bool) -> bool:
    """Whether a parameter may keep its initial value.

    The norms of stages if the file is a classifier's, whose norm stands elsewhere; and what
    belongs to the head if that is not asked for.
    """
    if re.match(r"norm\d\.", key):
        return any(name.startswith(("norm.", "head.")) for name in state)
    from_dense = key.startswith("norm.") and "norm0.weight" in state
    return not head and (key.startswith(classifier) or from_dense)


def check_shared(model: nn.Module, state: State, path: str | Path) -> None:
    """Parameters that are one in the model must be equal in the file."""
    first: dict[int, str] = {}
    for key, parameter in model.named_parameters(remove_duplicate=False):
        if key not in state:
            continue
        other = first.setdefault(id(parameter), key)
        if key != other and not torch.equal(state[key], state[other]):
            stage = re.search(r"\bstages\.(\d)\.", key)
            where = f"The blocks of stage {stage[1]}" if stage else "Layers"
            raise CheckpointError(
                f"{where} in {path} have positions of their own ({key} differs from {other}), but "
                "the model shares them. Build it with share_positions=False."
            )


def _other_classes(path: str | Path, found: Tensor, wanted: Tensor) -> str:
    return (
        f"{path} was trained on {len(found)} classes, but the model has {len(wanted)}. Build it "
        f"with num_classes={len(found)} (choose the dataset it was trained on), or load it without "
        "its head: backbone.pretrained=<file>, load_checkpoint(..., head=False)."
    )
