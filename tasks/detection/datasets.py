"""Where images with objects come from: annotated files, and the embedded shapes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from tasks.data.images import ImageDataset, RgbImage, Sample, rgb_array
from tasks.data.shapes import Scene, ShapeScenes
from tasks.detection.annotations.reading import ImageRecord, instance_masks
from tasks.detection.annotations.segments import Masks, encoded_masks
from tasks.detection.records import ImageTruth, Size
from tasks.detection.transforms import EvalTransform, TrainTransform, as_content


class AnnotatedImages(ImageDataset):
    """Images from files, with the objects of an annotation file.

    Args:
        records: what is known of the images.
        folder: where they lie.
        transform: `TrainTransform`, or `EvalTransform`, which leaves the objects out.
        masks: whether training samples have masks.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        folder: Path,
        transform: TrainTransform | EvalTransform,
        masks: bool,
    ) -> None:
        self.records = records
        self.folder = folder
        self.transform = transform
        self.masks = masks

    def __len__(self) -> int:
        return len(self.records)

    def image(self, index: int) -> RgbImage:
        """Read and decode one image."""
        record = self.records[index]
        return read_image(self.folder / record.file_name, (record.height, record.width))

    def image_name(self, index: int) -> str:
        """The file as the annotations name it."""
        return self.records[index].file_name

    def place(self, index: int) -> str:
        """Where image `index` lies."""
        return str(self.folder / self.records[index].file_name)

    def sample(self, index: int, image: RgbImage) -> Sample:
        """Transform an image with its objects."""
        record, pixels = self.records[index], _channels_first(image)
        if isinstance(self.transform, EvalTransform):
            return _view(self.transform, pixels, index, record.id)
        instances = [instance for instance in record.instances if instance.trained]
        places = [instance.place.inside for instance in instances]
        boxes = torch.tensor(places, dtype=torch.float32).view(-1, 4)
        labels = torch.tensor([i.label for i in instances], dtype=torch.long)
        masks = torch.from_numpy(instance_masks(record, instances)) if self.masks else None
        return {**self.transform(as_content(pixels, boxes, labels, masks)), "index": index}


class ShapeObjects(ImageDataset):
    """The embedded scenes with the boxes and masks of their objects."""

    def __init__(
        self, scenes: ShapeScenes, transform: TrainTransform | EvalTransform, masks: bool
    ) -> None:
        self.scenes = scenes
        self.transform = transform
        self.masks = masks
        self._last: tuple[int, Scene] | None = None

    def __len__(self) -> int:
        return len(self.scenes)

    def image(self, index: int) -> RgbImage:
        """Draw one scene."""
        return self._scene(index).image

    def image_name(self, index: int) -> str:
        """Its number."""
        return f"{index:06d}"

    def sample(self, index: int, image: RgbImage) -> Sample:
        """Transform a scene with its objects."""
        scene, pixels = self._scene(index), _channels_first(image)
        if isinstance(self.transform, EvalTransform):
            return _view(self.transform, pixels, index, index)
        boxes = torch.tensor([i.box for i in scene.instances], dtype=torch.float32).view(-1, 4)
        labels = torch.tensor([i.label for i in scene.instances], dtype=torch.long)
        masks = torch.from_numpy(_stacked(scene)) if self.masks else None
        return {**self.transform(as_content(pixels, boxes, labels, masks)), "index": index}

    def _scene(self, index: int) -> Scene:
        if self._last is None or self._last[0] != index:
            self._last = (index, self.scenes[index])  # asked for twice in a row, drawn once
        return self._last[1]


def read_image(path: Path, size: Size) -> RgbImage:
    """An image, turned as its EXIF data say where that fits the size.

    Args:
        path: the file.
        size: as the annotations have it.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has another size.
    """
    with Image.open(path) as file:
        image = file if file.size == size[::-1] else ImageOps.exif_transpose(file)
        if image.size != size[::-1]:
            raise ValueError(
                f"it has {image.size[0]}x{image.size[1]} pixels, but its annotations are for "
                f"{size[1]}x{size[0]}"
            )
        return rgb_array(image)


def scene_truth(scene: Scene, index: int, masks: bool) -> ImageTruth:
    """The objects of a scene, the image's number being its index."""
    count = len(scene.instances)
    whole = _stacked(scene)
    return ImageTruth(
        image_id=index,
        size=(scene.image.shape[0], scene.image.shape[1]),
        boxes=np.array([i.box for i in scene.instances], np.float64).reshape(count, 4),
        labels=np.array([i.label for i in scene.instances], np.int64),
        crowd=np.zeros(count, bool),
        areas=whole.sum((1, 2)).astype(np.float64),
        masks=encoded_masks(whole) if masks else None,
    )


def _channels_first(image: RgbImage) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def _stacked(scene: Scene) -> Masks:
    return np.stack([i.mask for i in scene.instances]).astype(np.uint8)


def _view(transform: EvalTransform, image: Tensor, index: int, image_id: int) -> Sample:
    """An evaluation sample: `view` (h, w, 3), uint8, and the size of the image itself."""
    size = (image.shape[1], image.shape[2])
    return {"view": transform(image), "size": size, "index": index, "image_id": image_id}
