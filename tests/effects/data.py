"""Settings of group `dataset`, data set by data set."""

from dataclasses import replace
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from effects.models import CHANNELS, ONE_IMAGE, PROPOSALS, SAMPLES, WIDTH
from effects.rows import Effect, Elsewhere, Refused
from effects.shared import FLAT, weight_rates
from tasks.detection.transforms import as_content
from tasks.errors import DatasetError
from tasks.robustness.data import CellData, Cells, chosen_pictures


def image(split):
    """The first image of a split, pixel by pixel."""
    return lambda case: case.image(split).tolist()


def images(case):
    """The images of the first batch of training."""
    return case.batch("train")["image"].tolist()


def inputs(stage):
    """What the backbone is given in a step of a stage."""
    return lambda case: [one.tolist() for one in case.inputs(stage)]


def sides(*splits):
    """Height and width of the first image of each split."""
    return lambda case: [tuple(case.image(split).shape[:2]) for split in splits]


def count(split):
    return lambda case: case.data.count(split)


def batch_sizes(case):
    """Samples in the first batches of training and of a test."""
    batches = [case.batch(split) for split in ("train", "test")]
    return [len(batch["image"] if "image" in batch else batch["scenes"]) for batch in batches]


def workers(case):
    loaders = ("train_dataloader", "val_dataloader", "test_dataloader")
    return {getattr(case.data, name)().num_workers for name in loaders}


def unreadable(case):
    """What becomes of an image of the test split that cannot be read."""
    samples = case.data.split(case.data.test_split)

    def broken(*_):
        raise OSError("broken")

    with patch.multiple(
        samples.samples, **{n: broken for n in ("picture", "image") if hasattr(samples.samples, n)}
    ):
        try:
            return list(samples[0])
        except DatasetError:
            return "an error"


def labels(split):
    """The labels of the first batch of a split."""

    def probe(case):
        batch = case.batch(split)
        found = batch["label"] if "label" in batch else batch["scenes"][0]["label"]
        return found.tolist()

    return probe


def draws(arguments):
    """The different images that the training transform makes of one image in a dozen draws."""

    def probe(case):
        transform, found = case.data.transform("train"), set()
        case._seed()
        for _ in range(12):
            done = transform(*arguments())
            found.add((done["image"] if isinstance(done, dict) else done).numpy().tobytes())
        return found

    return probe


def number_of_draws(arguments):
    """How many of them there are: two, if the image is mirrored now and then."""
    return lambda case: len(draws(arguments)(case))


def noise():
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def stem(case):
    return case.backbone.downsample_layers[0][0].stride


def from_hint(name):
    """The settings of a task as they are where nothing else was said."""
    return {f"task.{name}": f"${{dataset.hints.{name}}}"}


def reads_in_order(case):
    """Whether the classes of the first batch go by turns, as in the shards."""
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
FILES = {**LOADING, "dataset.root": Refused("nowhere", "nowhere")}
SKIPPED = Effect("skip", unreadable, expected=["unreadable"])
DRAWN = {
    **LOADING,
    "dataset.on_corrupt": SKIPPED,
    "dataset.level": Effect("hard", image("train")),
    "dataset.seed": Effect(5, image("train")),
    "dataset.stem_stride": NEW_STEM,
    "dataset.counts.train": Effect(17, count("train"), expected=17),
    "dataset.counts.val": Effect(5, count("val"), expected=5),
    "dataset.counts.test": Effect(6, count("test"), expected=6),
    "dataset.hints.limit": Effect(
        3,
        lambda case: len(chosen_pictures(case.data.pictures("test"), case.config.limit)),
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

MOMENTS = {
    f"dataset.recipe.{name}": (
        Effect([0.3, 0.6, 0.9], inputs("train")),
        Effect([0.3, 0.6, 0.9], inputs("test")),
    )
    for name in ("mean", "std")
}
PLAIN = {
    "dataset.recipe.crop_scale": None,
    "dataset.recipe.rand_augment": None,
    "dataset.recipe.crop_padding": 0,
    "dataset.recipe.flip": 0.0,
}
SMALL = Effect(24, sides("train", "val"), expected=[(24, 24)] * 2)


def pil():
    return (Image.fromarray(noise()),)


CLS_RECIPE = {
    **MOMENTS,
    "dataset.image_size": SMALL,
    "dataset.recipe.image_size": SMALL,
    "dataset.recipe.crop_fraction": Effect(0.5, image("val")),
    "dataset.recipe.interpolation": (
        Effect("bicubic", image("val"), base={"dataset.recipe.interpolation": "bilinear"}),
        Effect("bicubic", image("train"), base={"dataset.recipe.interpolation": "bilinear"}),
    ),
    "dataset.recipe.crop_scale": Effect([0.2, 0.3], image("train"), base=PLAIN),
    "dataset.recipe.crop_padding": Effect(4, image("train"), base=PLAIN),
    "dataset.recipe.flip": Effect(0.5, number_of_draws(pil), expected=2, base=PLAIN),
    "dataset.recipe.rand_augment": Effect(
        "rand-m9-mstd0.5-inc1",
        images,
        base={**PLAIN, "dataset.recipe.crop_scale": [0.5, 1.0]},
    ),
    "dataset.recipe.erase": Effect(1.0, inputs("train"), base={"dataset.recipe.erase": 0.0}),
}
ENLARGED = {
    **CLS_RECIPE,
    "dataset.recipe.interpolation": Effect(
        "bicubic", image("val"), base={"dataset.recipe.crop_fraction": 0.5}
    ),
}
"""Of scenes, which are drawn at the size that training wants."""


def picture_and_mask():
    return noise(), np.zeros((32, 32), np.uint8)


SEG_RECIPE = {
    **MOMENTS,
    "dataset.image_size": Effect(48, sides("train"), expected=[(48, 48)]),
    "dataset.recipe.image_size": Effect(48, sides("train"), expected=[(48, 48)]),
    "dataset.recipe.resize": Effect([128, 64], sides("val")),
    "dataset.recipe.ratio_range": Effect(
        [0.3, 0.4],
        image("train"),
        base={"dataset.recipe.resize": [96, 32], "dataset.recipe.ratio_range": None},
    ),
    "dataset.recipe.max_class_share": Effect(
        0.05,
        image("train"),
        base={
            "dataset.recipe.resize": [128, 64],
            "dataset.recipe.ratio_range": None,
            "dataset.recipe.max_class_share": 1.0,
        },
    ),
    "dataset.recipe.flip": Effect(
        0.5,
        number_of_draws(picture_and_mask),
        expected=2,
        base={
            "dataset.recipe.flip": 0.0,
            "dataset.recipe.distort": False,
            "dataset.recipe.resize": None,
            "dataset.recipe.ratio_range": None,
        },
    ),
    "dataset.recipe.distort": Effect(True, image("train"), base={"dataset.recipe.distort": False}),
    "dataset.recipe.tta": Effect(
        "ms_flip", lambda case: len(case.batch("val")["scenes"][0]["views"]), expected=6
    ),
}


def with_masks(case):
    return "masks" in case.batch("train")


RESIZED = {
    "dataset.recipe.resize": [96, 64],
    "dataset.recipe.scales": [48],
    "dataset.recipe.crop": None,
    "dataset.recipe.crop_scales": [40],
    "dataset.recipe.jitter": None,
    "dataset.recipe.flip": 0.0,
}
CROPPED = {**RESIZED, "dataset.recipe.crop": [16, 24]}


def picture_and_boxes():
    box = torch.tensor([[2.0, 2.0, 14.0, 14.0]])
    return (as_content(torch.from_numpy(noise()).permute(2, 0, 1), box, torch.tensor([1]), None),)


def smallest_and_largest(case):
    """Sides of the training images made of one image of 32 pixels, over a dozen draws."""
    case._seed()
    transform = case.data.transform("train")
    shapes = [transform(*picture_and_boxes())["image"].shape[:2] for _ in range(12)]
    return min(map(min, shapes)), max(map(max, shapes))


DET_RECIPE = {
    **MOMENTS,
    "dataset.detector": Effect("faster_rcnn", with_masks, expected=False),
    "dataset.recipe.resize": Effect([96, 72], sides("val"), base=RESIZED),
    "dataset.recipe.scales": Effect([40], smallest_and_largest, expected=(40, 40), base=RESIZED),
    "dataset.recipe.crop": Effect([16, 24], draws(picture_and_boxes), base=RESIZED),
    "dataset.recipe.crop_scales": Effect([20], draws(picture_and_boxes), base=CROPPED),
    "dataset.recipe.jitter": Effect(
        24, lambda case: smallest_and_largest(case)[1] <= 24, expected=True, base=RESIZED
    ),
    "dataset.recipe.flip": Effect(
        0.5,
        number_of_draws(picture_and_boxes),
        expected=2,
        base={**RESIZED, "dataset.recipe.resize": None, "dataset.recipe.scales": []},
    ),
}
HINTED = {
    "dataset.side": Effect(48, sides("val"), expected=[(48, 48)]),
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
        "dataset.image_size": HINTED["dataset.side"],
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
        "dataset.stem_stride": NEW_STEM,
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
    **{
        f"paths.{key}": Refused("nowhere", f"dataset.paths.{key}=nowhere")
        for key in ("val", "c", "a", "r", "sketch", "v2", "c_bar")
    },
    "classes": Refused("nowhere", "dataset.classes=nowhere"),
    "batch_size": Effect(3, lambda case: len(cell_batch(case)["image"]), expected=3),
    "workers": Effect(1, lambda case: cell_loader(case).num_workers, expected=1),
    "on_corrupt": Elsewhere(
        "test_robustness_published.py::test_an_unreadable_picture_is_an_error_if_so_wished"
    ),
    "image_size": Effect(48, lambda case: {len(one) for one in set_images(case)}, expected={48}),
    "recipe.image_size": Effect(48, lambda case: {len(i) for i in set_images(case)}, {48}),
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
