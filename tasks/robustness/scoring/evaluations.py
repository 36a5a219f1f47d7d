"""The pieces of a robustness evaluation: each takes finished cells and yields names and figures.

A piece whose set is not there yields nothing; one whose set falls short says so with its figures.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.robustness.cells import CLEAN, ON_THE_FLY, Cell
from tasks.robustness.corruptions import EXTRA, SEVERITIES
from tasks.robustness.ledger import CellRecord, Records
from tasks.robustness.published.layouts import BAR_CORRUPTIONS
from tasks.robustness.published.subsets import SubsetName
from tasks.robustness.scoring.intervals import (
    UNKNOWN,
    Interval,
    apart,
    mean_interval,
    share_interval,
)
from tasks.robustness.scoring.outcomes import Outcomes
from tasks.robustness.scoring.scores import ALL, classifier_figures
from tasks.robustness.scoring.summary import (
    ALEXNET,
    CLEAN_ALEXNET,
    corruption_summary,
    performance_summary,
)

IMAGENET_C, IMAGENET_C_BAR = "imagenet-c", "imagenet-c-bar"
SUBSETS: dict[str, tuple[str, SubsetName]] = {
    "imagenet-a": ("a", "imagenet_a"),
    "imagenet-r": ("r", "imagenet_r"),
}
"""Short name and label space of the sets of 200 classes, by collection."""
WHOLE = {
    "imagenet-sketch": "sketch",
    "imagenetv2-matched-frequency": "v2_matched_frequency",
    "imagenetv2-threshold0.7": "v2_threshold07",
    "imagenetv2-top-images": "v2_top_images",
}
"""Short names of the other sets of all classes, by collection."""
_MOST_NAMED = 3


class Figure(NamedTuple):
    """A figure with its 95 % interval, and what it falls short of (empty: nothing)."""

    value: float
    interval: Interval = UNKNOWN
    remark: str = ""


Named = Iterator[tuple[str, Figure]]
Piece = Callable[[Records], Named]


def clean(records: Records) -> Named:
    """Top-1, calibration error and confidence on the clean pictures."""
    yield from _whole(records, CLEAN, "clean")


def whole_sets(records: Records) -> Named:
    """Likewise on Sketch (arXiv 1905.13549) and the three variants of V2 (1902.10811)."""
    for collection, name in WHOLE.items():
        yield from _whole(records, collection, name)


def subsets(records: Records) -> Named:
    """ImageNet-A (arXiv 1907.07174) and -R (2006.16241), among their 200 classes and among all.

    Beside it the clean accuracy among and on the same 200 classes, and the drop from it.
    """
    for collection, (name, space) in SUBSETS.items():
        record, clean_record = _scored(records, collection), _scored(records, CLEAN)
        if record is None or not len(record.outcomes[space]):
            continue
        masked, remark = record.outcomes[space], _remark([record])
        yield from _outcome_figures(name, masked, remark)
        yield f"{name}_top1_unmasked", _accuracy(record.outcomes[ALL], remark)
        if clean_record is None or not len(clean_record.outcomes.get(space, ())):
            continue
        same, remarks = clean_record.outcomes[space], _remark([record, clean_record])
        yield f"{name}_clean_top1", _accuracy(same, _remark([clean_record]))
        drop = float(same.right.mean() - masked.right.mean())
        yield f"{name}_drop", Figure(drop, apart(same.right, masked.right), remarks)


def corruptions(records: Records, collection: str = IMAGENET_C, suffix: str = "") -> Named:
    """mCE, mean error and relative mCE over the fifteen corruptions of ImageNet-C.

    Args:
        records: finished cells.
        collection: whose cells.
        suffix: of the names.
    """
    own, clean_record = _of(records, collection), _scored(records, CLEAN)
    if not own:
        return
    errors = {key: error(record) for key, record in own.items()}
    summary = corruption_summary(errors, error(clean_record) if clean_record else None)
    used = [r for (name, _), r in own.items() if name in summary.errors]
    remark = _join(_incomplete(summary.missing, len(ALEXNET)), _remark(used))
    count = len(summary.errors) * len(SEVERITIES)
    by_alexnet = [1 / count / ALEXNET[record.cell.corruption] for record in used]
    plain = [1 / count] * len(used)
    excess = [1 / count / (ALEXNET[r.cell.corruption] - CLEAN_ALEXNET) for r in used]
    yield f"mce{suffix}", Figure(summary.mce, _summed(used, by_alexnet), remark)
    yield f"mean_error{suffix}", Figure(summary.mean_error, _summed(used, plain), remark)
    if clean_record is not None:
        among = [*used, clean_record]
        span = _summed(among, [*excess, -sum(excess)])
        remark = _join(_incomplete(summary.missing, len(ALEXNET)), _remark(among))
        yield f"relative_mce{suffix}", Figure(summary.relative_mce, span, remark)
    yield from _mean_error(f"extra_error{suffix}", own, EXTRA)


def corrupted_classes(records: Records, imagenet: bool = False) -> Named:
    """Figures of a classifier on pictures corrupted on the fly, which are not ImageNet-C.

    Args:
        records: finished cells.
        imagenet: the classes are ImageNet's thousand; else AlexNet's errors are no measure.
    """
    for name, figure in corruptions(records, ON_THE_FLY, "_on_the_fly"):
        if imagenet or "mce" not in name:
            yield name, figure
    top1 = {cell: record.figures["top1"] for cell, record in records.items() if record.images}
    for name, figure in _performance("top1", top1):
        if name != "top1_clean":
            yield name, figure


def imagenet_c_bar(records: Records) -> Named:
    """Mean error on ImageNet-C-bar (arXiv 2102.11273)."""
    yield from _mean_error("c_bar_error", _of(records, IMAGENET_C_BAR), BAR_CORRUPTIONS)


def dense(records: Records, measures: Sequence[str]) -> Named:
    """Clean performance, mean performance under corruption, and its share (arXiv 1907.07484).

    Args:
        records: finished cells.
        measures: such as `miou`, or `box_ap` and `mask_ap`.
    """
    for measure in measures:
        yield from _performance(
            measure,
            {cell: r.figures[measure] for cell, r in records.items() if measure in r.figures},
        )


def published_sets(records: Records) -> Named:
    """All figures of the published sets."""
    pieces: Sequence[Piece] = (clean, corruptions, subsets, whole_sets, imagenet_c_bar)
    for piece in pieces:
        yield from piece(records)


def error(record: CellRecord) -> float:
    """Share of wrong predictions, nan without an image."""
    return 1 - record.figures.get("top1", float("nan"))


def image_sums(
    records: Sequence[CellRecord], weights: Sequence[float]
) -> NDArray[np.float64] | None:
    """Per image (n,) the sum over cells of weight times being wrong; its mean is a mean error.

    None unless all cells hold the same images.
    """
    first = records[0]
    total = np.zeros(first.images)
    for record, weight in zip(records, weights, strict=True):
        if record.names != first.names or not len(record.outcomes.get(ALL, ())):
            return None
        outcomes = record.outcomes[ALL]
        if not np.array_equal(outcomes.index, first.outcomes[ALL].index):
            return None
        total += weight * (1 - outcomes.right)
    return total


def _scored(records: Records, collection: str) -> CellRecord | None:
    """The one cell of a collection, if a picture of it was scored."""
    record = records.get(Cell(collection))
    return record if record is not None and record.images else None


def _of(records: Records, collection: str) -> dict[tuple[str, int], CellRecord]:
    """The cells of a collection of which a picture was scored."""
    return {
        (cell.corruption, cell.severity): record
        for cell, record in records.items()
        if cell.collection == collection and record.images
    }


def _summed(records: Sequence[CellRecord], weights: Sequence[float]) -> Interval:
    sums = image_sums(records, weights) if records else None
    return UNKNOWN if sums is None else mean_interval(sums)


def _whole(records: Records, collection: str, name: str) -> Named:
    record = _scored(records, collection)
    if record is not None:
        yield from _outcome_figures(name, record.outcomes[ALL], _remark([record]))


def _outcome_figures(name: str, outcomes: Outcomes, remark: str) -> Named:
    figures = classifier_figures(outcomes)
    yield f"{name}_top1", _accuracy(outcomes, remark)
    yield f"{name}_ece", Figure(figures["ece"], remark=remark)
    confidence = mean_interval(outcomes.confidence.astype(np.float64))
    yield f"{name}_confidence", Figure(figures["confidence"], confidence, remark)


def _accuracy(outcomes: Outcomes, remark: str) -> Figure:
    right = outcomes.right
    return Figure(float(right.mean()), share_interval(int(right.sum()), len(right)), remark)


def _mean_error(
    name: str, own: Mapping[tuple[str, int], CellRecord], names: Sequence[str]
) -> Named:
    wanted = [(corruption, severity) for corruption in names for severity in SEVERITIES]
    missing = tuple(key for key in wanted if key not in own)
    broken = {corruption for corruption, _ in missing}
    used = [own[key] for key in wanted if key[0] not in broken]
    if used:
        remark = _join(_incomplete(missing, len(names)), _remark(used))
        value = float(np.mean([error(record) for record in used]))
        yield name, Figure(value, _summed(used, [1 / len(used)] * len(used)), remark)


def _performance(measure: str, values: Mapping[Cell, float]) -> Named:
    if Cell(CLEAN) not in values:
        return
    cells = {
        (cell.corruption, cell.severity): value
        for cell, value in values.items()
        if cell.collection == ON_THE_FLY
    }
    summary = performance_summary(cells, values[Cell(CLEAN)])
    remark = _incomplete(summary.missing, len(ALEXNET))
    yield f"{measure}_clean", Figure(summary.clean)
    yield f"{measure}_mpc", Figure(summary.mpc, remark=remark)
    yield f"{measure}_rpc", Figure(summary.rpc, remark=remark)


def _incomplete(missing: Sequence[tuple[str, int]], of: int) -> str:
    broken = list(dict.fromkeys(name for name, _ in missing))
    if not broken:
        return ""
    return f"over {of - len(broken)} of {of} corruptions, without {', '.join(broken)}"


def _remark(records: Sequence[CellRecord]) -> str:
    """What some cells fall short of, each thing said once with the cells that it is true of."""
    cells: dict[str, list[str]] = defaultdict(list)
    for record in records:
        for note in record.notes:
            cells[note].append(record.cell.name)
    return _join(*(f"{_named(names)}: {note}" for note, names in cells.items()))


def _named(names: Sequence[str]) -> str:
    if len(names) <= _MOST_NAMED:
        return ", ".join(names)
    return f"{len(names)} cells such as {names[0]}"


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
