"""Kinds of mistakes and what they cost, by hand and against COCO's figures."""

import dataclasses

import numpy as np
import pytest

from tasks.detection.records import ImageDetections, ImageTruth
from tasks.detection.scoring.coco import coco_figures
from tasks.detection.scoring.mistakes import COUNTED_FROM, KINDS, mistakes

SIZE = (120, 160)
CLASSES = 3
NOTHING = dict.fromkeys(KINDS, 0)


def truth_of(*objects, image_id=1, crowd=()):
    """An image with objects (box, class); those whose numbers stand in `crowd` are crowds."""
    boxes = np.array([box for box, _ in objects], float).reshape(-1, 4)
    labels = np.array([label for _, label in objects], np.int64)
    crowds = np.isin(np.arange(len(labels)), crowd)
    return ImageTruth(image_id, SIZE, boxes, labels, crowds, boxes[:, 2] * boxes[:, 3], None)


def found_of(*detections, image_id=1):
    """Detections (box, score, class) of an image."""
    boxes = np.array([box for box, _, _ in detections], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _ in detections], np.float32)
    labels = np.array([label for _, _, label in detections], np.int64)
    return ImageDetections(image_id, SIZE, boxes, scores, labels, None)


def random_split(seed, images=6):
    """Images in no order, with crowds, equal scores, near and far detections."""
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for image_id in rng.permutation(50)[:images].tolist():
        count, near, far = rng.integers(0, 6), 20, 6
        low = rng.random((count + far, 2)) * [120, 80]
        boxes = np.hstack([low, low + 10 + rng.random((count + far, 2)) * 50])
        labels = rng.integers(0, CLASSES, count)
        objects = zip(boxes[:count], labels, strict=True)
        crowd = np.flatnonzero(rng.random(count) < 0.2)
        truths.append(truth_of(*objects, image_id=image_id, crowd=crowd))
        source = rng.integers(0, count, near) if count else np.zeros(0, int)
        placed = np.vstack([boxes[source] + rng.normal(0, 4, (len(source), 4)), boxes[count:]])
        placed[:, 2:] = np.maximum(placed[:, 2:], placed[:, :2] + 1)
        kinds = np.concatenate([labels[source], rng.integers(0, CLASSES, far)])
        kinds = np.where(rng.random(len(kinds)) < 0.2, rng.integers(0, CLASSES, len(kinds)), kinds)
        scores = rng.random(len(kinds)).round(1)
        detections.append(found_of(*zip(placed, scores, kinds, strict=True), image_id=image_id))
    return truths, detections


LEFT, RIGHT = [0, 0, 20, 20], [60, 60, 80, 80]
PART = [60, 60, 80, 68]  # overlaps RIGHT by 0.4
TWO = truth_of((LEFT, 0), (RIGHT, 1))
FIRST, SECOND = (LEFT, 0.95, 0), (RIGHT, 0.8, 1)


def judged(*detections, truth=TWO):
    return mistakes([truth], [found_of(*detections)], CLASSES)


@pytest.mark.parametrize(
    ("wrong", "kind", "gain"),
    [
        ((RIGHT, 0.97, 0), "classification", 0.25),
        ((PART, 0.9, 1), "localisation", 0.25),
        ((PART, 0.97, 0), "both", 0.25),
        (([61, 60, 80, 80], 0.7, 1), "duplicate", 0.0),
        (([100, 100, 120, 110], 0.9, 1), "background", 0.25),
    ],
)
def test_each_kind_of_mistake(wrong, kind, gain):
    """A wrong detection above the right one of its class halves the precision of that class."""
    found = judged(FIRST, wrong, SECOND)
    assert found.counts == NOTHING | {kind: 1}
    assert found.ap50 == pytest.approx(1 - gain)
    assert found.gains == pytest.approx(NOTHING | {kind: gain}, abs=1e-9)


@pytest.mark.parametrize(
    ("wrong", "kind", "gain"),
    [
        ((PART, 0.9, 1), "localisation", 0.5),
        ((RIGHT, 0.9, 0), "classification", 0.5),  # the other class was complete before it
        ((RIGHT, 0.97, 0), "classification", 0.75),  # ... and now loses half as well
    ],
)
def test_mended_detections_find_their_objects(wrong, kind, gain):
    found = judged(FIRST, wrong)
    assert found.counts == NOTHING | {kind: 1}
    assert found.ap50 + found.gains[kind] == pytest.approx(1)
    assert found.gains == pytest.approx(NOTHING | {kind: gain}, abs=1e-9)


def test_only_the_best_of_several_is_mended():
    """The second box of one object is dropped: it does not stand for the other object."""
    pair = truth_of((LEFT, 1), (RIGHT, 1))
    found = judged((PART, 0.9, 1), ([60, 60, 68, 80], 0.85, 1), truth=pair)
    assert found.counts == NOTHING | {"localisation": 2, "missed": 1}
    assert found.gains["localisation"] == pytest.approx(51 / 101)


def test_a_lower_score_finds_the_object_that_a_better_box_did_not():
    """By score, not by overlap, detections choose; the loser is a duplicate."""
    found = judged(FIRST, ([60, 60, 80, 72], 0.9, 1), SECOND)
    assert found.counts == NOTHING | {"duplicate": 1}
    assert found.ap50 == pytest.approx(1)


def test_a_taken_object_leaves_the_next_one():
    """Of two objects that both overlap enough, the second detection gets the free one."""
    pair = truth_of((RIGHT, 1), ([64, 60, 84, 80], 1))
    found = judged((RIGHT, 0.9, 1), ([61, 60, 81, 80], 0.8, 1), truth=pair)
    assert found.counts == NOTHING
    assert found.ap50 == pytest.approx(1)


@pytest.mark.parametrize(
    ("height", "kind"),
    [(1.9, "background"), (2.1, "localisation"), (9.9, "localisation"), (10.1, None)],
)
def test_borders_of_overlap(height, kind):
    found = judged(FIRST, ([60, 60, 80, 60 + height], 0.9, 1))
    expected = NOTHING | {"missed": int(kind == "background")} | ({kind: 1} if kind else {})
    assert found.counts == expected


def test_borders_of_overlap_can_be_moved():
    found = mistakes([TWO], [found_of(FIRST, (PART, 0.9, 1))], CLASSES, iou=0.35)
    assert found.counts == NOTHING
    found = mistakes([TWO], [found_of(FIRST, (PART, 0.9, 1))], CLASSES, background_iou=0.45)
    assert found.counts == NOTHING | {"background": 1, "missed": 1}


def test_missed_objects():
    found = judged(FIRST)
    assert found.ap50 == pytest.approx(0.5)
    assert found.counts == NOTHING | {"missed": 1}
    assert found.gains == pytest.approx(NOTHING | {"missed": 0.5})
    meant = judged(FIRST, (PART, 0.9, 1))
    assert meant.counts["missed"] == meant.gains["missed"] == 0


def test_a_missed_class_with_wrong_detections_stays_at_nothing():
    """As in TIDE: not to expect its objects does not make its detections right."""
    found = judged(FIRST, ([100, 100, 120, 110], 0.9, 1))
    assert found.counts == NOTHING | {"background": 1, "missed": 1}
    assert found.gains["missed"] == pytest.approx(0)


def test_detections_of_a_crowd_are_neither_right_nor_wrong():
    crowd = truth_of((LEFT, 0), (RIGHT, 1), ([90, 60, 150, 110], 1), crowd=[2])
    inside = [([100, 70, 120, 90], 0.99, 1), ([120, 70, 140, 100], 0.9, 1)]
    found = judged(FIRST, *inside, SECOND, truth=crowd)
    assert found.ap50 == pytest.approx(1)
    assert found.counts == NOTHING
    of_another_class = judged(FIRST, ([100, 70, 120, 90], 0.9, 0), SECOND, truth=crowd)
    assert of_another_class.counts == NOTHING | {"background": 1}
    assert judged(FIRST, truth=crowd).counts == NOTHING | {"missed": 1}


def test_weak_detections_cost_but_are_not_counted():
    weak = COUNTED_FROM - 0.1
    found = judged(FIRST, ([100, 100, 120, 110], weak, 1), (RIGHT, weak - 0.1, 1))
    assert found.counts == NOTHING | {"missed": 1}
    assert found.gains["background"] == pytest.approx(0.25)


def test_a_perfect_detector_makes_no_mistakes():
    truths, _ = random_split(0)
    truths = [dataclasses.replace(t, crowd=np.zeros(len(t.labels), bool)) for t in truths]
    detections = [
        found_of(
            *zip(t.boxes, np.linspace(1, 0.5, len(t.labels)), t.labels, strict=True),
            image_id=t.image_id,
        )
        for t in truths
    ]
    found = mistakes(truths, detections, CLASSES)
    assert found.ap50 == pytest.approx(1)
    assert found.counts == NOTHING
    assert found.gains == pytest.approx(NOTHING, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_cocos(seed):
    truths, detections = random_split(seed)
    found = mistakes(truths, detections, CLASSES)
    assert 0 < found.ap50 < 1
    figures = coco_figures(truths, detections, CLASSES, "bbox")
    assert found.ap50 == pytest.approx(figures.ap50, abs=1e-9)
    assert all(gain >= -1e-9 for gain in found.gains.values())


def test_images_without_objects_or_detections():
    truths = [truth_of(image_id=1), truth_of((LEFT, 0), image_id=2), truth_of(image_id=3)]
    detections = [found_of((LEFT, 0.9, 0), image_id=1), found_of(image_id=3)]
    found = mistakes(truths, detections, CLASSES)
    assert found.counts == NOTHING | {"background": 1, "missed": 1}
    assert found.ap50 == 0


def test_nothing_at_all():
    assert np.isnan(mistakes([], [], CLASSES).ap50)
    found = mistakes([TWO], [], CLASSES)
    assert found.ap50 == 0
    assert found.counts == NOTHING | {"missed": 2}


def test_detections_of_a_strange_image_are_refused():
    with pytest.raises(ValueError, match=r"not evaluated: \[7\]"):
        mistakes([TWO], [found_of(FIRST, image_id=7)], CLASSES)
