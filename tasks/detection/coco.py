"""COCO's figures (arXiv 1405.0312), by faster-coco-eval from compact arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from tasks.detection.records import ImageDetections, ImageTruth

Kind = Literal["bbox", "segm"]
Floats = NDArray[np.float64]
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
_ONE, _TEN, _HUNDRED = range(3)
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

    Args:
        truths: of every image.
        detections: of some or all of these images.
        class_count: K.
        kind: of boxes or of masks.

    Raises:
        ValueError: detections in an image without a truth.
    """
    strange = {d.image_id for d in detections} - {t.image_id for t in truths}
    if strange:
        raise ValueError(f"detections in images that are not evaluated: {sorted(strange)[:5]}")
    category_ids = range(1, class_count + 1)
    truth = COCO(_annotations(truths, category_ids, kind))
    found = truth.loadRes(coco_results(detections, category_ids, kind))
    evaluation = COCOeval_faster(truth, found, kind, print_function=_silent)
    evaluation.evaluate()
    evaluation.accumulate()
    return _figures(*(np.asarray(evaluation.eval[key]) for key in ("precision", "recall")))


def coco_results(
    detections: Sequence[ImageDetections], category_ids: Sequence[int], kind: Kind
) -> list[dict[str, Any]]:
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


def _places(objects: ImageDetections | ImageTruth, kind: Kind) -> Iterator[dict[str, Any]]:
    """Where each object is."""
    if kind == "bbox":
        low, high = objects.boxes[:, :2], objects.boxes[:, 2:]
        for box in np.concatenate([low, high - low], 1).tolist():
            yield {"bbox": box}
        return
    assert objects.masks is not None, "figures of masks without masks"
    for counts in objects.masks:
        yield {"segmentation": {"size": list(objects.size), "counts": counts.decode()}}


def _annotations(
    truths: Sequence[ImageTruth], category_ids: Sequence[int], kind: Kind
) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for truth in truths:
        columns = (truth.labels.tolist(), truth.crowd.tolist(), truth.areas.tolist())
        for label, crowd, area, place in zip(*columns, _places(truth, kind), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": truth.image_id,
                    "category_id": category_ids[label],
                    "iscrowd": int(crowd),
                    "area": area,
                    **place,
                }
            )
    return {
        "images": [{"id": t.image_id, "height": t.size[0], "width": t.size[1]} for t in truths],
        "annotations": annotations,
        "categories": [{"id": number, "name": str(number)} for number in category_ids],
    }


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


def _silent(*_: object) -> None:
    """In place of a print."""
