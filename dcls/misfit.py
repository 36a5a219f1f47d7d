"""Messages about checkpoints that do not fit a model: what differs, and what would fit."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from dcls.recognition import Recognised, recognise

_NAMED = 4
"""Keys of each kind that an error names; it counts the others."""
_KINDS = {
    "det": ("a detector", ("roi_head", "rpn_head")),
    "seg": ("a segmenter", ("decode_head",)),
}
"""By task: the model, and parts that only such a model has."""
_DEFAULTS = {"stem_stride": "4", "in_channels": "3", "features": "False", "share_positions": "True"}

State = Mapping[str, Tensor]


def misfit(
    path: str | Path,
    problems: Mapping[str, Sequence[str]],
    saved: State,
    expected: State,
    others: Iterable[str] = (),
) -> str:
    """The message of a checkpoint whose entries do not fit.

    Args:
        path: the file.
        problems: keys by what is wrong with them: `missing`, `unexpected`, `of another shape`.
        saved: the file's entries, in the model's names.
        expected: the model's state dict.
        others: keys of the file outside the model that may show what it is.
    """
    parts = [
        f"{len(keys)} {what} ({', '.join(_named(key, saved, expected) for key in keys[:_NAMED])}"
        f"{', ...' if keys[_NAMED:] else ''})"
        for what, keys in problems.items()
        if keys
    ]
    message = f"{path} does not fit the model: {'; '.join(parts)}."
    return " ".join([message, *_hints(problems, saved, expected, others)])


def settings_hint(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Which settings of a model would be those of the weights; empty if none differs.

    Args:
        there: settings by name, as the weights show them; empty if they show none.
        here: those of the model.
    """
    names = [name for name in there if there[name] != here.get(name)]
    if not names:
        return ""
    its, models = (
        " ".join(f"{name}={settings.get(name)}" for name in names) for settings in (there, here)
    )
    return f" The weights are of a model with {its}, not with {models}."


def kind_hint(saved: Iterable[str], expected: Iterable[str]) -> str:
    """What a file is by its keys, if it is the checkpoint of another kind of model; else empty."""
    kind, wanted = _kind(saved), _kind(expected)
    if kind is None or kind == wanted:
        return ""
    return (
        f"It is the checkpoint of {_KINDS[kind][0]}: use it with task={kind}, or start from its "
        "backbone alone: backbone.pretrained=<file>."
    )


def _hints(
    problems: Mapping[str, Sequence[str]], saved: State, expected: State, others: Iterable[str]
) -> list[str]:
    if other := kind_hint((*saved, *others), expected):
        return [other]
    hints = []
    own, wanted = recognise(saved), recognise(expected)
    if own is not None and own != wanted:
        hints.append(_other_backbone(own, wanted))
    heads = {key.split(".")[0] for keys in problems.values() for key in keys} - {"backbone"}
    if _kind(expected) and heads:
        fits = ", and not in the backbone" if own is not None and own == wanted else ""
        hints.append(f"It differs in {', '.join(sorted(heads))}{fits}.")
    return hints


def _other_backbone(own: Recognised, wanted: Recognised | None) -> str:
    if wanted is None or own.name != wanted.name:
        return f"This looks like {own}: build that backbone."
    there, here = own.settings, wanted.settings
    names = [n for n in dict.fromkeys((*there, *here)) if there.get(n) != here.get(n)]
    its, models = (
        ", ".join(f"{n}={s.get(n, _DEFAULTS.get(n, 'default'))}" for n in names)
        for s in (there, here)
    )
    return f"Its {own.name} was built with {its}, the model's with {models}: build it likewise."


def _named(key: str, saved: State, expected: State) -> str:
    if key not in saved or key not in expected:
        return key
    there, here = ("x".join(map(str, state[key].shape)) for state in (saved, expected))
    return key if there == here else f"{key}: {there}, in the model {here}"


def _kind(keys: Iterable[str]) -> str | None:
    parts = {part for key in keys for part in key.split(".")[:-1]}
    return next((kind for kind, (_, own) in _KINDS.items() if parts.intersection(own)), None)
