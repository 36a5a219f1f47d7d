"""What a metric is: its unit, which end is better, and whether it says most of a run.

A task declares its metrics once (`Task.metrics`), a mode the others that it adds. Nothing about a
metric is read from how its name begins or ends.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

SHARE = "%"


@dataclass(frozen=True)
class Metric:
    """One metric of a task or a mode.

    Args:
        name: the second part of what results call it: `miou` of `test/miou` and `val/miou`.
        unit: `%` for a share of 1 that people read in percent; any other stands behind the number.
        better: which end is better, if it was said.
        headline: one of those that say most of a run; they come first, in their order.
        detail: left out of the tables of a whole run, such as the precision of small objects.
    """

    name: str
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    headline: bool = False
    detail: bool = False


Declared = Mapping[str, Metric]
"""Metrics by their names."""


def declared(metrics: Iterable[Metric]) -> dict[str, Metric]:
    """Metrics by their names."""
    return {metric.name: metric for metric in metrics}


def metric_of(name: str, metrics: Declared) -> Metric:
    """The declaration of a metric, by a name in results; one that nobody declared is a number.

    Args:
        name: `stage/measure`, perhaps with a third part that names a class or a condition; or the
            measure alone.
        metrics: the declared ones.
    """
    parts = name.split("/")
    measure = parts[1] if len(parts) > 1 else parts[0]
    return metrics.get(measure) or Metric(measure)


def metric_text(name: str, value: float, metrics: Declared) -> str:
    """A metric for people: shares as percentages, all else with four digits and its unit.

    One that is not finite is `nan`, `inf` or `-inf`, with a note beside it of the run.
    """
    if not math.isfinite(value):
        return str(value)
    unit = metric_of(name, metrics).unit
    if unit == SHARE:
        return f"{100 * value:.2f} %"
    return f"{value:.4g} {unit}" if unit else f"{value:.4g}"


def as_plain(metrics: Declared) -> dict[str, dict[str, Any]]:
    """Declarations as plain data, for `results.json`."""
    return {
        name: {key: value for key, value in asdict(metric).items() if key != "name"}
        for name, metric in metrics.items()
    }


def from_plain(plain: Any) -> dict[str, Metric]:
    """Declarations that `as_plain` wrote; nothing of what is not of that form."""
    entries = plain.items() if isinstance(plain, Mapping) else ()
    known = {"unit", "better", "headline", "detail"}
    return {
        name: Metric(name, **{key: value for key, value in entry.items() if key in known})
        for name, entry in entries
        if isinstance(entry, Mapping)
    }
