"""Figures, results files and mistakes of detections, against pycocotools and by hand."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tasks.detection.coco import coco_figures, coco_results
from tasks.detection.figures import class_values, figure_values
from tasks.detection.mistakes import KINDS, mistakes
from tasks.detection.records import ImageDetections, ImageTruth

SIZE = (120, 160)
CLASSES = 4
STATS = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip


def boxes_of(rng, count):
    low = rng.random((count, 2)) * [120, 80]
    return np.hstack([low, low + 4 + rng.random((count, 2)) ** 2 * 100])


def masks_of(boxes):
    """Ellipses in the boxes."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    counts = []
    for x0, y0, x1, y1 in boxes:
        inside = ((columns + 0.5 - (x0 + x1) / 2) / max(1e-6, (x1 - x0) / 2)) ** 2 + (
            (rows + 0.5 - (y0 + y1) / 2) / max(1e-6, (y1 - y0) / 2)
        ) ** 2 <= 1
        counts.append(coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))["counts"])
    return tuple(counts)


def scene(image_id, objects=5, found=30, seed=None, crowds=True):
    """An image with jittered and wrong detections; class 3 never occurs in the truth."""
    rng = np.random.default_rng(image_id if seed is None else seed)
    boxes = boxes_of(rng, objects)
    labels = rng.integers(0, CLASSES - 1, objects)
    crowd = (rng.random(objects) < 0.2) & crowds
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) * 0.7
    truth = ImageTruth(image_id, SIZE, boxes, labels, crowd, areas, masks_of(boxes))
    source = rng.integers(0, max(1, objects), found if objects else 0)
    near = boxes[source] + rng.normal(0, 3, (len(source), 4))
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
    strange = boxes_of(rng, found // 3)
    place = np.vstack([near, strange]).astype(np.float32)
    kinds = np.concatenate([labels[source], rng.integers(0, CLASSES, len(strange))])
    scores = np.sort(rng.random(len(place)).round(1))[::-1].astype(np.float32)  # with equal ones
    order = rng.permutation(len(place))
    place, kinds = place[order], kinds[order]
    return truth, ImageDetections(image_id, SIZE, place, scores, kinds, masks_of(place))


def plain_truth(truths):
    images = [{"id": t.image_id, "height": t.size[0], "width": t.size[1]} for t in truths]
    annotations = []
    for t in truths:
        for i, (x0, y0, x1, y1) in enumerate(t.boxes.tolist()):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": t.image_id,
                    "category_id": 10 + int(t.labels[i]),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": float(t.areas[i]),
                    "iscrowd": int(t.crowd[i]),
                    "segmentation": {"size": list(t.size), "counts": t.masks[i]},
                }
            )
    categories = [{"id": 10 + i, "name": f"c{i}"} for i in range(CLASSES)]
    return {"images": images, "annotations": annotations, "categories": categories}


def by_pycocotools(truths, detections, kind):
    """Evaluation by pycocotools of the results file that is written."""
    results = json.loads(json.dumps(coco_results(detections, range(10, 10 + CLASSES), kind)))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = plain_truth(truths)
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


SPLITS = {
    "usual": [scene(i) for i in range(8)],
    "crowded": [scene(1, objects=3, found=150), scene(2, objects=20, found=5)],
    "empty images": [scene(1), scene(2, objects=0), scene(3, found=0), scene(4)],
    "few": [scene(5, objects=1, found=2)],
}


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("split", SPLITS)
def test_figures_are_those_of_pycocotools(split, kind):
    truths, detections = (list(part) for part in zip(*SPLITS[split], strict=True))
    found = coco_figures(truths, detections, CLASSES, kind)
    evaluation = by_pycocotools(truths, detections, kind)
    wanted = np.where(evaluation.stats < 0, np.nan, evaluation.stats)
    np.testing.assert_allclose([getattr(found, name) for name in STATS], wanted, atol=1e-6)
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    for label in range(CLASSES):
        own = precision[:, :, label]
        if (own < 0).all():
            assert np.isnan(found.class_ap[label])
            assert np.isnan(found.precision[..., label]).all()
        else:
            np.testing.assert_allclose(found.class_ap[label], own.mean(), atol=1e-6)
            np.testing.assert_allclose(found.precision[0, :, label], own[0], atol=1e-6)
            np.testing.assert_allclose(found.precision[2, :, label], own.mean(0), atol=1e-6)


def test_no_detection_at_all():
    truth, one = scene(1)
    nothing = ImageDetections(1, SIZE, one.boxes[:0], one.scores[:0], one.labels[:0], ())
    for detections in ([], [nothing]):
        for kind in ("bbox", "segm"):
            figures = coco_figures([truth], detections, CLASSES, kind)
            assert figures.ap == figures.ap50 == figures.ar100 == 0
    assert mistakes([truth], [nothing], CLASSES).counts["missed"] == (~truth.crowd).sum()


def test_detections_of_a_strange_image_are_refused():
    truth, _ = scene(1)
    _, strange = scene(2)
    with pytest.raises(ValueError, match=r"not evaluated: \[2\]"):
        coco_figures([truth], [strange], CLASSES, "bbox")


def test_names_of_figures():
    truths, detections = (list(part) for part in zip(*SPLITS["few"], strict=True))
    figures = {"box": coco_figures(truths, detections, CLASSES, "bbox")}
    values = figure_values(figures, "test")
    assert {"test/box_ap", "test/box_ap50", "test/box_ar100"} <= set(values)
    assert all(np.isfinite(value) for value in values.values())
    assert len(class_values(figures, "test", [f"c{i}" for i in range(CLASSES)])) == 1


def test_a_perfect_detector_makes_no_mistakes():
    truths = [scene(i, crowds=False)[0] for i in range(4)]
    detections = [
        ImageDetections(
            t.image_id,
            SIZE,
            t.boxes.astype(np.float32),
            np.linspace(1, 0.5, len(t.boxes), dtype=np.float32),
            t.labels,
            t.masks,
        )
        for t in truths
    ]
    found = mistakes(truths, detections, CLASSES)
    assert found.ap50 == pytest.approx(1)
    assert found.counts == dict.fromkeys(KINDS, 0)
    assert found.gains == pytest.approx(dict.fromkeys(KINDS, 0.0), abs=1e-9)


@pytest.mark.parametrize("split", ["usual", "empty images", "few"])
def test_the_average_precision_of_mistakes_is_cocos(split):
    truths, detections = (list(part) for part in zip(*SPLITS[split], strict=True))
    wanted = coco_figures(truths, detections, CLASSES, "bbox").ap50
    assert mistakes(truths, detections, CLASSES).ap50 == pytest.approx(wanted, abs=0.02)


TWO = ImageTruth(
    1,
    SIZE,
    np.array([[0.0, 0, 20, 20], [60, 60, 80, 80]]),
    np.array([0, 1]),
    np.zeros(2, bool),
    np.array([400.0, 400]),
    None,
)
FIRST = ([0, 0, 20, 20], 0.95, 0)
SECOND = ([60, 60, 80, 80], 0.8, 1)


def judged(*found):
    boxes, scores, labels = zip(*found, strict=True)
    one = ImageDetections(
        1,
        SIZE,
        np.array(boxes, np.float32),
        np.array(scores, np.float32),
        np.array(labels, np.int64),
        None,
    )
    return mistakes([TWO], [one], 2)


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (([60, 60, 80, 80], 0.9, 0), "classification"),
        (([60, 60, 80, 68], 0.9, 1), "localisation"),
        (([60, 60, 80, 68], 0.9, 0), "both"),
        (([61, 60, 80, 80], 0.7, 1), "duplicate"),
        (([100, 100, 120, 110], 0.9, 1), "background"),
    ],
)
def test_each_kind_of_mistake_by_hand(wrong, kind):
    found = judged(FIRST, wrong, SECOND)
    expected = dict.fromkeys(KINDS, 0) | {kind: 1}
    assert found.counts == expected
    others = {name: gain for name, gain in found.gains.items() if name != kind}
    assert others == pytest.approx(dict.fromkeys(others, 0.0), abs=1e-9)
    if kind in ("localisation", "background"):  # of the second class, and above its right one
        assert found.gains[kind] == pytest.approx(0.25, abs=0.01)


def test_missed_objects():
    found = judged(FIRST)
    assert found.ap50 == pytest.approx(0.5)
    assert found.counts == dict.fromkeys(KINDS, 0) | {"missed": 1}
    assert found.gains["missed"] == pytest.approx(0.5)
    meant = judged(FIRST, ([60, 60, 80, 68], 0.9, 1))
    assert meant.counts["missed"] == 0
    assert meant.gains["localisation"] == pytest.approx(0.5)


def test_weak_detections_are_not_counted():
    assert judged(FIRST, SECOND, ([100, 100, 120, 110], 0.2, 1)).counts["background"] == 0
