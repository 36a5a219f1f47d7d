"""Names of the same parameters in different libraries: pure functions on dictionaries.

A vocabulary is a way to name the parameters of a model: an anchor, which is the name of one
parameter that is always there, and a function from dictionary to dictionary that gives the
model's own names.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from torch import Tensor

State = dict[str, Tensor]
STEM = "downsample_layers.0.0.weight"
TIMM_STEM = "stem.0.weight"
COMPILED = "_orig_mod."
AVERAGED_PARTS = ("teacher", "ema", "model_ema", "ema_model")
"""Names of parts that are the average of another: the teacher of DINO and of mean teachers."""

TIMM_TABLE = (
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
"""timm's ConvNeXt names and ours; the first pattern that fits is the one."""
_POINTWISE = re.compile(r"\.pwconv[12]\.weight$")


class Vocabulary(NamedTuple):
    """A way to name the parameters of a model."""

    source: str
    """Who writes such names."""
    anchor: str
    """A parameter that every state dict of the kind has."""
    rename: Callable[[Mapping[str, Tensor]], State]
    """To the model's own names."""


class Found(NamedTuple):
    """The entries of a saved state dict that are a model's, in the model's own names."""

    source: str
    state: State
    outside: tuple[str, ...]
    """Keys of the other entries, as saved."""
    prefix: str
    """What stands before the model's names in the saved keys."""
    beside: tuple[str, ...]
    """Other prefixes, under which a model of the same kind stands."""


def from_timm(state: Mapping[str, Tensor]) -> State:
    """Names of timm's ConvNeXt to ours; its 1x1 convolutions become linear layers."""
    renamed: State = {}
    for key, value in state.items():
        name = _by_table(key)
        is_1x1 = _POINTWISE.search(name) is not None and value.ndim == 4
        renamed[name] = value.flatten(1) if is_1x1 else value
    return renamed


def _by_table(key: str) -> str:
    for pattern, replacement in TIMM_TABLE:
        name, hits = re.subn(pattern, replacement, key)
        if hits:
            return name
    return key


CONVNEXT_VOCABULARIES = (
    Vocabulary("released", STEM, dict),
    Vocabulary("timm", TIMM_STEM, from_timm),
)
"""`released`: the names that the authors, Facebook and this project use."""


def find(
    saved: Mapping[str, Tensor], vocabularies: Collection[Vocabulary], expected: Collection[str]
) -> Found | None:
    """Where in `saved` a model stands, and under which names.

    A model may be saved as part of another (`backbone.`), in a wrapper of parallel or averaged
    training (`module.`) or compiled: any prefix before an anchor is tried, and the one under which
    most of the `expected` names stand is taken; of equals an average (`teacher.`, `ema.`), then the
    shortest.

    Returns:
        None if no vocabulary's anchor is there.
    """
    plain = {key.replace(COMPILED, ""): value for key, value in saved.items()}
    ranked: list[tuple[int, bool, Found]] = []
    for vocabulary in vocabularies:
        for prefix in _prefixes(plain, vocabulary.anchor):
            inside = {k.removeprefix(prefix): v for k, v in plain.items() if k.startswith(prefix)}
            outside = tuple(key for key in plain if not key.startswith(prefix))
            found = Found(vocabulary.source, vocabulary.rename(inside), outside, prefix, ())
            hits = sum(key in found.state for key in expected)
            ranked.append((hits, _is_average(prefix), found))
    if not ranked:
        return None
    most, _, best = max(ranked, key=lambda one: one[:2])  # the first of equals
    as_many = {f.prefix: None for hits, _, f in ranked if 2 * hits >= most and f is not best}
    return best._replace(beside=tuple(prefix for prefix in as_many if prefix != best.prefix))


def _is_average(prefix: str) -> bool:
    return any(part in AVERAGED_PARTS for part in prefix.split("."))


def _prefixes(keys: Collection[str], anchor: str) -> list[str]:
    """What stands before the anchor in the keys that end in it, shortest first."""
    before = (key.removesuffix(anchor) for key in keys if key.endswith(anchor))
    return sorted((prefix for prefix in before if not prefix or prefix[-1] == "."), key=len)
