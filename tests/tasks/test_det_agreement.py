"""Figures of annotation files as people have them, faults included, against pycocotools."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from detection import DET_FILES, annotation, polygon, run_lengths, write_split
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tasks.detection.annotations.reading import image_truth, read_annotations
from tasks.detection.figures.examples import Examples
from tasks.detection.records import ImageDetections, ImageTruth
from tasks.detection.scoring.coco import coco_figures, coco_results

HEIGHT, WIDTH, CLASSES = 48, 64, 2
STATS = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip


def stats_of_file(path, results, kind):
    """The twelve figures of pycocotools, of the file itself; nan where there are none."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
        evaluation = COCOeval(coco, coco.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.where(evaluation.stats < 0, np.nan, evaluation.stats)


def random_box(rng):
    """Sound, beyond an edge, wholly outside, of no area, or of a negative side: x, y, w, h."""
    x, y = rng.uniform(0, 40, 2)
    width, height = rng.uniform(4, 24, 2)
    kind = rng.integers(0, 8)
    if kind == 3:
        x = rng.choice([-10.0, WIDTH - 6.0])
    elif kind == 4:
        x, y = WIDTH + 10.0, -60.0
    elif kind == 5:
        width = 0.0
    elif kind == 6:
        height = -height
    elif kind == 7:
        width, height = -width, -height
    return [float(v) for v in (x, y, width, height)]


def random_outline(rng, box):
    """Polygons, some too short or beyond the image, and run lengths, some of nothing."""
    x, y, width, height = box
    sound = polygon((x, y, x + width, y + height))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:10, 5:9] = True
    short = [[x, y, x + 3, y + 3]]
    choices = [
        sound, sound, sound, sound + polygon((1, 1, 9, 9)), sound + short, short, short + sound,
        [*sound, []], [*sound, [1, 2]], [[]], run_lengths(mask), run_lengths(mask & False),
    ]  # fmt: skip
    return choices[rng.integers(0, len(choices))]


def written(path, seed):
    """A random annotation file, and random detections near its objects."""
    rng = np.random.default_rng(seed)
    images = [
        {"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in range(3)
    ]
    annotations = []
    for number in range(1, int(rng.integers(6, 18))):
        box = random_box(rng)
        one = annotation(number, int(rng.integers(0, 3)), int(rng.integers(1, 3)), (0, 0, 1, 1))
        one |= {"bbox": box, "area": float(max(0, box[2]) * max(0, box[3]))}
        one |= {"segmentation": random_outline(rng, box), "iscrowd": int(rng.random() < 0.15)}
        annotations.append(one)
    categories = [{"id": i + 1, "name": f"c{i}"} for i in range(CLASSES)]
    plain = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(plain))
    return plain, [_detections(rng, image["id"], annotations) for image in images]


def _detections(rng, image_id, annotations):
    near = [a["bbox"] for a in annotations if a["image_id"] == image_id] * 2 or [[1, 1, 9, 9]]
    boxes = np.array(near) + rng.normal(0, 0.5, (len(near), 4))
    boxes[:, 2:] = boxes[:, :2] + np.maximum(boxes[:, 2:], 0.5)
    boxes = np.clip(boxes, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(np.float32)
    masks = np.zeros((len(boxes), HEIGHT, WIDTH), np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.round().astype(int), strict=True):
        mask[y0:y1, x0:x1] = 1
    counts = tuple(coco_mask.encode(np.asfortranarray(mask))["counts"] for mask in masks)
    scores = np.sort(rng.random(len(boxes)).astype(np.float32))[::-1]
    labels = rng.integers(0, CLASSES, len(boxes))
    return ImageDetections(image_id, (HEIGHT, WIDTH), boxes, scores, labels, counts)


def figures_of_file(path, detections, kind):
    records = read_annotations(path, None, masks=kind == "segm").images
    truths = [image_truth(record, kind == "segm") for record in records]
    found = coco_figures(truths, detections, CLASSES, kind)
    return [getattr(found, name) for name in STATS]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_boxes_of_any_file_score_as_in_pycocotools(tmp_path_factory, seed):
    path = tmp_path_factory.mktemp("file") / "instances.json"
    _, detections = written(path, seed)
    results = json.loads(json.dumps(coco_results(detections, [1, 2], "bbox")))
    wanted = stats_of_file(path, results, "bbox")
    np.testing.assert_allclose(figures_of_file(path, detections, "bbox"), wanted, atol=1e-6)


def readable(segment):
    """Whether pycocotools can make a mask of it."""
    if isinstance(segment, dict):
        return True
    return len(segment[0]) > 4


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_masks_of_any_file_score_as_in_pycocotools(tmp_path_factory, seed):
    path = tmp_path_factory.mktemp("file") / "instances.json"
    plain, detections = written(path, seed)
    for one in plain["annotations"]:
        if not readable(one["segmentation"]):
            one["segmentation"] = polygon((2, 2, 12, 12))
    path.write_text(json.dumps(plain))
    results = json.loads(json.dumps(coco_results(detections, [1, 2], "segm")))
    wanted = stats_of_file(path, results, "segm")
    np.testing.assert_allclose(figures_of_file(path, detections, "segm"), wanted, atol=1e-6)


def test_an_outline_that_pycocotools_cannot_read_is_an_object_that_no_mask_finds(tmp_path):
    path = tmp_path / "instances.json"
    for segment in ([[]], [[3, 4]], [[1, 1, 5, 5]], [[3, 4], [1, 1, 5, 5]]):
        lost = annotation(1, 0, 1, (5, 5, 20, 20), segmentation=segment)
        plain = {
            "images": [{"id": 0, "file_name": "0.png", "height": HEIGHT, "width": WIDTH}],
            "annotations": [lost, annotation(2, 0, 1, (30, 5, 50, 20))],
            "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        }
        path.write_text(json.dumps(plain))
        found = read_annotations(path, None, masks=True)
        truth = image_truth(found.images[0], masks=True)
        assert [coco_mask.area({"size": [HEIGHT, WIDTH], "counts": c}) for c in truth.masks] == [
            0,
            300,
        ]
        assert len(found.faults) >= 1


@pytest.mark.parametrize(
    ("boxes", "score"),
    [([(-20, 8, 40, 20)], 0.1), ([(8, 8, 20, 20), (40, 40, 0, 10)], 0.505)],
)
def test_a_perfect_detector_that_stays_inside_the_image(tmp_path, boxes, score):
    """The two cases by themselves: clipped, or left out, both would score 1."""
    path = tmp_path / "instances.json"
    plain = {
        "images": [{"id": 1, "file_name": "0.jpg", "height": 64, "width": 64}],
        "annotations": [
            {"id": i + 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": box, "area": 400}
            for i, box in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "a"}],
    }
    path.write_text(json.dumps(plain))
    x, y, width, height = boxes[0]
    inside = np.array([[max(x, 0), y, x + width, y + height]], np.float32)
    one = ImageDetections(1, (64, 64), inside, np.ones(1, np.float32), np.zeros(1, int), None)
    (record,) = read_annotations(path, None, masks=False).images
    ap = coco_figures([image_truth(record, masks=False)], [one], 1, "bbox").ap
    results = json.loads(json.dumps(coco_results([one], [1], "bbox")))
    assert ap == pytest.approx(stats_of_file(path, results, "bbox")[0], abs=1e-6)
    assert ap == pytest.approx(score, abs=1e-3)


def test_objects_that_reach_outside_are_drawn_inside_of_their_image():
    """All images of the figure of examples share one canvas."""
    boxes = np.array([[-20.0, 8, 20, 28], [50, 40, 90, 30]])
    truth = ImageTruth(
        1, (64, 64), boxes, np.zeros(2, int), np.zeros(2, bool), np.full(2, 400.0), None
    )
    none = np.zeros(0, np.float32)
    found = ImageDetections(1, (64, 64), none.reshape(0, 4), none, np.zeros(0, int), None)
    examples = Examples()
    examples.add(0, lambda: torch.zeros(64, 64, 3, dtype=torch.uint8), truth, found)
    drawn = examples.kept[0].truth.boxes
    np.testing.assert_array_equal(drawn, [[0, 8, 20, 28], [50, 40, 64, 30]])


def test_a_run_says_which_objects_count_though_no_detection_fits_them(run, tmp_path):
    for split in ("train", "val"):
        write_split(tmp_path, split, 3)
    path = tmp_path / "val.json"
    plain = json.loads(path.read_text())
    plain["annotations"][0]["bbox"] = [-20, 8, 40, 20]
    plain["annotations"][1]["bbox"] = [20, 8, 0, 20]
    path.write_text(json.dumps(plain))
    ended = run(*DET_FILES, f"dataset.root={tmp_path}", "detector=faster_rcnn")
    assert ended.code == 0, ended.err
    results = json.loads((ended.folder / "detections.bbox.json").read_text())
    wanted = stats_of_file(path, results, "bbox") if results else [0.0]
    assert ended.results["metrics"]["test/box_ap"] == pytest.approx(wanted[0], abs=1e-6)
    for text in (
        " ".join(ended.results["notes"]),
        ended.out,
        (ended.folder / "report.md").read_text(),
    ):
        text = " ".join(text.split())
        assert "val.json: 1 object reaches outside its image" in text
        assert "val.json: 1 object has no area in its image" in text
        assert "score as annotated, as in pycocotools" in text
