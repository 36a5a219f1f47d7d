"""Where pictures with a label per pixel come from: pairs of files, and the embedded shapes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from tasks.segmentation.masks import Labels, Mask, Pair, read_mask
from tasks.segmentation.openmmlab import imfrombytes
from tasks.segmentation.transforms import Picture
from tasks.shapes import ShapeScenes
from tasks.training.loaders import Sample

SceneTransform = Callable[[Picture, Mask], dict[str, Any]]


class PairScenes(Dataset[Sample]):
    """Pictures and masks from files.

    Args:
        pairs: the files.
        labels: what the indices in the masks mean.
        transform: from picture and mask to a sample.
    """

    def __init__(self, pairs: Sequence[Pair], labels: Labels, transform: SceneTransform) -> None:
        self.pairs = pairs
        self.labels = labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read, decode and transform one pair."""
        pair = self.pairs[index]
        picture = imfrombytes(pair.image.read_bytes(), flag="color")
        if picture is None:
            raise ValueError("it is no picture that OpenCV can decode")
        mask = read_mask(pair.mask, self.labels)
        if mask.shape != picture.shape[:2]:
            raise ValueError(
                f"it has {picture.shape[1]}x{picture.shape[0]} pixels, but its mask {pair.mask} "
                f"{mask.shape[1]}x{mask.shape[0]}"
            )
        return {**self.transform(picture, mask), "index": index}

    def path(self, index: int) -> str:
        """Where picture `index` lies."""
        return str(self.pairs[index].image)


class ShapeMasks(Dataset[Sample]):
    """The embedded scenes with the class of every pixel; class 0 is the background."""

    def __init__(self, scenes: ShapeScenes, transform: SceneTransform) -> None:
        self.scenes = scenes
        self.transform = transform

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Sample:
        """Draw and transform one scene."""
        scene = self.scenes[index]
        picture = np.ascontiguousarray(scene.image[:, :, ::-1])
        return {**self.transform(picture, scene.mask), "index": index}
