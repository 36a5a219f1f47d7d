"""What a detector does wrong, and what each kind of mistake costs (TIDE, arXiv 2008.08115)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from tasks.detection.records import ImageDetections, ImageTruth

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
        gains: of each kind, by how much AP50 would rise if only these mistakes were mended.
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
    overlap: float = 0.5,
    nothing: float = 0.1,
) -> Mistakes:
    """Sort the wrong detections of boxes by kind.

    A wrong detection is one of localisation if it overlaps an object of its class by `nothing` to
    `overlap`; else of classification if it overlaps one of another class by `overlap`; else a
    duplicate if that object of its class has been found; else background if it overlaps no object
    by `nothing`; else both. An object is missed if it was neither found nor is the one that a
    mistake of localisation or classification means.

    Args:
        truths: of every image.
        detections: of some or all of them.
        class_count: number of classes.
        overlap: IoU from which an object counts as found.
        nothing: IoU below which a detection has to do with no object.
    """
    found = {one.image_id: one for one in detections}
    parts, first = [], 0
    for truth in truths:
        if truth.image_id in found:
            parts.append(_judge(truth, found[truth.image_id], first, overlap, nothing))
        first += len(truth.labels)
    labels = _joined([truth.labels for truth in truths])
    crowd = _joined([truth.crowd for truth in truths]).astype(bool)
    names = ("labels", "scores", "verdicts", "objects")
    columns: list[Any] = [_joined([getattr(part, name) for part in parts]) for name in names]
    best_first = np.argsort(-columns[1], kind="stable")
    judged = _Judged(*(column[best_first] for column in columns))
    return _summed(judged, np.where(crowd, _NONE, labels), class_count)


def _joined(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)


def _judge(
    truth: ImageTruth, found: ImageDetections, first: int, overlap: float, nothing: float
) -> _Judged:
    """Judge the detections of one image, whose objects are numbered from `first`."""
    overlaps = _overlaps(found.boxes, truth.boxes, truth.crowd)
    same = found.labels[:, None] == truth.labels
    plain = ~truth.crowd
    own = np.where(same & plain, overlaps, 0.0)
    others = np.where(~same & plain, overlaps, 0.0)
    in_crowd = np.where(same & truth.crowd, overlaps, 0.0).max(1, initial=0) >= overlap
    count = len(found.labels)
    verdicts, objects = np.full(count, _BOTH), np.full(count, _NONE)
    taken = np.zeros(len(truth.labels), bool)
    for i in np.argsort(-found.scores, kind="stable"):
        free = np.where(taken, 0.0, own[i])
        if free.max(initial=0) >= overlap:
            verdicts[i], objects[i] = _RIGHT, free.argmax()
            taken[objects[i]] = True
        elif in_crowd[i]:
            verdicts[i] = _IGNORED
        elif nothing <= own[i].max(initial=0) < overlap:
            verdicts[i], objects[i] = _LOCALISATION, own[i].argmax()
        elif others[i].max(initial=0) >= overlap:
            verdicts[i], objects[i] = _CLASSIFICATION, others[i].argmax()
        elif own[i].max(initial=0) >= overlap:
            verdicts[i] = _DUPLICATE
        elif max(own[i].max(initial=0), others[i].max(initial=0)) < nothing:
            verdicts[i] = _BACKGROUND
    objects[objects != _NONE] += first
    return _Judged(found.labels, found.scores.astype(float), verdicts, objects)


def _overlaps(boxes: NDArray[np.float32], others: Floats, crowd: NDArray[np.bool_]) -> Floats:
    """IoU (n, m) of boxes (n, 4) with others (m, 4); with crowds the share of the box in them."""
    if not (len(boxes) and len(others)):
        return np.zeros((len(boxes), len(others)))
    sides = [np.hstack([b[:, :2], b[:, 2:] - b[:, :2]]).astype(float) for b in (boxes, others)]
    overlaps: Floats = coco_mask.iou(*sides, crowd.astype(np.uint8))
    return overlaps


def _summed(judged: _Judged, objects: Ints, class_count: int) -> Mistakes:
    """Counts and gains, from detections, best first, and the class of each object."""
    wanted = np.bincount(objects[objects != _NONE], minlength=class_count)
    right = judged.verdicts == _RIGHT
    kept = judged.verdicts != _IGNORED
    ap50 = _ap(judged.labels[kept], right[kept], wanted)
    gains = {}
    for kind, name in enumerate(KINDS[:-1]):
        labels, correct, stays = _mended(judged, objects, kind)
        stays &= kept
        gains[name] = _ap(labels[stays], correct[stays], wanted) - ap50
    missed = _missed(judged, objects, np.ones(len(right), bool))
    left = wanted - np.bincount(objects[missed], minlength=class_count)
    gains["missed"] = _ap(judged.labels[kept], right[kept], left) - ap50
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


def _ap(labels: Ints, right: NDArray[np.bool_], wanted: Ints) -> float:
    """Mean over the classes with objects of the average precision over 101 recalls.

    Args:
        labels: of the detections, best first.
        right: whether each is right.
        wanted: (K,), objects of each class.
    """
    values = []
    for label in np.flatnonzero(wanted > 0):
        hits = right[labels == label]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        recall = np.cumsum(hits) / wanted[label]
        places = np.searchsorted(recall, _RECALLS, side="left")
        reached = places < len(precision)
        values.append(precision[places[reached]].sum() / len(_RECALLS))
    return float(np.mean(values)) if values else float("nan")
