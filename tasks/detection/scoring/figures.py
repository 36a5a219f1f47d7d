"""The figures of a test by name: those of boxes, and those of masks."""

from collections.abc import Collection, Mapping, Sequence
from math import isfinite

from tasks.detection.records import ImageDetections, ImageTruth
from tasks.detection.scoring.coco import CocoFigures, coco_figures
from tasks.reporting.metrics import Metric

Figures = Mapping[str, CocoFigures]
"""By `box` and, with masks, `mask`."""
NAMES = {
    "ap": "ap",
    "ap50": "ap50",
    "ap75": "ap75",
    "ap_small": "ap_s",
    "ap_medium": "ap_m",
    "ap_large": "ap_l",
    "ar1": "ar1",
    "ar10": "ar10",
    "ar100": "ar100",
    "ar_small": "ar_s",
    "ar_medium": "ar_m",
    "ar_large": "ar_l",
}


_WHOLE = ("ap", "ap50", "ap75")
"""Those of all objects, whatever their size and number."""


def coco_metrics() -> tuple[Metric, ...]:
    """The metrics of boxes and of masks, AP first."""
    return tuple(
        Metric(f"{kind}_{short}", "%", "higher", headline=name == "ap", detail=name not in _WHOLE)
        for name, short in NAMES.items()
        for kind in ("box", "mask")
    )


def all_figures(
    truths: Sequence[ImageTruth],
    detections: Sequence[ImageDetections],
    class_count: int,
    masks: bool,
) -> Figures:
    """The figures of boxes and, if wanted, of masks."""
    figures = {"box": coco_figures(truths, detections, class_count, "bbox")}
    if masks:
        figures["mask"] = coco_figures(truths, detections, class_count, "segm")
    return figures


def figure_values(figures: Figures, names: Collection[str] = tuple(NAMES)) -> dict[str, float]:
    """Figures by name such as `box_ap50`; those that are not defined stay out, but for AP.

    Args:
        figures: by kind.
        names: of `CocoFigures`.
    """
    values = {
        f"{kind}_{NAMES[name]}": float(getattr(found, name))
        for kind, found in figures.items()
        for name in names
    }
    return {k: v for k, v in values.items() if isfinite(v) or k.endswith("_ap")}


def class_values(figures: Figures, names: Sequence[str]) -> dict[str, float]:
    """AP of every class with objects, by name such as `box_ap/star`."""
    return {
        f"{kind}_ap/{name}": float(value)
        for kind, found in figures.items()
        for name, value in zip(names, found.class_ap, strict=True)
        if isfinite(value)
    }
