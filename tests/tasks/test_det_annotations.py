"""Annotation files: what is read, what is mended, and what is refused, naming file and id."""

import gc
import json

import numpy as np
import pytest
from detection import annotation, polygon, run_lengths
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from tasks.detection.annotations.reading import image_truth, instance_masks, read_annotations
from tasks.errors import DatasetError

HEIGHT, WIDTH = 40, 60
MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[5:20, 10:30] = 1
BOX = (10, 5, 30, 20)


def plain(*annotations):
    return {
        "images": [
            {"id": 7, "file_name": "b.jpg", "width": WIDTH, "height": HEIGHT},
            {"id": 3, "file_name": "a/a.jpg", "width": WIDTH, "height": HEIGHT},
        ],
        "annotations": list(annotations),
        "categories": [{"id": 90, "name": "kite"}, {"id": 5, "name": "cup"}],
    }


def uncompressed():
    flat = MASK.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, len(flat)]).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": counts}


def read(tmp_path, content, names=None, masks=True):
    path = tmp_path / "instances.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_annotations(path, names, masks)


def as_coco(content):
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def test_a_sound_file(tmp_path):
    """Category ids with gaps, images out of order, polygons and both kinds of run lengths."""
    content = plain(
        annotation(1, 7, 5, BOX),
        annotation(2, 7, 90, BOX, segmentation=run_lengths(MASK), area=111.5),
        annotation(4, 7, 90, BOX, segmentation=uncompressed(), iscrowd=1),
    )
    found = read(tmp_path, content)
    assert (found.class_names, found.category_ids, found.faults) == (("cup", "kite"), (5, 90), ())
    assert [record.id for record in found.images] == [3, 7]
    empty, full = found.images
    assert empty.instances == ()
    assert [i.label for i in full.instances] == [0, 1, 1]
    assert [i.crowd for i in full.instances] == [False, False, True]
    truth = image_truth(full, masks=True)
    assert truth.size == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(truth.boxes, [BOX] * 3)
    np.testing.assert_array_equal(truth.areas, [300, 111.5, 300])
    coco = as_coco(content)
    wanted = np.stack([coco.annToMask(a) for a in content["annotations"]])
    np.testing.assert_array_equal(instance_masks(full, full.instances), wanted)
    assert instance_masks(empty, ()).shape == (0, HEIGHT, WIDTH)
    assert image_truth(empty, masks=True).boxes.shape == (0, 4)


OUTLINES = {
    "polygon": [[3.2, 4.1, 40.7, 8.9, 21.3, 35.5]],
    "polygons": polygon((0, 0, 20.5, 10)) + polygon((10, 5, 30, 30.25)),
    "beyond the image": [[-9, -9, 80, 5, 30, 60]],
    "uncompressed": uncompressed(),
    "compressed": run_lengths(MASK),
}


@pytest.mark.parametrize("outline", OUTLINES.values(), ids=OUTLINES)
def test_outlines_are_those_of_pycocotools(tmp_path, outline):
    """Also the area, where none is annotated; without outlines it is the box's."""
    content = plain(annotation(1, 3, 5, BOX, segmentation=outline))
    del content["annotations"][0]["area"]
    runs = as_coco(content).annToRLE(content["annotations"][0])
    record = read(tmp_path, content).images[0]
    truth = image_truth(record, masks=True)
    counts = runs["counts"]  # bytes, or a text where the file has it so
    assert truth.masks == (counts.encode() if isinstance(counts, str) else counts,)
    assert truth.areas == [coco_mask.area(runs)]
    assert (instance_masks(record, record.instances) == coco_mask.decode(runs)).all()
    boxes = image_truth(read(tmp_path, content, masks=False).images[0], masks=False)
    assert (boxes.masks, boxes.areas.tolist()) == (None, [300])


def test_boxes_alone_need_no_outline(tmp_path):
    content = plain(annotation(1, 3, 5, BOX, segmentation=[]))
    (instance,) = read(tmp_path, content, masks=False).images[0].instances
    assert instance.place.segment is None
    with pytest.raises(DatasetError, match=r"annotation 1 of image 3, a/a\.jpg.*faster_rcnn"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"bbox": [50, 30, 20, 20]}, "1 object reaches outside its image"),
        ({"bbox": [-5, -5, 20, 20]}, "1 object reaches outside its image"),
        ({"bbox": [70, 5, 10, 10]}, "1 object has no area"),
        ({"bbox": [5, 5, 0, 10]}, "1 object has no area"),
        ({"bbox": [5, 5, 10, -2]}, "1 object has no area"),
        ({"segmentation": [[1, 1, 5, 5]]}, "no polygon of three points"),
        ({"segmentation": [[1, 1, 5, 5], *polygon(BOX)]}, "fewer than three points"),
    ],
)
def test_harmless_faults_are_noted_and_kept_out_of_training(tmp_path, changes, note):
    content = plain(annotation(1, 3, 5, BOX, **changes))
    found = read(tmp_path, content)
    for fault in found.faults:
        for line in (fault.in_training, fault.in_evaluation):
            assert "(the first: annotation 1 of image 3, a/a.jpg)" in line
    assert any(note in fault.in_training for fault in found.faults)
    (instance,) = found.images[0].instances
    if instance.trained:
        x0, y0, x1, y1 = instance.place.inside
        assert 0 <= x0 < x1 <= WIDTH
        assert 0 <= y0 < y1 <= HEIGHT
        assert instance_masks(found.images[0], [instance]).any()
    x, y, width, height = content["annotations"][0]["bbox"]
    truth = image_truth(found.images[0], masks=True)
    np.testing.assert_array_equal(truth.boxes, [[x, y, x + width, y + height]])


def test_many_faults_are_one_note(tmp_path):
    """An object with two short polygons is one object."""
    short = {"segmentation": [[1, 1, 5, 5], [], *polygon(BOX)]}
    objects = [annotation(number, 7, 5, BOX, **short) for number in (4, 5, 6)]
    (fault,) = read(tmp_path, plain(*objects)).faults
    first = "(the first: annotation 4 of image 7, b.jpg)"
    start = f"3 objects have polygons of fewer than three points {first}"
    assert fault.in_training == f"{start}: they are trained on without them"
    assert fault.in_evaluation.startswith(f"{start}; they count in the score as annotated")


def test_boxes_within_the_image_are_exact(tmp_path):
    x, y, width, height = 0.1, 0.2, 59.9, 30.7
    (image, _) = read(tmp_path, plain(annotation(1, 3, 5, BOX, bbox=[x, y, width, height]))).images
    assert image_truth(image, masks=True).boxes.tolist() == [[x, y, x + width, y + height]]


def test_garbage_is_collected_again_after_an_error(tmp_path):
    with pytest.raises(DatasetError):
        read(tmp_path, "{")
    assert gc.isenabled()


def runs_of(counts):
    return {"segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}}


BAD_OBJECTS = [
    ({"category_id": [5]}, "category [5]"),
    ({"image_id": [3]}, "of image [3], which the file does not list"),
    ({"bbox": [10**400, 2, 3, 4]}, "expected x, y, width, height"),
    ({"bbox": [float("nan"), 2, 3, 4]}, "expected x, y, width, height"),
    ({"area": "12"}, "area '12'"),
    ({"area": -1}, "area -1"),
    ({"area": float("nan")}, "area nan"),
    ({"iscrowd": "0"}, "iscrowd '0'"),
    ({"segmentation": [1, 2, 3, 4, 5, 6]}, "of type list"),
    ({"segmentation": [["1", "2", "3", "4", "5", "6"]]}, "pairs x, y"),
    ({"segmentation": [[[1, 2], [3, 4], [5, 6]]]}, "pairs x, y"),
    ({"segmentation": [[1, 2, 3, float("nan"), 5, 6]]}, "nan or beyond"),
    ({"segmentation": [[1, 2, 1e9, 4, 5, 6]]}, "nan or beyond"),
    (runs_of(["a", 2]), "whole numbers from 0"),
    (runs_of([-100, HEIGHT * WIDTH + 100]), "whole numbers from 0"),
    (runs_of([0.5, HEIGHT * WIDTH - 0.5]), "whole numbers from 0"),
    ({"category_id": 6}, "category 6"),
    ({"image_id": 99}, "of image 99, which the file does not list"),
    ({"bbox": [1, 2, 3]}, "expected x, y, width, height"),
    ({"bbox": None}, "expected x, y, width, height"),
    ({"segmentation": "abc"}, "of type str"),
    ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "pairs x, y"),
    ({"segmentation": [[1, 2, 3, 4, "x", 6]]}, "pairs x, y"),
    ({"segmentation": {"size": [WIDTH, HEIGHT], "counts": "abc"}}, "run lengths for height"),
    (runs_of([5, 5]), "run lengths of 10 pixels"),
    ({"segmentation": {"size": [HEIGHT, WIDTH]}}, "neither a list nor a text"),
]


@pytest.mark.parametrize(("changes", "fault"), BAD_OBJECTS)
def test_a_wrong_object_is_named(tmp_path, changes, fault):
    with pytest.raises(DatasetError, match=r"instances\.json.*annotation 17 ") as caught:
        read(tmp_path, plain(annotation(17, 3, 5, BOX) | changes))
    assert fault in str(caught.value)


def without(key):
    return {k: v for k, v in plain().items() if k != key}


BAD_FILES = [
    ("{", "cannot be read as JSON"),
    (json.dumps(plain())[:-9], "cannot be read as JSON"),
    ("[" * 100_000, "cannot be read as JSON"),
    ('"a"', "it holds a str"),
    ("{}", "it holds nothing"),
    (dict.fromkeys(map(str, range(100)), 0), "keys 0, 1, 2, 3, 4, 5, 6, 7 and more"),
    (plain() | {"categories": [{"id": "x", "name": "a"}]}, "has the id 'x'"),
    (plain() | {"categories": [{"id": i, "name": "a"} for i in (1, 2)]}, "the name 'a'"),
    (plain() | {"images": [{"id": [1], "file_name": "a.jpg"}]}, "has the id [1]"),
    (plain() | {"images": [{"id": 1, "file_name": 5}]}, "has the file_name 5"),
    (plain(annotation("z", 3, 5, BOX)), "has the id 'z'"),
    ("[]", "no COCO instances file: it holds a list"),
    (without("categories"), "keys images, annotations"),
    ({"info": 1}, "keys info"),
    (plain() | {"images": [plain()["images"][0]] * 2}, "`images` have the id 7"),
    (
        plain() | {"images": [{**image, "file_name": "x.jpg"} for image in plain()["images"]]},
        "`images` have the file_name 'x.jpg'",
    ),
    (plain(annotation(1, 3, 5, BOX), annotation(1, 7, 5, BOX)), "`annotations` have the id 1"),
    (plain() | {"categories": [{"id": 1, "name": "a"}] * 2}, "`categories` have the id 1"),
    (plain() | {"categories": []}, "no categories"),
    (plain() | {"images": [{"id": 1, "file_name": "a.jpg", "width": 5}]}, "height None"),
    (plain() | {"images": [{"id": 1}]}, "has no file_name"),
]


@pytest.mark.parametrize(("content", "fault"), BAD_FILES)
def test_a_wrong_file_is_named(tmp_path, content, fault):
    with pytest.raises(DatasetError, match=r"instances\.json") as caught:
        read(tmp_path, content)
    assert fault in str(caught.value)


COUNTS = run_lengths(MASK)["counts"]


@pytest.mark.parametrize("counts", [*(COUNTS[:n] for n in range(len(COUNTS))), "é", COUNTS + "1"])
def test_run_lengths_that_break_off_are_named_when_decoded(tmp_path, counts):
    content = plain(annotation(17, 3, 5, BOX, **runs_of(counts)))
    record = read(tmp_path, content).images[0]
    with pytest.raises(DatasetError, match="Annotation 17 of image 3"):
        instance_masks(record, record.instances)


def test_splits_have_the_same_classes(tmp_path):
    content = plain(annotation(1, 3, 5, BOX))
    assert read(tmp_path, content, ("cup", "kite")).class_names == ("cup", "kite")
    with pytest.raises(DatasetError, match=r"other classes.*'kite' for 'bat'"):
        read(tmp_path, content, ("cup", "bat"))
    with pytest.raises(DatasetError, match="2 against 3"):
        read(tmp_path, content, ("cup", "kite", "bat"))
