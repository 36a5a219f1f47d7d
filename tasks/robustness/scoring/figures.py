"""Which figures an evaluation has, by what is evaluated."""

from dataclasses import dataclass
from typing import Literal

from timm.data import ImageNetInfo

from tasks.data.loaders import TaskData
from tasks.engine.classifier import Classifier
from tasks.engine.task import Task
from tasks.robustness.ledger import Records
from tasks.robustness.published.imagenet import ImageNetSets
from tasks.robustness.scoring.corrupted import corrupted_classes, dense
from tasks.robustness.scoring.evaluations import clean, published_sets
from tasks.robustness.scoring.figure import Figure

NOT_IMAGENET_C = (
    "The images were corrupted by this program. That is not ImageNet-C, whose files are fixed: "
    "do not set these figures beside published ones."
)
NAMES = {
    "miou": "mIoU",
    "box_ap": "box AP",
    "mask_ap": "mask AP",
    "clean_top1": "clean top-1",
    "mce": "mCE",
    "mce_on_the_fly": "mCE, not ImageNet-C",
    "mean_error": "mean error",
    "mean_error_on_the_fly": "mean error",
    "relative_mce": "relative mCE",
    "relative_mce_on_the_fly": "relative mCE, not ImageNet-C",
    "a_top1": "A",
    "r_top1": "R",
    "sketch_top1": "SK",
    "v2_matched_frequency_top1": "V2 (matched frequency)",
    "c_bar_error": "C-bar error",
    "top1_mpc": "mPC",
    "top1_rpc": "rPC",
}
"""What reports call figures; those of other names keep them."""


@dataclass(frozen=True)
class Kind:
    """What is evaluated.

    Args:
        sets: `published` ones, or a dataset under corruptions, its images with one class each
            (`classes`) or scored by their task (`dense`).
        measures: of a dense task, such as ``miou``.
        imagenet: the classes are ImageNet's thousand.
        copied: the published sets were corrupted by this program.
    """

    sets: Literal["published", "classes", "dense"]
    measures: tuple[str, ...] = ()
    imagenet: bool = False
    copied: bool = False

    @property
    def origin(self) -> str:
        """What must be said of all figures; empty: nothing."""
        return "" if self.sets == "published" and not self.copied else NOT_IMAGENET_C

    @property
    def headline(self) -> tuple[str, ...]:
        """Names of the figures that say most."""
        if self.sets == "published":
            kept = ("clean_top1", "mce", "mean_error", "relative_mce", "a_top1", "r_top1")
            return (*kept, "sketch_top1", "v2_matched_frequency_top1", "c_bar_error")
        if self.sets == "classes":
            measures = ("mce", "relative_mce") if self.imagenet else ()
            names = [f"{name}_on_the_fly" for name in ("mean_error", *measures)]
            return ("clean_top1", *names, "top1_mpc", "top1_rpc")
        return tuple(f"{m}_{part}" for m in self.measures for part in ("clean", "mpc", "rpc"))


def kind_of(task: Task, data: TaskData) -> Kind:
    """What is evaluated when `task` meets `data`."""
    if isinstance(data, ImageNetSets):
        return Kind("published", imagenet=True, copied=data.copied)
    if isinstance(task, Classifier):
        imagenet = list(data.class_names) == ImageNetInfo().label_names()
        return Kind("classes", imagenet=imagenet)
    return Kind("dense", task.headline_metrics)


def figures_of(records: Records, kind: Kind) -> dict[str, Figure]:
    """All figures of some finished cells, by name."""
    if kind.sets == "published":
        return dict(published_sets(records))
    if kind.sets == "classes":
        return dict([*clean(records), *corrupted_classes(records, kind.imagenet)])
    return dict(dense(records, kind.measures))


_SETS = {
    "clean": "clean",
    "a": "A",
    "r": "R",
    "sketch": "SK",
    "v2_matched_frequency": "V2 (matched frequency)",
    "v2_threshold07": "V2 (threshold 0.7)",
    "v2_top_images": "V2 (top images)",
}
_PARTS = {
    "top1": "",
    "top1_unmasked": "among all classes",
    "clean_top1": "clean on the same classes",
    "drop": "drop from clean",
    "ece": "calibration error",
    "confidence": "confidence",
    "clean": "clean",
    "mpc": "mPC",
    "rpc": "rPC",
}


def figure_name(key: str) -> str:
    """What reports call a figure."""
    if key in NAMES:
        return NAMES[key]
    for names in (_SETS, NAMES):
        for prefix in sorted(names, key=len, reverse=True):
            part = key.removeprefix(f"{prefix}_")
            if part != key and part in _PARTS:
                return f"{names[prefix]} {_PARTS[part]}".strip()
    return key.replace("_", " ")
