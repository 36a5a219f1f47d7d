"""What a detector does wrong, and what each kind of mistake costs (TIDE, arXiv 2008.08115)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.detection.records import ImageDetections, ImageTruth
from tasks.detection.scoring.coco import check_images
from tasks.detection.scoring.overlaps import box_overlaps

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
COUNTED_FROM = 0.3
"""Score from which detections are counted; what a kind costs is computed from all of them."""
_RIGHT, _IGNORED = -1, -2
_CLASSIFICATION, _LOCALISATION, _BOTH, _DUPLICATE, _BACKGROUND = range(5)
_NONE = -1
_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Mistakes:
    """The mistakes of a test, at an IoU of 0.5.

    Args:
        ap50: of boxes, as it is, without crowds.
        counts: of each of `KINDS`, among detections that score `COUNTED_FROM` and more.
        gains: of each kind, by how much AP50 would rise if only these mistakes were mended; nan if
            nothing would be left to find.
    """

    ap50: float
    counts: dict[str, int]
    gains: dict[str, float]


@dataclass(frozen=True)
class _Judged:
    """Detections of one or all images, with their mistakes.

    `verdicts` hold a kind, `_RIGHT` or `_IGNORED`; `objects` the number of the true object that a
    detection found or should have found, or `_NONE`.
    """

    labels: Ints
    scores: Floats
    verdicts: Ints
    objects: Ints


def mistakes(
    truths: Sequence[ImageTruth],
    detections: Sequence[ImageDetections],
    class_count: int,
    iou: float = 0.5,
    background_iou: float = 0.1,
) -> Mistakes:
    """Sort the wrong detections of boxes by kind.

    A wrong detection is one of localisation if it overlaps an object of its class by
    `background_iou` to `iou`; else of classification if it overlaps one of another class by `iou`;
    else a duplicate if that object of its class has been found; else background if it overlaps no
    object by `background_iou`; else both. An object is missed if it was neither found nor is the
    one that a mistake of localisation or classification means.

    To mend is to give the right box or class to the best detection that means an object which
    nothing found, and to drop the others; to drop duplicates, background and both; and to not
    expect the missed objects. Detections of a crowd are left out.

    Args:
        truths: of every image.
        detections: of some or all of them.
        class_count: number of classes.
        iou: from which an object counts as found.
        background_iou: below which a detection has to do with no object.

    Raises:
        ValueError: as `check_images`.
    """
    check_images(truths, detections)
    found = {one.image_id: one for one in detections}
    parts, first = [], 0
    ordered = sorted(truths, key=lambda truth: truth.image_id)  # decides between equal scores
    for truth in ordered:
        if truth.image_id in found:
            parts.append(_judge(truth, found[truth.image_id], first, iou, background_iou))
        first += len(truth.labels)
    labels = _joined([truth.labels for truth in ordered])
    crowd = _joined([truth.crowd for truth in ordered]).astype(bool)
    names = ("labels", "scores", "verdicts", "objects")
    columns: list[Any] = [_joined([getattr(part, name) for part in parts]) for name in names]
    best_first = np.argsort(-columns[1], kind="stable")
    judged = _Judged(*(column[best_first] for column in columns))
    return _summed(judged, np.where(crowd, _NONE, labels), class_count)


def _joined(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)


def _judge(
    truth: ImageTruth, found: ImageDetections, first: int, iou: float, background_iou: float
) -> _Judged:
    """Judge the detections of one image, whose objects are numbered from `first`."""
    # The last column, of no object, is 0, so that no row is empty.
    overlaps = np.pad(box_overlaps(found.boxes, truth.boxes, truth.crowd), ((0, 0), (0, 1)))
    same = found.labels[:, None] == np.append(truth.labels, _NONE)
    crowd = np.append(truth.crowd, False)
    own = np.where(same & ~crowd, overlaps, 0.0)
    others = np.where(~same & ~crowd, overlaps, 0.0)
    in_crowd = np.where(same & crowd, overlaps, 0.0).max(1) >= iou
    taken = _taken(own, found.scores, iou)
    most_own, most_others = own.max(1), others.max(1)
    verdicts = np.select(
        [
            taken != _NONE,
            in_crowd,
            (most_own >= background_iou) & (most_own < iou),
            most_others >= iou,
            most_own >= iou,
            np.maximum(most_own, most_others) < background_iou,
        ],
        [_RIGHT, _IGNORED, _LOCALISATION, _CLASSIFICATION, _DUPLICATE, _BACKGROUND],
        _BOTH,
    )
    meant = [verdicts == kind for kind in (_RIGHT, _LOCALISATION, _CLASSIFICATION)]
    objects = np.select(meant, [taken, own.argmax(1), others.argmax(1)], _NONE)
    objects[objects != _NONE] += first
    return _Judged(found.labels, found.scores.astype(float), verdicts, objects)


def _taken(overlaps: Floats, scores: NDArray[np.float32], iou: float) -> Ints:
    """Column (or `_NONE`) that each row takes: the best scored row first, the largest free one."""
    free, taken = overlaps.copy(), np.full(len(overlaps), _NONE)
    rows = np.flatnonzero(overlaps.max(1) >= iou)
    for row in rows[np.argsort(-scores[rows], kind="stable")]:
        column = free[row].argmax()
        if free[row, column] >= iou:
            taken[row] = column
            free[:, column] = 0
    return taken


def _summed(judged: _Judged, objects: Ints, class_count: int) -> Mistakes:
    """Counts and gains, from detections, best first, and the class of each object."""
    wanted = np.bincount(objects[objects != _NONE], minlength=class_count)
    right = judged.verdicts == _RIGHT
    kept = judged.verdicts != _IGNORED
    classes = np.flatnonzero(wanted)
    ap50 = _ap(judged.labels[kept], right[kept], wanted, classes)
    gains = {}
    for kind, name in enumerate(KINDS[:-1]):
        labels, correct, stays = _mended(judged, objects, kind)
        stays &= kept
        gains[name] = _ap(labels[stays], correct[stays], wanted, classes) - ap50
    missed = _missed(judged, objects, np.ones(len(right), bool))
    left = wanted - np.bincount(objects[missed], minlength=class_count)
    gains["missed"] = _ap(judged.labels[kept], right[kept], left, classes) - ap50
    counted = judged.scores >= COUNTED_FROM
    counts = {n: int((judged.verdicts[counted] == k).sum()) for k, n in enumerate(KINDS[:-1])}
    counts["missed"] = len(_missed(judged, objects, counted))
    return Mistakes(ap50, counts, gains)


def _mended(
    judged: _Judged, objects: Ints, kind: int
) -> tuple[Ints, NDArray[np.bool_], NDArray[np.bool_]]:
    """Labels, whether right, and whether they stay, of detections with one kind mended."""
    labels, right = judged.labels.copy(), judged.verdicts == _RIGHT
    wrong = judged.verdicts == kind
    stays = ~wrong
    if kind in (_CLASSIFICATION, _LOCALISATION):
        taken = set(judged.objects[right].tolist())
        for i in np.flatnonzero(wrong):  # best first: the first one gets the object
            target = int(judged.objects[i])
            if target not in taken:
                taken.add(target)
                labels[i], right[i], stays[i] = objects[target], True, True
    return labels, right, stays


def _missed(judged: _Judged, objects: Ints, counted: NDArray[np.bool_]) -> Ints:
    """Numbers of the objects that no counted detection found or means."""
    meant = judged.objects[counted & (judged.verdicts != _IGNORED)]
    left = objects != _NONE
    left[meant[meant != _NONE]] = False
    return np.flatnonzero(left)


def _ap(labels: Ints, right: NDArray[np.bool_], wanted: Ints, classes: Ints) -> float:
    """Mean over classes of the average precision over 101 recalls.

    As in TIDE, a class of which no object is left has a precision of 0 if something is detected,
    and does not count if nothing is.

    Args:
        labels: of the detections, best first.
        right: whether each is right.
        wanted: (K,), objects of each class.
        classes: those that have objects before anything is mended.
    """
    values = []
    for label in classes:
        hits = right[labels == label]
        if not wanted[label]:
            values += [0.0] if len(hits) else []
            continue
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        recall = np.cumsum(hits) / wanted[label]
        places = np.searchsorted(recall, _RECALLS, side="left")
        reached = places < len(precision)
        values.append(float(precision[places[reached]].sum()) / len(_RECALLS))
    return float(np.mean(values)) if values else float("nan")
