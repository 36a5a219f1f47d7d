"""Weights from a file into a whole model: a backbone with the heads of a dense task."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from dcls.checkpoint import check_shared, report_choice, report_ignored
from dcls.checkpoint_file import read_saved
from dcls.errors import CheckpointError
from dcls.key_names import State, Vocabulary, find
from dcls.misfit import kind_hint, misfit, settings_hint
from dcls.recognition import guess_backbone


def load_model_checkpoint(
    model: nn.Module,
    path: str | Path,
    classifier: str,
    background: int = 0,
    shown: Callable[[State], Mapping[str, Any]] | None = None,
) -> None:
    """Load every parameter of a model that holds a backbone and heads; strict.

    Reads the authors' and Facebook's segmentation and detection checkpoints, those of OpenMMLab,
    and of this project's runs (of an averaged run: the average). Entries of the file outside the
    model's parts, such as running metrics, are left out.

    Args:
        model: its children are the parts, `backbone` among them.
        path: the file.
        classifier: name of a parameter whose first dimension counts the classes.
        background: how many of its rows are for no class.
        shown: settings of such a model by name, as weights show them, for the message of weights
            that do not fit.

    Raises:
        CheckpointError: no such file, not a checkpoint of such a model, or one that does not fit;
            the model is then as it was.
    """
    file = read_saved(path)
    saved = file.state
    expected = model.state_dict()
    parts = tuple(sorted({key.split(".")[0] + "." for key in expected}))
    found = find(saved, (Vocabulary("released", next(iter(expected)), dict),), expected)
    if found is not None:
        report_choice(path, file, found)
    state = {k: v for k, v in (found.state if found else {}).items() if k.startswith(parts)}
    absent = [part for part in parts if not any(key.startswith(part) for key in state)]
    settings = "" if shown is None else settings_hint(shown(saved), shown(expected))
    if absent:
        raise CheckpointError(
            f"{path} holds no {', '.join(part[:-1] for part in absent)}, with or without a prefix, "
            f"but {', '.join(list(saved)[:3])}, .... {_what_it_is(saved, expected)}".rstrip()
            + settings
        )
    if classifier in state and classifier in expected:
        trained, wanted = (len(s[classifier]) - background for s in (state, expected))
        if trained != wanted:
            raise CheckpointError(
                f"{path} was trained on {trained} classes, but the model has {wanted}. Choose the "
                "dataset it was trained on, or start from its backbone alone: "
                "backbone.pretrained=<file>."
            )
    both = [key for key in expected if key in state]
    problems = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [k for k in both if state[k].shape != expected[k].shape],
    }
    if any(problems.values()):
        raise CheckpointError(misfit(path, problems, state, expected) + settings)
    check_shared(model, state, path)
    model.load_state_dict(state)
    left = [key for key in found.state if key not in state] if found else []
    report_ignored(path, [*(found.outside if found else ()), *left])


def _what_it_is(saved: State, expected: State) -> str:
    if other := kind_hint(saved, expected):
        return other
    guess = guess_backbone(saved)
    return f"It looks like {guess} alone: give it as backbone.pretrained." if guess else ""
