"""Figures by corruption and severity, as the images take them."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from tasks.robustness.corruptions import GROUPS, SEVERITIES

Values = Mapping[tuple[str, int], float]
"""A figure, 0 to 1, by corruption and severity; a missing one is absent or nan."""
EXTRA_GROUP = "extra"
_GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}


def by_severity(values: Values, corruptions: Sequence[str]) -> NDArray[np.float64]:
    """The figures in percent, (corruptions, severities); nan where there is none."""
    rows = [[values.get((name, level), math.nan) for level in SEVERITIES] for name in corruptions]
    return 100 * np.array(rows, dtype=float).reshape(-1, len(SEVERITIES))


def has_figure(values: Values, corruption: str) -> bool:
    """Whether a corruption has a figure at any severity."""
    return bool(np.isfinite(by_severity(values, [corruption])).any())


def group_spans(corruptions: Sequence[str]) -> list[tuple[str, int, int]]:
    """Name, beginning and end of each stretch of corruptions of one group."""
    spans, start = [], 0
    for group, members in groupby(corruptions, lambda name: _GROUP_OF.get(name, EXTRA_GROUP)):
        stop = start + len(list(members))
        spans.append((group, start, stop))
        start = stop
    return spans


def spoken(corruption: str) -> str:
    """The name of a corruption as it is written in an image."""
    return corruption.replace("_", " ")
