"""Datasets of images in two steps, reading and preparing, so that something can come between."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from tasks.errors import DatasetError

Sample = dict[str, Any]
RgbImage = NDArray[np.uint8]
"""(H, W, 3), RGB."""
Alteration = Callable[[RgbImage, str], RgbImage]
"""From an image and its name to an altered image of the same content, labels unmoved."""
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What reading an image raises if it cannot be read."""
_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")


class ImageDataset(Dataset[Sample]):
    """Images with what is known of them; a sample is an image, read and then prepared.

    A subclass defines `__len__`, `image`, `image_name` and `sample`.
    """

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Sample:
        """One image, read and prepared."""
        return self.sample(index, self.image(index))

    def image(self, index: int) -> RgbImage:
        """One image as it is."""
        raise NotImplementedError

    def image_name(self, index: int) -> str:
        """What tells the image from the others of its split, such as a path within it."""
        raise NotImplementedError

    def place(self, index: int) -> str:
        """Where the image lies, for messages."""
        return self.image_name(index)

    def sample(self, index: int, image: RgbImage) -> Sample:
        """What the network is given, of image `index` in the given state."""
        raise NotImplementedError

    def class_labels(self) -> Sequence[int] | None:
        """The class of every image; None: an image has no single class."""
        return None


class AlteredImages(ImageDataset):
    """The images of another dataset, altered between reading and preparing."""

    def __init__(self, images: ImageDataset, alteration: Alteration) -> None:
        self.images = images
        self.alteration = alteration

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> RgbImage:
        """One image, altered."""
        return self.alteration(self.images.image(index), self.images.image_name(index))

    def image_name(self, index: int) -> str:
        """As the other dataset names it."""
        return self.images.image_name(index)

    def place(self, index: int) -> str:
        """Where the image lies."""
        return self.images.place(index)

    def sample(self, index: int, image: RgbImage) -> Sample:
        """As the other dataset prepares it."""
        return self.images.sample(index, image)

    def class_labels(self) -> Sequence[int] | None:
        """As in the other dataset."""
        return self.images.class_labels()


class Readable(Dataset[Sample]):
    """Images of which those that cannot be read become a note instead of an exception.

    Args:
        samples: the images.
        on_corrupt: as in `Loading`.
    """

    def __init__(self, samples: ImageDataset, on_corrupt: str) -> None:
        self.samples = samples
        self.on_corrupt = on_corrupt

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        """The sample, or ``{"unreadable": path}``."""
        try:
            return self.samples[index]
        except UNREADABLE as error:
            return unreadable(self.samples.place(index), error, self.on_corrupt)


def unreadable(place: str, fault: Exception | str, on_corrupt: str) -> Sample:
    """What stands for a sample that cannot be read: ``{"unreadable": place}``.

    Args:
        place: where it lies.
        fault: what is wrong.
        on_corrupt: as in `Loading`.

    Raises:
        DatasetError: if `on_corrupt` is `error`.
    """
    if on_corrupt == "error":
        raise DatasetError(
            f"{place} cannot be read: {fault}. Replace or remove the file, or set "
            "dataset.on_corrupt=skip to go on without it."
        ) from (fault if isinstance(fault, Exception) else None)
    return {"unreadable": place}


def read_array(path: Path | str) -> RgbImage:
    """An image file as RGB bytes, whatever its mode (grey, palette, alpha, CMYK, 16 bits).

    Transparency is dropped, and 16 bits are scaled to 8.

    Raises:
        OSError: the file cannot be read.
        SyntaxError: nor decoded, for some formats.
    """
    return np.array(read_image(path))


def rgb_array(image: Image.Image) -> RgbImage:
    """An image as RGB bytes (see `read_array`)."""
    return np.array(rgb_image(image))


def read_image(source: Path | str | BinaryIO) -> Image.Image:
    """Like `read_array`, as an image of mode RGB; from a path or an open file."""
    with Image.open(source) as file:
        return rgb_image(file)


def rgb_image(image: Image.Image) -> Image.Image:
    """An image of mode RGB (see `read_array`); one that is RGB already is only decoded."""
    image.load()
    if image.mode == "RGB":
        return image
    if image.mode in _SIXTEEN_BITS:  # Pillow would cut at 255 instead of scaling
        grey = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # the straight way Pillow warns of
    return image.convert("RGB")
