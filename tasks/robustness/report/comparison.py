"""This run against others: differences, with intervals where both saw the same images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ReportError
from tasks.reporting.results import FILE_NAME
from tasks.robustness.cells import CLEAN, IMAGENET_C, ON_THE_FLY, Cell
from tasks.robustness.corruptions import CORRUPTIONS, EXTRA, SEVERITIES, all_corruptions
from tasks.robustness.ledger import CellRecord, Ledger, Records
from tasks.robustness.scoring.corrupted import complete_corruptions, error, image_sums
from tasks.robustness.scoring.evaluations import SUBSETS, WHOLE
from tasks.robustness.scoring.figure import Figure
from tasks.robustness.scoring.figures import Kind, figures_of
from tasks.robustness.scoring.intervals import UNKNOWN, Interval, mean_interval
from tasks.robustness.scoring.scores import ALL
from tasks.robustness.scoring.summary import ALEXNET, over_severities
from tasks.run_folder import differing_settings, read_protocol


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


def check_comparable(folder: Path, protocol: Mapping[str, Any]) -> None:
    """Raise `ReportError` unless a run of the same kind has ended in a folder.

    Args:
        folder: of the other run.
        protocol: of this one.
    """
    other = read_protocol(folder)
    if not (folder / FILE_NAME).is_file():
        raise ReportError(
            f"compare={folder}: that run has not ended. Go on with it, by its own command and "
            f"run_dir={folder}, or leave it out."
        )
    kinds = [(p.get("task"), "sets" in p) for p in (protocol, other)]
    if kinds[0] != kinds[1]:
        said = [f"task={task} on {'published sets' if s else 'its data'}" for task, s in kinds]
        raise ReportError(
            f"compare={folder}: that run evaluated {said[1]}, this one {said[0]}: they have no "
            "figure in common. Leave it out."
        )


def read_runs(folders: list[Path], kind: Kind) -> list[OtherRun]:
    """The models of other runs (see `check_comparable`)."""
    runs = []
    for folder in folders:
        protocol, ledger = read_protocol(folder), Ledger(folder)
        models = list(ledger.models())
        for model in models:
            name = folder.name if len(models) == 1 else f"{folder.name}/{model}"
            records = ledger.read(model)
            runs.append(OtherRun(name, records, figures_of(records, kind), protocol))
    return runs


def protocol_differences(own: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In which settings two protocols differ, the models aside."""
    return [
        f"{key}: {here} here, {there} there"
        for key, (here, there) in differing_settings(own, other).items()
        if not key.startswith("models.")
    ]


def figure_differences(
    own: Records, own_figures: Mapping[str, Figure], other: OtherRun
) -> dict[str, Figure]:
    """Other minus own of every figure that both have over the same corruptions."""
    differences = {}
    whole = [
        [complete_corruptions(records, c) for c in (ON_THE_FLY, IMAGENET_C)]
        for records in (own, other.records)
    ]
    for name in own_figures:
        if name not in other.figures:
            continue
        value = other.figures[name].value - own_figures[name].value
        span = _paired(_image_values(own, name), _image_values(other.records, name))
        summed = name.endswith(("error", "mce", "_on_the_fly", "_mpc", "_rpc"))
        if summed and whole[0] != whole[1]:
            differences[name] = Figure(float("nan"), remark="not over the same corruptions")
        else:
            differences[name] = Figure(value, span)
    return differences


def corruption_differences(
    own: Records, other: Records, collection: str
) -> dict[str, tuple[float, float, float]]:
    """Mean error of the other minus own by corruption, where both have all severities."""
    differences = {}
    for corruption in all_corruptions():
        sides = [_of_corruption(side, collection, corruption) for side in (own, other)]
        if all(len(side) == len(SEVERITIES) for side in sides):
            values = [{(corruption, r.cell.severity): error(r) for r in side} for side in sides]
            means = [over_severities(one, corruption) for one in values]
            weights = [1 / len(SEVERITIES)] * len(SEVERITIES)
            sums = [_with_digest(side, weights) for side in sides]
            span = _paired(*sums)
            differences[corruption] = (means[1] - means[0], *span)
    return differences


_SUMS: dict[str, tuple[str, Sequence[str], int]] = {
    "mce": (IMAGENET_C, CORRUPTIONS, 1),
    "mean_error": (IMAGENET_C, CORRUPTIONS, 1),
    "extra_error": (IMAGENET_C, EXTRA, 1),
    "mce_on_the_fly": (ON_THE_FLY, CORRUPTIONS, 1),
    "mean_error_on_the_fly": (ON_THE_FLY, CORRUPTIONS, 1),
    "extra_error_on_the_fly": (ON_THE_FLY, EXTRA, 1),
    "top1_mpc": (ON_THE_FLY, CORRUPTIONS, -1),
}
"""Figures that are sums over cells: whose cells, of which corruptions, and in which direction."""
_Values = tuple[str, NDArray[np.float64]] | None
"""Digest of the images' names, and a value per image whose mean is the figure."""


def _paired(own: _Values, other: _Values) -> Interval:
    if own is None or other is None or own[0] != other[0] or own[1].shape != other[1].shape:
        return UNKNOWN
    return mean_interval(other[1] - own[1])


def _image_values(records: Records, name: str) -> _Values:
    """The parts of a figure by image, for figures that are means over images."""
    if name in _SUMS:
        collection, names, sign = _SUMS[name]
        whole = complete_corruptions(records, collection)
        used = [r for c in names if c in whole for r in _of_corruption(records, collection, c)]
        if not used:
            return None
        measures = [ALEXNET[r.cell.corruption] if "mce" in name else 1 for r in used]
        return _with_digest(used, [sign / len(used) / measure for measure in measures])
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
    return _seen(record, space), record.outcomes[space].right


def _with_digest(records: list[CellRecord], weights: list[float]) -> _Values:
    sums = image_sums(records, weights)
    return None if sums is None else (_seen(records[0], ALL), sums)


def _seen(record: CellRecord, space: str) -> str:
    """Equal for records of the same images."""
    return f"{record.names}/{hash(record.outcomes[space].index.tobytes())}"


def _of_corruption(records: Records, collection: str, corruption: str) -> list[CellRecord]:
    cells = (Cell(collection, corruption, severity) for severity in SEVERITIES)
    return [records[cell] for cell in cells if cell in records and records[cell].images]
