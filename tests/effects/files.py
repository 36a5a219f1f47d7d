"""Tiny trees of files of every data set that has files."""

import json
import struct

import numpy as np
from commands import TINY
from detection import DET_FILES, write_split
from PIL import Image
from robustness import all_cells, write_cells
from segmentation import SEG_FILES, random_mask, write_pair
from shards import SHARDS, write_splits
from timm.data import ImageNetInfo


def command_of(name, root):
    """What composes a data set whose files lie under `root` (see `write_files`)."""
    place = f"dataset.root={root / name}"
    if name == "webdataset":
        return (*SHARDS, place, f"dataset.classes={root / name / 'classes.txt'}")
    if name == "imagenet_sets":
        return (*TINY, "task=robustness", place, "dataset.image_size=32")
    if name in ("seg_folder", "ade20k", "voc"):
        return (*SEG_FILES, f"dataset={name}", place)
    if name in ("coco", "coco_folder"):
        return (*(o for o in DET_FILES if o != "dataset=coco_folder"), f"dataset={name}", place)
    more = "dataset.val_count=4" if name == "fashion_mnist" else "backbone.stem_stride=2"
    return (*TINY, f"dataset={name}", place, more)


def write_files(root):
    """Write the files of all data sets, each under its name; returns `root`."""
    _class_folders(root / "imagefolder", ("dark", "light"))
    _class_folders(root / "imagenet", ImageNetInfo().label_names())
    _idx(root / "fashion_mnist")
    write_splits(root / "webdataset")
    some = [n for n in all_cells() if n.count("/") == 0 or n.endswith(("fog/1", "plasma_noise/1"))]
    write_cells(root / "imagenet_sets", {name: all_cells()[name] for name in some})
    for folder in ("imagenet-c/fog/1", "imagenet/val"):
        _noise(root / "imagenet_sets" / folder)
    _pairs(root)
    _annotated(root / "coco_folder", {"train": "train", "val": "val"}, "{}.json")
    folders = {"train": "train2017", "val": "val2017"}
    _annotated(root / "coco", folders, "annotations/instances_{}.json")
    return root


def _image(seed, height=40, width=48):
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def _class_folders(root, classes):
    """Class folders of which the first two hold images."""
    for split in ("train", "val"):
        for number, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for i in range(6 if number < 2 else 0):
                _image(10 * number + i).save(root / split / name / f"{i}.png")


def _idx(root):
    root.mkdir()
    for part, count in (("train", 16), ("t10k", 8)):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        for kind, values in (("images-idx3", images), ("labels-idx1", np.arange(count) % 10)):
            head = struct.pack(">HBB", 0, 8, values.ndim)
            head += struct.pack(f">{values.ndim}I", *values.shape)
            (root / f"{part}-{kind}-ubyte").write_bytes(head + values.astype(np.uint8).tobytes())


def _noise(folder):
    """Something to resize, in place of flat colours."""
    for seed, path in enumerate(sorted(folder.rglob("*.png"))):
        _image(seed, 48, 48).save(path)


def _pairs(root):
    """Images and masks in the layouts of `seg_folder`, `ade20k` and `voc`."""
    for split, own in (("train", "training"), ("val", "validation")):
        for i in range(4):
            mask = random_mask(i, 48, 64, highest=2)
            write_pair(root / "seg_folder", split, f"{split}{i}", mask)
            many = random_mask(i, 48, 64, highest=150)
            write_pair(root / "ade20k", own, f"{split}{i}", many, masks="annotations")
            write_pair(root / "voc", ".", f"{split}{i}", mask, "JPEGImages", "SegmentationClass")
        names = "\n".join(f"{split}{i}" for i in range(4))
        lists = root / "voc/ImageSets/Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{split}.txt").write_text(names)
    for name in ("seg_folder", "ade20k", "voc"):
        count = {"seg_folder": 3, "ade20k": 151, "voc": 21}[name]
        (root / name / "classes.txt").write_text("\n".join(f"class {i}" for i in range(count)))
        (root / name / "other.txt").write_text("\n".join(f"kind {i}" for i in range(count)))


def _annotated(root, folders, place):
    """Images with COCO files; one image of training is without objects."""
    for split, folder in folders.items():
        write_split(root, folder, 5)
        plain = json.loads((root / f"{folder}.json").read_text())
        if split == "train":
            empty = plain["images"][0]["id"]
            plain["annotations"] = [a for a in plain["annotations"] if a["image_id"] != empty]
        target = root / place.format(folder)
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(plain))
