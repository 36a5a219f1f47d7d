"""Settings of group `dataset`, data set by data set."""

from dataclasses import replace
from itertools import pairwise

from effects.models import CHANNELS, ONE_IMAGE, PROPOSALS, SAMPLES, WIDTH
from effects.probes import (
    batch_sizes,
    count,
    image,
    images,
    labels,
    sides,
    spares_a_fifth,
    stem,
    unreadable,
    workers,
)
from effects.recipes import CLS_RECIPE, DET_RECIPE, ENLARGED, SEG_RECIPE
from effects.rows import Effect, Elsewhere, Refused
from effects.shared import FLAT, weight_rates
from tasks.robustness.data import CellData, Cells, chosen_images


def from_hint(name):
    """The settings of a task as they are where nothing else was said."""
    return {f"task.{name}": f"${{dataset.hints.{name}}}"}


def reads_in_order(case):
    """Whether the classes of the first batch are interleaved, as in the shards."""
    found = labels("train")(case)
    return all((after - before) % 3 == 1 for before, after in pairwise(found))


def cell_loader(case):
    """The batches of an evaluation of the published sets."""
    return CellData(case.data, Cells(case.data.sources(), None)).test_dataloader()


def cell_batch(case):
    return next(iter(cell_loader(case)))


def set_images(case):
    """The first image of a corrupted set and of one that is not."""
    opened = {source.cell.collection: source.open() for source in case.data.sources()}
    return [opened[name][0]["image"].tolist() for name in ("imagenet-c", "clean")]


NEW_STEM = Effect(1, stem, expected=(1, 1))
LOADING = {
    "dataset._target_": Refused("effects.nothing.Here", "effects.nothing.Here"),
    "dataset.name": Effect("chosen", lambda case: case.data.name, expected="chosen"),
    "dataset.tasks": Elsewhere("test_seg_run.py::test_settings_that_do_not_exist", "serves task"),
    "dataset.batch_size": Effect(3, batch_sizes, expected=[3, 3]),
    "dataset.workers": Effect(1, workers, expected={1}),
    "dataset.on_corrupt": Effect("error", unreadable, expected="an error"),
}
UNREADABLE = Effect(0.5, spares_a_fifth, expected=True)
FILES = {
    **LOADING,
    "dataset.root": Refused("nowhere", "nowhere"),
    "dataset.max_unreadable": UNREADABLE,
}
SKIPPED = Effect("skip", unreadable, expected=["unreadable"])
DRAWN = {
    **LOADING,
    "dataset.on_corrupt": SKIPPED,
    "dataset.level": Effect("hard", image("train")),
    "dataset.seed": Effect(5, image("train")),
    "dataset.hints.stem_stride": NEW_STEM,
    "dataset.counts.train": Effect(17, count("train"), expected=17),
    "dataset.counts.val": Effect(5, count("val"), expected=5),
    "dataset.counts.test": Effect(6, count("test"), expected=6),
    "dataset.hints.limit": Effect(
        3,
        lambda case: len(chosen_images(case.data.images("test"), case.config.limit)),
        expected=3,
    ),
}
OBJECTS = Effect([3, 3], images)
RATE = Effect(
    0.5,
    lambda case: set(weight_rates(case)),
    expected={0.5},
    base={**FLAT, "optim.lr": "${dataset.hints.lr}", "trainer.limit_train_batches": 1},
)

HINTED = {
    "dataset.hints.channels": replace(CHANNELS, base=from_hint("channels")),
    "dataset.hints.width": replace(WIDTH, base=from_hint("width")),
    "dataset.hints.proposals": replace(PROPOSALS, base={**ONE_IMAGE, **from_hint("proposals")}),
    "dataset.hints.samples": replace(SAMPLES, base={**ONE_IMAGE, **from_hint("samples")}),
}

SHAPES = {
    "shapes/cls": {**DRAWN, **ENLARGED},
    "shapes/robustness": {**DRAWN, **ENLARGED},
    "shapes/seg": {**DRAWN, **SEG_RECIPE, "dataset.objects": OBJECTS, "dataset.hints.lr": RATE},
    "shapes/det": {
        **DRAWN,
        **DET_RECIPE,
        **HINTED,
        "dataset.image_size": Effect(48, sides("val"), expected=[(48, 48)]),
        "dataset.objects": OBJECTS,
        "dataset.hints.lr": RATE,
    },
}

CLS_FILES = {
    "imagefolder": {**FILES, **CLS_RECIPE},
    "imagenet": {**FILES, **CLS_RECIPE},
    "fashion_mnist": {
        **FILES,
        **ENLARGED,
        "dataset.on_corrupt": SKIPPED,
        "dataset.hints.stem_stride": NEW_STEM,
        "dataset.val_count": Effect(6, count("val"), expected=6),
        "dataset.split_seed": Effect(1, image("val")),
    },
    "webdataset": {
        **FILES,
        **CLS_RECIPE,
        "dataset.on_corrupt": Elsewhere(
            "test_webdataset.py::test_an_unreadable_sample_is_skipped_and_counted_or_an_error"
        ),
        "dataset.splits.train": Refused("nowhere.tar", "nowhere.tar"),
        "dataset.splits.val": Refused("nowhere.tar", "nowhere.tar"),
        "dataset.splits.test": Effect(
            "val-0.tar", lambda case: case.data.test_split, expected="test"
        ),
        "dataset.classes": Refused("nowhere", "dataset.classes=nowhere"),
        "dataset.shuffle": Effect(1, reads_in_order, expected=True),
    },
}

SEG_FILES = {
    **FILES,
    **SEG_RECIPE,
    "dataset.hints.lr": RATE,
    "dataset.classes": Effect(
        "other.txt", lambda case: case.data.class_names[0], expected="kind 0"
    ),
}
DENSE_FILES = {
    "seg_folder": {**SEG_FILES, "dataset.ignore_zero": Effect(True, labels("test"))},
    "voc": {**SEG_FILES, "dataset.ignore_zero": Effect(True, labels("test"))},
    "ade20k": {**SEG_FILES, "dataset.ignore_zero": Effect(False, labels("test"))},
}
for name, folder in (("coco_folder", "val"), ("coco", "val2017")):
    annotated = "val.json" if name == "coco_folder" else "annotations/instances_val2017.json"
    tested = {"dataset.splits.test": {"images": folder, "annotations": annotated}}
    DENSE_FILES[name] = {
        **FILES,
        **DET_RECIPE,
        "dataset.hints.lr": RATE,
        "dataset.keep_empty": Effect(True, count("train"), expected=5),
        **{
            f"dataset.splits.{split}.{kind}": Refused("nowhere", "nowhere")
            for split in ("train", "val")
            for kind in ("images", "annotations")
        },
        "dataset.splits.test.images": Refused("nowhere", "nowhere", base=tested),
        "dataset.splits.test.annotations": Effect(
            annotated,
            lambda case: case.data.test_split,
            expected="test",
            base={"dataset.splits.test.images": folder},
        ),
    }

SETS = {
    "_target_": LOADING["dataset._target_"],
    "name": LOADING["dataset.name"],
    "tasks": LOADING["dataset.tasks"],
    "root": Refused("nowhere", "nowhere"),
    "max_unreadable": UNREADABLE,
    **{
        f"paths.{key}": Refused("nowhere", f"dataset.paths.{key}=nowhere")
        for key in ("val", "c", "a", "r", "sketch", "v2", "c_bar")
    },
    "classes": Refused("nowhere", "dataset.classes=nowhere"),
    "batch_size": Effect(3, lambda case: len(cell_batch(case)["image"]), expected=3),
    "workers": Effect(1, lambda case: cell_loader(case).num_workers, expected=1),
    "on_corrupt": Elsewhere(
        "test_robustness_published.py::test_an_unreadable_image_is_an_error_if_so_wished"
    ),
    "image_size": Effect(48, lambda case: {len(one) for one in set_images(case)}, expected={48}),
    "recipe.crop_fraction": Effect(0.5, set_images),
    "recipe.interpolation": Effect("bilinear", set_images),
    "recipe.resize_corrupted": Effect(True, set_images),
    "recipe.mean": Effect([0.3, 0.6, 0.9], lambda case: case.task.pixels.shift.tolist()),
    "recipe.std": Effect([0.3, 0.6, 0.9], lambda case: case.task.pixels.scale.tolist()),
}
DATASETS = {
    **SHAPES,
    **CLS_FILES,
    **DENSE_FILES,
    "imagenet_sets": {f"dataset.{leaf}": row for leaf, row in SETS.items()},
}
