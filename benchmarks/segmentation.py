"""Segmentation beside mmsegmentation's own runner: reading data, and labelling by windows.

    python benchmarks/segmentation.py [--repeats 5] [--backbone convnext_dcls_tiny]

Both sides use the same network with the same weights and the same files, made here in a temporary
folder: photographs are imitated by smooth noise of 512 x 683 pixels. mmsegmentation's side is what
its runner does for an image: its dataset, its preprocessor, `EncoderDecoder.predict` by a sliding
window, `IoUMetric.process`. Printed are medians of interleaved repeats and their ratio.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.datasets import ADE20KDataset
from mmseg.evaluation.metrics import IoUMetric
from mmseg.models import SegDataPreProcessor
from PIL import Image

import dcls
from tasks.data.loaders import Loading
from tasks.data.pixels import Pixels
from tasks.segmentation import upernet
from tasks.segmentation.data import Ade20k
from tasks.segmentation.heads import AUXILIARY_WEIGHT, complete_head
from tasks.segmentation.inference import Inference
from tasks.segmentation.openmmlab import EncoderDecoder
from tasks.segmentation.scores import PixelConfusion

HEIGHT, WIDTH = 512, 683
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RECIPE = {
    "image_size": 512,
    "resize": (2048, 512),
    "ratio_range": (0.5, 2.0),
    "max_class_share": 0.75,
    "flip": 0.5,
    "distort": True,
    "tta": "none",
    "mean": MEAN,
    "std": STD,
}
TRAINING = [
    {"type": "LoadImageFromFile"},
    {"type": "LoadAnnotations"},
    {"type": "RandomResize", "scale": (2048, 512), "ratio_range": (0.5, 2.0), "keep_ratio": True},
    {"type": "RandomCrop", "crop_size": (512, 512), "cat_max_ratio": 0.75},
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "PhotoMetricDistortion"},
    {"type": "PackSegInputs"},
]
EVALUATION = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "scale": (2048, 512), "keep_ratio": True},
    {"type": "LoadAnnotations"},
    {"type": "PackSegInputs"},
]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--images", type=int, default=24, help="files read per repeat")
    options.add_argument("--backbone", default="convnext_dcls_tiny")
    options.add_argument("--no-label", dest="label", action="store_false")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder), chosen.images)
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
        read(Path(folder), chosen.images, chosen.repeats)
        if chosen.label:
            label(Path(folder), chosen.backbone, chosen.repeats)


def write_tree(root: Path, count: int) -> None:
    """Files of ADE20K's layout."""
    rng = np.random.default_rng(0)
    for split in ("training", "validation"):
        for kind in ("images", "annotations"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            coarse = rng.integers(0, 256, (16, 22, 3), np.uint8)
            image = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            image.save(root / "images" / split / f"{i}.jpg", quality=90)
            blocks = Image.fromarray(rng.integers(0, 151, (8, 11), np.uint8))
            mask = blocks.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)
            mask.save(root / "annotations" / split / f"{i}.png")


def ours(root: Path, split: str):
    return Ade20k("ade20k", str(root), None, True, Loading(1), RECIPE).split(split)


def theirs(root: Path, folder: str, pipeline: list) -> ADE20KDataset:
    init_default_scope("mmseg")
    prefix = {"img_path": f"images/{folder}", "seg_map_path": f"annotations/{folder}"}
    return ADE20KDataset(data_root=str(root), data_prefix=prefix, pipeline=pipeline)


def preprocessor() -> SegDataPreProcessor:
    return SegDataPreProcessor(
        mean=[255 * value for value in MEAN],
        std=[255 * value for value in STD],
        bgr_to_rgb=True,
        size=(512, 512),
        pad_val=0,
        seg_pad_val=255,
    )


def read(root: Path, count: int, repeats: int) -> None:
    """Training samples per second, from files to what the network takes, in one process."""
    mine, others = ours(root, "train"), theirs(root, "training", TRAINING)
    pixels, prepare = Pixels(MEAN, STD), preprocessor()

    def read_ours() -> None:
        np.random.seed(0)  # both sides draw the same sizes, crops and distortions
        for index in range(count):
            sample = mine[index]
            pixels(sample["image"][None], [sample["size"]])

    def read_theirs() -> None:
        np.random.seed(0)
        for index in range(count):
            packed = others[index]
            prepare({"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]}, True)

    compare("reading for training, images/s", read_ours, read_theirs, count, repeats)


@torch.inference_mode()
def label(root: Path, backbone: str, repeats: int) -> None:
    """Validation images per second: read, label by windows, resize, count."""
    model = upernet(backbone, 150).eval()
    theirs_model = mmsegmentations(backbone).eval()
    theirs_model.load_state_dict(model.state_dict())
    mine, others = ours(root, "val"), theirs(root, "validation", EVALUATION)
    pixels, prepare = Pixels(MEAN, STD), preprocessor()
    prepare.test_cfg = None
    confusion, metric = PixelConfusion(150), IoUMetric()
    metric.dataset_meta = others.metainfo
    inference = Inference(mode="slide")

    def label_ours() -> None:
        for index in range(2):
            scene = mine[index]
            views = [pixels(scene["views"][0][None])]
            predicted = inference.label(model, views, tuple(scene["label"].shape))
            confusion.update(predicted[0], scene["label"])

    def label_theirs() -> None:
        for index in range(2):
            packed = others[index]
            data = {"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]}
            data = prepare(data, False)
            samples = theirs_model.predict(data["inputs"], data["data_samples"])
            metric.process(data, [sample.to_dict() for sample in samples])

    with torch.no_grad():
        image = pixels(mine[0]["views"][0][None])
        difference = (model.slide(image) - theirs_model.slide_inference(image, [{}])).abs().max()
    print(f"largest difference of the logits of one image: {float(difference):.1e}")
    compare("labelling by windows, images/s", label_ours, label_theirs, 2, repeats)


def mmsegmentations(backbone: str) -> EncoderDecoder:
    """The same network of mmsegmentation's parts alone, but for the backbone."""
    maps = dcls.create_backbone(backbone, features=True).feature_info
    heads = [
        complete_head({"type": kind}, maps, 150, weight)
        for kind, weight in (("UPerHead", 1.0), ("FCNHead", AUXILIARY_WEIGHT))
    ]
    return EncoderDecoder(
        backbone={"type": "DclsBackbone", "name": backbone},
        decode_head=heads[0],
        auxiliary_head=heads[1],
        test_cfg=ConfigDict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
    )


def compare(
    what: str, first: Callable[[], None], second: Callable[[], None], count: int, repeats: int
) -> None:
    """Time both in turn; print medians and the ratio of ours to theirs."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for side, run in zip(times, (first, second), strict=True):
            start = time.perf_counter()
            run()
            if turn:  # the first one warms up
                side.append(time.perf_counter() - start)
    mine, others = (count / statistics.median(side) for side in times)
    print(f"{what}: ours {mine:.2f}, mmsegmentation {others:.2f}, ratio {mine / others:.2f}")


if __name__ == "__main__":
    main()
