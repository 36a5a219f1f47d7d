"""COCO's figures (arXiv 1405.0312), by faster-coco-eval from compact arrays."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from tasks.detection.records import ImageDetections, ImageTruth, Size

Kind = Literal["bbox", "segm"]
Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]
Plain = dict[str, Any]
Objects = Sequence[ImageTruth] | Sequence[ImageDetections]
_IOUS, _RECALLS, _AREAS, _LIMITS = 10, 101, 4, 3
_ALL, _SMALL, _MEDIUM, _LARGE = range(_AREAS)
_ONE, _TEN, _HUNDRED = range(_LIMITS)
_IOU_50, _IOU_75 = 0, 5
_UNDEFINED = -1.0


@dataclass(frozen=True)
class CocoFigures:
    """The figures of boxes or of masks, 0 to 1; nan where there is no object to find.

    Args:
        ap: average precision, the mean over IoU 0.5 to 0.95 and over classes.
        ap50: at an IoU of 0.5.
        ap75: at an IoU of 0.75.
        ap_small: of objects below 32 x 32 pixels.
        ap_medium: of those between.
        ap_large: of objects of 96 x 96 pixels and more.
        ar1: recall with one detection per image and class, the mean over IoU and classes.
        ar10: with ten.
        ar100: with a hundred.
        ar_small: `ar100` of small objects.
        ar_medium: of those between.
        ar_large: of large objects.
        class_ap: (K,), `ap` of each class.
        class_ap50: (K,).
        precision: (3, 101, K), over recall 0 to 1, at IoU 0.5, 0.75 and the mean of all.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    class_ap: Floats
    class_ap50: Floats
    precision: Floats


def coco_figures(
    truths: Sequence[ImageTruth],
    detections: Sequence[ImageDetections],
    class_count: int,
    kind: Kind,
) -> CocoFigures:
    """The figures of a split, as pycocotools would compute them.

    Classes are evaluated one after another, since no curve of one depends on another: the
    dictionary per object that faster-coco-eval takes then exists for one class at a time, and only
    images with something of the class are looked at.

    Args:
        truths: of every image.
        detections: of some or all of these images.
        class_count: K.
        kind: of boxes or of masks.

    Raises:
        ValueError: as `check_images`, or a class is not below K, or masks are wanted where there
            are none.
    """
    check_images(truths, detections)
    wanted = _columns(truths, class_count, kind, {"area": "areas", "iscrowd": "crowd"})
    found = _columns(detections, class_count, kind, {"score": "scores"})
    sizes = {truth.image_id: truth.size for truth in truths}
    precision = np.full((_IOUS, _RECALLS, class_count, _AREAS, _LIMITS), _UNDEFINED)
    recall = np.full((_IOUS, class_count, _AREAS, _LIMITS), _UNDEFINED)
    for label in np.unique(wanted["category_id"]).tolist():  # other classes have no figures
        pair = _datasets(_of_class(wanted, label), _of_class(found, label), sizes)
        evaluation = COCOeval_faster(*pair, kind, print_function=lambda *_: None)
        evaluation.evaluate()
        evaluation.accumulate()
        precision[:, :, label] = np.asarray(evaluation.eval["precision"])[:, :, 0]
        recall[:, label] = np.asarray(evaluation.eval["recall"])[:, 0]
    return _figures(precision, recall)


def check_images(truths: Sequence[ImageTruth], detections: Sequence[ImageDetections]) -> None:
    """Stop where detections do not belong to truths.

    Raises:
        ValueError: an image comes twice, or detections lie in an image without a truth.
    """
    for images in (truths, detections):
        counts = Counter(one.image_id for one in images)
        twice = [image_id for image_id, count in counts.items() if count > 1]
        if twice:
            raise ValueError(f"images that come more than once: {sorted(twice)[:5]}")
    strange = {one.image_id for one in detections} - {truth.image_id for truth in truths}
    if strange:
        raise ValueError(f"detections in images that are not evaluated: {sorted(strange)[:5]}")


def coco_results(
    detections: Sequence[ImageDetections], category_ids: Sequence[int], kind: Kind
) -> list[Plain]:
    """Detections as COCO's results format has them.

    Results of masks have no box, because COCO's tools would take an object's area from it.

    Args:
        detections: of the images.
        category_ids: id of each class.
        kind: with boxes or with masks.
    """
    return [
        {"image_id": one.image_id, "category_id": category_ids[label], "score": score, **place}
        for one in detections
        for label, score, place in zip(
            one.labels.tolist(), one.scores.tolist(), _places(one, kind), strict=True
        )
    ]


def _places(one: ImageDetections, kind: Kind) -> Iterator[Plain]:
    """Where each object is."""
    if kind == "bbox":
        for box in _with_sides(one.boxes).tolist():
            yield {"bbox": box}
        return
    for counts in _masks(one):
        yield {"segmentation": {"size": list(one.size), "counts": counts.decode()}}


def _with_sides(boxes: NDArray[Any]) -> NDArray[Any]:
    """Left, top, width and height of boxes (n, 4) of corners."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)


def _masks(one: ImageDetections | ImageTruth) -> tuple[bytes, ...]:
    if one.masks is None:
        raise ValueError(f"masks are wanted, but image {one.image_id} has boxes only")
    return one.masks


def _columns(images: Objects, class_count: int, kind: Kind, names: Mapping[str, str]) -> Columns:
    """The objects of all images as arrays by COCO's names, sorted by class.

    Args:
        images: true or detected objects.
        class_count: K.
        kind: what says where an object is.
        names: fields to take along, by COCO's names.
    """
    labels = _joined([one.labels for one in images])
    if labels.size and not 0 <= labels.min() <= labels.max() < class_count:
        raise ValueError(f"labels {labels.min()} to {labels.max()} of {class_count} classes")
    ids = np.array([one.image_id for one in images], np.int64)
    columns: Columns = {
        "id": np.arange(1, len(labels) + 1),  # 0 would mean that nothing was matched
        "image_id": np.repeat(ids, [len(one.labels) for one in images]),
        "category_id": labels,
    }
    if kind == "bbox":
        boxes = _with_sides(_joined([one.boxes for one in images]).reshape(-1, 4))
        columns |= {"bbox": boxes, "area": boxes[:, 2].astype(float) * boxes[:, 3]}
    else:
        columns["counts"] = np.array([mask for one in images for mask in _masks(one)], object)
    for name, ours in names.items():
        columns[name] = _joined([getattr(one, ours) for one in images])
    order = np.argsort(labels, kind="stable")
    return {name: column[order] for name, column in columns.items()}


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)


def _of_class(columns: Columns, label: int) -> list[Plain]:
    start, stop = np.searchsorted(columns["category_id"], [label, label + 1])
    values = [column[start:stop].tolist() for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def _datasets(truths: list[Plain], found: list[Plain], sizes: Mapping[int, Size]) -> list[COCO]:
    """Objects of one class as annotation files of the images that have some."""
    for row in (*truths, *found):
        if "counts" in row:
            size = list(sizes[row["image_id"]])
            row["segmentation"] = {"size": size, "counts": row.pop("counts").decode()}
            row.setdefault("area", float(coco_mask.area(row["segmentation"])))
    images = [
        {"id": image_id, "height": sizes[image_id][0], "width": sizes[image_id][1]}
        for image_id in sorted({row["image_id"] for row in (*truths, *found)})
    ]
    categories = [{"id": truths[0]["category_id"]}]
    return [
        COCO({"images": images, "annotations": rows, "categories": categories})
        for rows in (truths, found)
    ]


def _figures(precision: Floats, recall: Floats) -> CocoFigures:
    """From precision (IoU, recall, class, area, limit) and recall (IoU, class, area, limit)."""
    usual = precision[..., _ALL, _HUNDRED]
    curves = np.stack([usual[_IOU_50], usual[_IOU_75], usual.mean(0)])
    return CocoFigures(
        ap=_mean(usual),
        ap50=_mean(usual[_IOU_50]),
        ap75=_mean(usual[_IOU_75]),
        ap_small=_mean(precision[..., _SMALL, _HUNDRED]),
        ap_medium=_mean(precision[..., _MEDIUM, _HUNDRED]),
        ap_large=_mean(precision[..., _LARGE, _HUNDRED]),
        ar1=_mean(recall[..., _ALL, _ONE]),
        ar10=_mean(recall[..., _ALL, _TEN]),
        ar100=_mean(recall[..., _ALL, _HUNDRED]),
        ar_small=_mean(recall[..., _SMALL, _HUNDRED]),
        ar_medium=_mean(recall[..., _MEDIUM, _HUNDRED]),
        ar_large=_mean(recall[..., _LARGE, _HUNDRED]),
        class_ap=_defined(usual).mean((0, 1)),
        class_ap50=_defined(usual[_IOU_50]).mean(0),
        precision=_defined(curves),
    )


def _mean(values: Floats) -> float:
    """Mean over what is defined, nan if nothing is."""
    defined = values[values > _UNDEFINED]
    return float(defined.mean()) if defined.size else float("nan")


def _defined(values: Floats) -> Floats:
    return np.where(values > _UNDEFINED, values, np.nan)
