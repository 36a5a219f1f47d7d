"""What the report of a robustness evaluation is made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any

from tasks.reporting.page import ReportFigure
from tasks.robustness.cells import IMAGENET_C, ON_THE_FLY
from tasks.robustness.ledger import CellRecord, Records
from tasks.robustness.on_the_fly import PUBLISHED_SETS
from tasks.robustness.report.comparison import OtherRun
from tasks.robustness.scoring.figure import Figure
from tasks.robustness.scoring.figures import Kind


@dataclass(frozen=True)
class Evaluation:
    """What was found of one model."""

    records: Records
    figures: dict[str, Figure]


@dataclass(frozen=True)
class Report:
    """What the report is made of.

    Args:
        evaluations: by model, at least one.
        kind: what was evaluated.
        protocol: how.
        others: models of other runs.
        strip: draws example images of the first model, if there are any.
    """

    evaluations: Mapping[str, Evaluation]
    kind: Kind
    protocol: Mapping[str, Any]
    others: Sequence[OtherRun]
    strip: Callable[[], list[ReportFigure]]

    @property
    def collection(self) -> str:
        """Where the corrupted images come from."""
        return IMAGENET_C if self.kind.sets == "published" else ON_THE_FLY

    @property
    def origin(self) -> str:
        """What must be said of all figures; empty: nothing."""
        return origin_text(self.kind, self.protocol)

    @property
    def subset(self) -> str:
        """A sentence for every table, empty if all images were evaluated."""
        return subset_text(self.kind, self.protocol)


def subset_text(kind: Kind, protocol: Mapping[str, Any]) -> str:
    """What must be said of figures of a subset; empty if all images were evaluated."""
    limit = protocol.get("limit")
    evenly = ", evenly of all classes" if kind.sets != "dense" else ""
    return f"On a subset: {limit} images per set{evenly}." if limit else ""


def split_text(protocol: Mapping[str, Any]) -> str:
    """What must be said where a dataset has no test split; empty where it has one."""
    other = protocol.get("split", "test") != "test"
    return "Images of the validation split: the dataset has no test split." if other else ""


def strengths_text(protocol: Mapping[str, Any]) -> str:
    """How strong corruptions on the fly are; empty of published sets."""
    profile = protocol.get("profile")
    return f"Severities of {PUBLISHED_SETS[profile]} (profile={profile})." if profile else ""


def origin_text(kind: Kind, protocol: Mapping[str, Any]) -> str:
    """What must be said of all figures; empty: nothing."""
    return " ".join(filter(None, (kind.origin, strengths_text(protocol), split_text(protocol))))


def percent(value: float) -> str:
    """A share as a percentage, `-` if there is none."""
    return "-" if isnan(value) else f"{100 * value:.2f} %"


def span_text(figure: Figure) -> str:
    """The interval of a figure in percent, `-` if it is not known."""
    low, high = figure.interval
    if not (isfinite(low) and isfinite(high)):
        return "-"
    return f"{100 * low:.2f} to {100 * high:.2f}"


def measured(report: Report, records: Records) -> list[CellRecord]:
    """The cells of corrupted images that have figures."""
    return [r for cell, r in records.items() if cell.collection == report.collection and r.images]
