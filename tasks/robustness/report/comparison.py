"""This run against others: differences, with intervals where both saw the same pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ReportError
from tasks.robustness.cells import CLEAN, ON_THE_FLY, Cell
from tasks.robustness.corruptions import CORRUPTIONS, EXTRA, SEVERITIES
from tasks.robustness.ledger import CellRecord, Ledger, Records
from tasks.robustness.scoring.evaluations import IMAGENET_C, SUBSETS, WHOLE, Figure, image_sums
from tasks.robustness.scoring.figures import Kind, figures_of
from tasks.robustness.scoring.intervals import UNKNOWN, Interval, mean_interval
from tasks.robustness.scoring.scores import ALL
from tasks.robustness.scoring.summary import ALEXNET
from tasks.run_folder import read_protocol


@dataclass(frozen=True)
class OtherRun:
    """A model of another run.

    Args:
        name: of folder and model.
        records: its finished cells.
        figures: by name.
        protocol: of that run.
    """

    name: str
    records: Records
    figures: dict[str, Figure]
    protocol: dict[str, Any]


def read_runs(folders: list[Path], kind: Kind) -> list[OtherRun]:
    """The models of other runs.

    Raises:
        ReportError: a folder that is none of a robustness run, or has no finished cell.
    """
    runs = []
    for folder in folders:
        protocol, ledger = read_protocol(folder), Ledger(folder)
        models = list(ledger.models())
        if not models:
            raise ReportError(
                f"compare={folder}: there is no finished cell in {ledger.folder}. Give the folder "
                "of a run of task=robustness that has ended."
            )
        for model in models:
            name = folder.name if len(models) == 1 else f"{folder.name}/{model}"
            records = ledger.read(model)
            runs.append(OtherRun(name, records, figures_of(records, kind), protocol))
    return runs


def protocol_differences(own: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In which settings two protocols differ, the models aside."""
    keys = [key for key in {**own, **other} if key != "models"]
    return [
        f"{key}: {own.get(key)} here, {other.get(key)} there"
        for key in keys
        if own.get(key) != other.get(key)
    ]


def figure_differences(
    own: Records, own_figures: Mapping[str, Figure], other: OtherRun
) -> dict[str, Figure]:
    """Other minus own of every figure that both have."""
    differences = {}
    for name in own_figures:
        if name in other.figures:
            value = other.figures[name].value - own_figures[name].value
            span = _paired(_image_values(own, name), _image_values(other.records, name))
            differences[name] = Figure(value, span)
    return differences


def corruption_differences(
    own: Records, other: Records, collection: str
) -> dict[str, tuple[float, float, float]]:
    """Mean error of the other minus own by corruption, where both have all severities."""
    differences = {}
    for corruption in (*CORRUPTIONS, *EXTRA):
        sides = [_of_corruption(side, collection, corruption) for side in (own, other)]
        if all(len(side) == len(SEVERITIES) for side in sides):
            means = [np.mean([1 - r.figures["top1"] for r in side]) for side in sides]
            weights = [1 / len(SEVERITIES)] * len(SEVERITIES)
            sums = [_with_digest(side, weights) for side in sides]
            span = _paired(*sums)
            differences[corruption] = (float(means[1] - means[0]), *span)
    return differences


_Values = tuple[str, NDArray[np.float64]] | None
"""Digest of the pictures' names, and a value per picture whose mean is the figure."""


def _paired(own: _Values, other: _Values) -> Interval:
    if own is None or other is None or own[0] != other[0] or own[1].shape != other[1].shape:
        return UNKNOWN
    return mean_interval(other[1] - own[1])


def _image_values(records: Records, name: str) -> _Values:
    """The parts of a figure by picture, for figures that are means over pictures."""
    collection = ON_THE_FLY if name.endswith("_on_the_fly") else IMAGENET_C
    if name.removesuffix("_on_the_fly") in ("mce", "mean_error"):
        used = [r for c in ALEXNET for r in _of_corruption(records, collection, c)]
        if len(used) != len(ALEXNET) * len(SEVERITIES):
            return None
        measures = [ALEXNET[r.cell.corruption] if name.startswith("mce") else 1 for r in used]
        return _with_digest(used, [1 / len(used) / measure for measure in measures])
    for collection, (short, space) in SUBSETS.items():
        if name in (f"{short}_top1", f"{short}_top1_unmasked"):
            return _right(records.get(Cell(collection)), space if name[-1] == "1" else ALL)
        if name == f"{short}_clean_top1":
            return _right(records.get(Cell(CLEAN)), space)
    for collection, short in {**WHOLE, CLEAN: "clean"}.items():
        if name == f"{short}_top1":
            return _right(records.get(Cell(collection)), ALL)
    return None


def _right(record: CellRecord | None, space: str) -> _Values:
    if record is None or space not in record.outcomes:
        return None
    outcomes = record.outcomes[space]
    return f"{record.names}/{hash(outcomes.index.tobytes())}", outcomes.right


def _with_digest(records: list[CellRecord], weights: list[float]) -> _Values:
    sums = image_sums(records, weights)
    if sums is None:
        return None
    return f"{records[0].names}/{hash(records[0].outcomes[ALL].index.tobytes())}", sums


def _of_corruption(records: Records, collection: str, corruption: str) -> list[CellRecord]:
    cells = (Cell(collection, corruption, severity) for severity in SEVERITIES)
    return [records[cell] for cell in cells if cell in records and records[cell].images]
