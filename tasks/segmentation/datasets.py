"""Where images with a label per pixel come from: pairs of files, and the embedded shapes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tasks.data.images import ImageDataset, RgbImage, Sample
from tasks.data.shapes import Scene, ShapeScenes
from tasks.segmentation.masks import Labels, Mask, Pair, read_mask
from tasks.segmentation.openmmlab import imfrombytes
from tasks.segmentation.transforms import Image

SceneTransform = Callable[[Image, Mask], dict[str, Any]]


class PairScenes(ImageDataset):
    """Images and masks from files.

    Args:
        pairs: the files.
        labels: what the indices in the masks mean.
        transform: from image and mask to a sample.
    """

    def __init__(self, pairs: Sequence[Pair], labels: Labels, transform: SceneTransform) -> None:
        self.pairs = pairs
        self.labels = labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pairs)

    def image(self, index: int) -> RgbImage:
        """Read and decode one image."""
        image: RgbImage | None = imfrombytes(self.pairs[index].image.read_bytes(), flag="color")
        if image is None:
            raise ValueError("it is no image that OpenCV can decode")
        return image[:, :, ::-1]

    def image_name(self, index: int) -> str:
        """Name of the file."""
        return self.pairs[index].image.name

    def place(self, index: int) -> str:
        """Where image `index` lies."""
        return str(self.pairs[index].image)

    def sample(self, index: int, image: RgbImage) -> Sample:
        """Read the mask, and transform both."""
        pair = self.pairs[index]
        mask = read_mask(pair.mask, self.labels)
        if mask.shape != image.shape[:2]:
            raise ValueError(
                f"it has {image.shape[1]}x{image.shape[0]} pixels, but its mask {pair.mask} "
                f"{mask.shape[1]}x{mask.shape[0]}"
            )
        return _sample(self.transform, image, mask, index)


class ShapeMasks(ImageDataset):
    """The embedded scenes with the class of every pixel; class 0 is the background."""

    def __init__(self, scenes: ShapeScenes, transform: SceneTransform) -> None:
        self.scenes = scenes
        self.transform = transform
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
        """Transform a scene with its classes."""
        return _sample(self.transform, image, self._scene(index).mask, index)

    def _scene(self, index: int) -> Scene:
        if self._last is None or self._last[0] != index:
            self._last = (index, self.scenes[index])  # asked for twice in a row, drawn once
        return self._last[1]


def _sample(transform: SceneTransform, image: RgbImage, mask: Mask, index: int) -> Sample:
    return {**transform(np.ascontiguousarray(image[:, :, ::-1]), mask), "index": index}
