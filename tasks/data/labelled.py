"""Images with one class each, read and prepared without a detour over arrays."""

from typing import cast

import numpy as np
from PIL import Image

from tasks.data.images import ImageDataset, RgbImage, Sample
from tasks.data.transforms import Transform


class LabelledImages(ImageDataset):
    """Images with one class each, as samples of `image`, `label` and `index`.

    A subclass defines `__len__`, `image`, `label` and `image_name`.

    Args:
        transform: from an image to the bytes of a view.
    """

    def __init__(self, transform: Transform) -> None:
        self.transform = transform

    def __getitem__(self, index: int) -> Sample:
        """One image, read and transformed."""
        return self._sample(index, self.pil_image(index))

    def pil_image(self, index: int) -> Image.Image:
        """One image as it is, of mode RGB."""
        raise NotImplementedError

    def label(self, index: int) -> int:
        """The class of an image."""
        raise NotImplementedError

    def image(self, index: int) -> RgbImage:
        """The bytes of one image as it is."""
        return cast(RgbImage, np.array(self.pil_image(index)))

    def sample(self, index: int, image: RgbImage) -> Sample:
        """Transform an image in the given state."""
        return self._sample(index, Image.fromarray(image))

    def class_labels(self) -> list[int] | None:
        """The class of every image."""
        return [self.label(index) for index in range(len(self))]

    def _sample(self, index: int, image: Image.Image) -> Sample:
        return {"image": self.transform(image), "label": self.label(index), "index": index}
