"""Figures over cells of corrupted images."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.robustness.cells import CLEAN, IMAGENET_C, IMAGENET_C_BAR, ON_THE_FLY, Cell
from tasks.robustness.corruptions import EXTRA, SEVERITIES, registered_corruptions
from tasks.robustness.ledger import CellRecord, Records
from tasks.robustness.published.layouts import BAR_CORRUPTIONS
from tasks.robustness.scoring.figure import Figure, Named, joined_remarks, remark_on, scored_cell
from tasks.robustness.scoring.intervals import UNKNOWN, Interval, mean_interval
from tasks.robustness.scoring.scores import ALL
from tasks.robustness.scoring.summary import (
    ALEXNET,
    CLEAN_ALEXNET,
    corruption_summary,
    performance_summary,
)


def corruptions(records: Records, collection: str = IMAGENET_C, suffix: str = "") -> Named:
    """mCE, mean error and relative mCE over the fifteen corruptions of ImageNet-C.

    Args:
        records: finished cells.
        collection: whose cells.
        suffix: of the names.
    """
    own, clean_record = _of(records, collection), scored_cell(records, CLEAN)
    if not own:
        return
    errors = {key: error(record) for key, record in own.items()}
    summary = corruption_summary(errors, error(clean_record) if clean_record else None)
    used = [r for (name, _), r in own.items() if name in summary.errors]
    if not used:
        remark = _incomplete(summary.missing, tuple(ALEXNET))
        yield f"mean_error{suffix}", Figure(float("nan"), remark=remark)
        yield from _further(own, suffix)
        return
    remark = joined_remarks(_incomplete(summary.missing, tuple(ALEXNET)), remark_on(used))
    count = len(summary.errors) * len(SEVERITIES)
    by_alexnet = [1 / count / ALEXNET[record.cell.corruption] for record in used]
    plain = [1 / count] * len(used)
    excess = [1 / count / (ALEXNET[r.cell.corruption] - CLEAN_ALEXNET) for r in used]
    yield f"mce{suffix}", Figure(summary.mce, _summed(used, by_alexnet), remark)
    yield f"mean_error{suffix}", Figure(summary.mean_error, _summed(used, plain), remark)
    if clean_record is not None:
        among = [*used, clean_record]
        span = _summed(among, [*excess, -sum(excess)])
        remark = joined_remarks(_incomplete(summary.missing, tuple(ALEXNET)), remark_on(among))
        yield f"relative_mce{suffix}", Figure(summary.relative_mce, span, remark)
    yield from _further(own, suffix)


def _further(own: Mapping[tuple[str, int], CellRecord], suffix: str) -> Named:
    """Mean errors of the four extra corruptions, and of each that was registered."""
    yield from _mean_error(f"extra_error{suffix}", own, EXTRA)
    for name in registered_corruptions():
        yield from _mean_error(f"{name}_error{suffix}", own, (name,))


def corrupted_classes(records: Records, imagenet: bool = False) -> Named:
    """Figures of a classifier on images corrupted on the fly, which are not ImageNet-C.

    Args:
        records: finished cells.
        imagenet: the classes are ImageNet's thousand; else AlexNet's errors are no measure.
    """
    figures = dict(corruptions(records, ON_THE_FLY, "_on_the_fly"))
    for name, figure in figures.items():
        if imagenet or "mce" not in name:
            yield name, figure
    top1 = {cell: record.figures["top1"] for cell, record in records.items() if record.images}
    for name, figure in _performance("top1", top1):
        if name == "top1_mpc":  # 1 - mean error
            mean = figures["mean_error_on_the_fly"]
            low, high = mean.interval
            span = Interval(1 - high, 1 - low)
            yield name, figure._replace(value=1 - mean.value, interval=span)
        elif name != "top1_clean":
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


def complete_corruptions(records: Records, collection: str) -> set[str]:
    """The corruptions of which all severities were scored."""
    scored = Counter(name for name, _ in _of(records, collection))
    return {name for name, count in scored.items() if count == len(SEVERITIES)}


def _of(records: Records, collection: str) -> dict[tuple[str, int], CellRecord]:
    """The cells of a collection of which an image was scored."""
    return {
        (cell.corruption, cell.severity): record
        for cell, record in records.items()
        if cell.collection == collection and record.images
    }


def _summed(records: Sequence[CellRecord], weights: Sequence[float]) -> Interval:
    sums = image_sums(records, weights) if records else None
    return UNKNOWN if sums is None else mean_interval(sums)


def _mean_error(
    name: str, own: Mapping[tuple[str, int], CellRecord], names: Sequence[str]
) -> Named:
    wanted = [(corruption, severity) for corruption in names for severity in SEVERITIES]
    missing = tuple(key for key in wanted if key not in own)
    broken = {corruption for corruption, _ in missing}
    used = [own[key] for key in wanted if key[0] not in broken]
    if used:
        remark = joined_remarks(_incomplete(missing, names), remark_on(used))
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
    remark = _incomplete(summary.missing, tuple(ALEXNET))
    yield f"{measure}_clean", Figure(summary.clean)
    yield f"{measure}_mpc", Figure(summary.mpc, remark=remark)
    yield f"{measure}_rpc", Figure(summary.rpc, remark=remark)


def _incomplete(missing: Sequence[tuple[str, int]], names: Sequence[str]) -> str:
    """Over which of the named corruptions a figure is; empty: over all."""
    broken = list(dict.fromkeys(name for name, _ in missing))
    kept = [name for name in names if name not in broken]
    if not broken:
        return ""
    few = len(broken) <= len(kept)
    which = f", without {', '.join(broken)}" if few else f": {', '.join(kept) or 'none'}"
    return f"over {len(kept)} of {len(names)} corruptions{which}"
