"""Figures and results files of detections, against pycocotools."""

import contextlib
import dataclasses
import io
import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tasks.detection.records import ImageDetections, ImageTruth
from tasks.detection.scoring.coco import coco_figures, coco_results
from tasks.detection.scoring.figures import class_values, figure_values

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
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) * 4 ** rng.uniform(-1, 1, objects)  # not boxes'
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


def without_objects(one):
    """The same image with nothing in it."""
    columns = ("boxes", "labels", "masks", "scores", "crowd", "areas")
    emptied = {name: getattr(one, name)[:0] for name in columns if hasattr(one, name)}
    return dataclasses.replace(one, **emptied)


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
    "more than a hundred": [scene(3, objects=1, found=140), scene(4, objects=2, found=300)],
    "unordered images": [scene(9, found=60), scene(4), scene(7), scene(2)],
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
    assert found.ap50 > 0.05  # there is something to agree on
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    for label in range(CLASSES):
        own = precision[:, :, label]
        if (own < 0).all():
            assert np.isnan(found.class_ap[label])
            assert np.isnan(found.precision[..., label]).all()
        else:
            np.testing.assert_allclose(found.class_ap[label], own.mean(), atol=1e-6)
            np.testing.assert_allclose(found.class_ap50[label], own[0].mean(), atol=1e-6)
            curves = np.stack([own[0], own[5], own.mean(0)])
            np.testing.assert_allclose(found.precision[..., label], curves, atol=1e-6)


def test_no_detection_at_all():
    truth, one = scene(1)
    for detections in ([], [without_objects(one)]):
        for kind in ("bbox", "segm"):
            figures = coco_figures([truth], detections, CLASSES, kind)
            assert figures.ap == figures.ap50 == figures.ar100 == 0


def test_splits_hold_what_they_are_for():
    truths, detections = zip(*SPLITS["more than a hundred"], strict=True)
    assert all(np.bincount(one.labels).max() > 100 for one in detections)
    truths, detections = zip(*SPLITS["usual"], strict=True)
    scores = np.concatenate([one.scores for one in detections])
    assert len(np.unique(scores)) < len(scores)
    assert any(truth.crowd.any() for truth in truths)
    areas = np.concatenate([truth.areas for truth in truths])
    assert (np.histogram(areas, [0, 32**2, 96**2, np.inf])[0] > 0).all()


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_images_without_detections_may_be_left_out(kind):
    truths, detections = (list(part) for part in zip(*SPLITS["usual"], strict=True))
    absent = coco_figures(truths, detections[2:], CLASSES, kind)
    emptied = [without_objects(one) for one in detections[:2]]
    empty = coco_figures(truths, emptied + detections[2:], CLASSES, kind)
    assert absent.ar100 < coco_figures(truths, detections, CLASSES, kind).ar100
    for name in STATS:
        np.testing.assert_array_equal(getattr(absent, name), getattr(empty, name))


def test_a_class_of_crowds_alone_and_a_split_without_objects_have_no_figures():
    truth, one = scene(1)
    crowds = dataclasses.replace(truth, crowd=np.ones(len(truth.labels), bool))
    for nothing in (crowds, without_objects(truth)):
        figures = coco_figures([nothing], [one], CLASSES, "bbox")
        assert all(np.isnan(getattr(figures, name)) for name in STATS)
        assert np.isnan(figures.class_ap).all()
    assert np.isnan(coco_figures([], [], CLASSES, "bbox").ap)


def test_nothing_is_printed_or_logged(capfd, caplog):
    caplog.set_level("INFO")
    coco_figures(*(list(part) for part in zip(*SPLITS["usual"], strict=True)), CLASSES, "bbox")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_detections_of_a_strange_image_are_refused():
    truth, _ = scene(1)
    _, strange = scene(2)
    with pytest.raises(ValueError, match=r"not evaluated: \[2\]"):
        coco_figures([truth], [strange], CLASSES, "bbox")


def test_images_that_come_twice_are_refused():
    truth, one = scene(1)
    for truths, detections in (([truth, truth], [one]), ([truth], [one, one])):
        with pytest.raises(ValueError, match=r"more than once: \[1\]"):
            coco_figures(truths, detections, CLASSES, "bbox")


def test_strange_classes_and_absent_masks_are_refused():
    truth, one = scene(1)
    with pytest.raises(ValueError, match="of 2 classes"):
        coco_figures([truth], [one], 2, "bbox")
    without = dataclasses.replace(one, masks=None)
    with pytest.raises(ValueError, match="image 1 has boxes only"):
        coco_figures([truth], [without], CLASSES, "segm")


def test_results_hold_what_the_format_asks_for():
    _, one = scene(1)
    box, mask = (coco_results([one], range(10, 10 + CLASSES), kind)[0] for kind in ("bbox", "segm"))
    x0, y0, x1, y1 = one.boxes[0].tolist()
    common = {
        "image_id": 1,
        "category_id": 10 + one.labels[0],
        "score": pytest.approx(one.scores[0]),
    }
    assert box == common | {"bbox": pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=1e-4)}
    segmentation = {"size": list(SIZE), "counts": one.masks[0].decode()}
    assert mask == common | {"segmentation": segmentation}


def test_names_of_figures():
    truths, detections = (list(part) for part in zip(*SPLITS["few"], strict=True))
    figures = {"box": coco_figures(truths, detections, CLASSES, "bbox")}
    values = figure_values(figures)
    assert {"box_ap", "box_ap50", "box_ar100"} <= set(values)
    assert all(np.isfinite(value) for value in values.values())
    assert len(class_values(figures, [f"c{i}" for i in range(CLASSES)])) == 1
