"""Small detection runs, and folders of images with COCO annotations for the tests."""

import json

import numpy as np
from commands import TINY
from PIL import Image
from pycocotools import mask as coco_mask

from tasks.data.shapes import CLASS_NAMES, ShapeScenes

SIZES = ("task.channels=8", "task.width=16", "task.proposals=20", "task.samples=16")
DET = (*(item for item in TINY if "image_size" not in item), "task=det", *SIZES)
DET_SHAPES = (*DET, "dataset.image_size=32", "dataset.counts={train:16,val:6,test:7}")
DET_FILES = (
    *DET,
    "dataset=coco_folder",
    "backbone.stem_stride=2",
    "dataset.batch_size=2",
    "dataset.recipe.resize=[96,64]",
    "dataset.recipe.scales=[48,64]",
    "dataset.recipe.crop_scales=[40,56]",
    "dataset.recipe.crop=[32,48]",
)


def run_lengths(mask):
    """COCO's compressed RLE as JSON holds it."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def polygon(box):
    x0, y0, x1, y1 = box
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def annotation(number, image_id, category_id, box, **more):
    x0, y0, x1, y1 = box
    plain = {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "segmentation": polygon(box),
    }
    return plain | more


def write_split(root, split, count, size=64, first=0):
    """Scenes as images with a COCO file; every other object has a polygon, the others RLE."""
    folder = root / split
    folder.mkdir(parents=True)
    scenes = ShapeScenes(count, size, "easy", seed=first, split="train", objects=(1, 2))
    images, annotations = [], []
    for i, scene in enumerate(scenes):
        name = f"{i:04}.png"
        Image.fromarray(scene.image).save(folder / name)
        images.append({"id": 10 + i, "file_name": name, "width": size, "height": size})
        for instance in scene.instances:
            number = len(annotations) + 1
            segment = polygon(instance.box) if number % 2 else run_lengths(instance.mask)
            more = {"segmentation": segment, "area": float(instance.mask.sum())}
            annotations.append(
                annotation(number, 10 + i, 3 * instance.label + 2, instance.box, **more)
            )
    categories = [{"id": 3 * i + 2, "name": name} for i, name in enumerate(CLASS_NAMES)]
    plain = {"images": images, "annotations": annotations, "categories": categories}
    (root / f"{split}.json").write_text(json.dumps(plain))
    return plain
