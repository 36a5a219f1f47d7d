"""Images with one class each, read and prepared without a detour over arrays."""

from typing import cast

import numpy as np
from PIL import Image

from tasks.data.images import Pictures, RgbPicture, Sample
from tasks.data.transforms import Transform


class LabelledImages(Pictures):
    """Images with one class each, as samples of `image`, `label` and `index`.

    A subclass defines `__len__`, `image`, `label` and `picture_name`.

    Args:
        transform: from an image to the bytes of a view.
    """

    def __init__(self, transform: Transform) -> None:
        self.transform = transform

    def __getitem__(self, index: int) -> Sample:
        """One image, read and transformed."""
        return self._sample(index, self.image(index))

    def image(self, index: int) -> Image.Image:
        """One image as it is, of mode RGB."""
        raise NotImplementedError

    def label(self, index: int) -> int:
        """The class of an image."""
        raise NotImplementedError

    def picture(self, index: int) -> RgbPicture:
        """The bytes of one image as it is."""
        return cast(RgbPicture, np.array(self.image(index)))

    def sample(self, index: int, picture: RgbPicture) -> Sample:
        """Transform an image in the given state."""
        return self._sample(index, Image.fromarray(picture))

    def class_labels(self) -> list[int] | None:
        """The class of every image."""
        return [self.label(index) for index in range(len(self))]

    def _sample(self, index: int, image: Image.Image) -> Sample:
        return {"image": self.transform(image), "label": self.label(index), "index": index}
