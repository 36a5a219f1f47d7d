"""Figures of the published sets: each piece takes finished cells and yields names and figures.

A piece whose set is not there yields nothing; one whose set falls short says so with its figures.
"""

from collections.abc import Sequence

import numpy as np

from tasks.robustness.cells import CLEAN
from tasks.robustness.ledger import Records
from tasks.robustness.published.subsets import SubsetName
from tasks.robustness.scoring.corrupted import corruptions, imagenet_c_bar
from tasks.robustness.scoring.figure import Figure, Named, Piece, remark_on, scored_cell
from tasks.robustness.scoring.intervals import apart, mean_interval, share_interval
from tasks.robustness.scoring.outcomes import Outcomes
from tasks.robustness.scoring.scores import ALL, classifier_figures

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


def clean(records: Records) -> Named:
    """Top-1, calibration error and confidence on the clean images."""
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
        record, clean_record = scored_cell(records, collection), scored_cell(records, CLEAN)
        if record is None or not len(record.outcomes[space]):
            continue
        masked, remark = record.outcomes[space], remark_on([record])
        yield from _outcome_figures(name, masked, remark)
        yield f"{name}_top1_unmasked", _accuracy(record.outcomes[ALL], remark)
        if clean_record is None or not len(clean_record.outcomes.get(space, ())):
            continue
        same, remarks = clean_record.outcomes[space], remark_on([record, clean_record])
        yield f"{name}_clean_top1", _accuracy(same, remark_on([clean_record]))
        drop = float(same.right.mean() - masked.right.mean())
        yield f"{name}_drop", Figure(drop, apart(same.right, masked.right), remarks)


def published_sets(records: Records) -> Named:
    """All figures of the published sets."""
    pieces: Sequence[Piece] = (clean, corruptions, subsets, whole_sets, imagenet_c_bar)
    for piece in pieces:
        yield from piece(records)


def _whole(records: Records, collection: str, name: str) -> Named:
    record = scored_cell(records, collection)
    if record is not None:
        yield from _outcome_figures(name, record.outcomes[ALL], remark_on([record]))


def _outcome_figures(name: str, outcomes: Outcomes, remark: str) -> Named:
    figures = classifier_figures(outcomes)
    yield f"{name}_top1", _accuracy(outcomes, remark)
    yield f"{name}_ece", Figure(figures["ece"], remark=remark)
    confidence = mean_interval(outcomes.confidence.astype(np.float64))
    yield f"{name}_confidence", Figure(figures["confidence"], confidence, remark)


def _accuracy(outcomes: Outcomes, remark: str) -> Figure:
    right = outcomes.right
    return Figure(
        classifier_figures(outcomes)["top1"], share_interval(int(right.sum()), len(right)), remark
    )
