"""Datasets of pictures in two steps, reading and preparing, so that something can come between."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from tasks.errors import DatasetError

Sample = dict[str, Any]
RgbPicture = NDArray[np.uint8]
"""(H, W, 3), RGB."""
Alteration = Callable[[RgbPicture, str], RgbPicture]
"""From a picture and its name to an altered picture of the same content, labels unmoved."""
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What reading a picture raises if it cannot be read."""
_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")


class Pictures(Dataset[Sample]):
    """Pictures with what is known of them; a sample is a picture, read and then prepared.

    A subclass defines `__len__`, `picture`, `picture_name` and `sample`.
    """

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Sample:
        """One picture, read and prepared."""
        return self.sample(index, self.picture(index))

    def picture(self, index: int) -> RgbPicture:
        """One picture as it is."""
        raise NotImplementedError

    def picture_name(self, index: int) -> str:
        """What tells the picture from the others of its split, such as a path within it."""
        raise NotImplementedError

    def place(self, index: int) -> str:
        """Where the picture lies, for messages."""
        return self.picture_name(index)

    def sample(self, index: int, picture: RgbPicture) -> Sample:
        """What the network is given, of picture `index` in the given state."""
        raise NotImplementedError

    def class_labels(self) -> Sequence[int] | None:
        """The class of every picture; None: a picture has no single class."""
        return None


class AlteredPictures(Pictures):
    """The pictures of another dataset, altered between reading and preparing."""

    def __init__(self, pictures: Pictures, alteration: Alteration) -> None:
        self.pictures = pictures
        self.alteration = alteration

    def __len__(self) -> int:
        return len(self.pictures)

    def picture(self, index: int) -> RgbPicture:
        """One picture, altered."""
        return self.alteration(self.pictures.picture(index), self.pictures.picture_name(index))

    def picture_name(self, index: int) -> str:
        """As the other dataset names it."""
        return self.pictures.picture_name(index)

    def place(self, index: int) -> str:
        """Where the picture lies."""
        return self.pictures.place(index)

    def sample(self, index: int, picture: RgbPicture) -> Sample:
        """As the other dataset prepares it."""
        return self.pictures.sample(index, picture)

    def class_labels(self) -> Sequence[int] | None:
        """As in the other dataset."""
        return self.pictures.class_labels()


class Readable(Dataset[Sample]):
    """Pictures of which those that cannot be read become a note instead of an exception.

    Args:
        samples: the pictures.
        on_corrupt: as in `Loading`.
    """

    def __init__(self, samples: Pictures, on_corrupt: str) -> None:
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


def read_picture(path: Path | str) -> RgbPicture:
    """A picture file as RGB bytes, whatever its mode (grey, palette, alpha, CMYK, 16 bits).

    Transparency is dropped, and 16 bits are scaled to 8.

    Raises:
        OSError: the file cannot be read.
        SyntaxError: nor decoded, for some formats.
    """
    return np.array(read_image(path))


def rgb_picture(image: Image.Image) -> RgbPicture:
    """A picture as RGB bytes (see `read_picture`)."""
    return np.array(rgb_image(image))


def read_image(source: Path | str | BinaryIO) -> Image.Image:
    """Like `read_picture`, as an image of mode RGB; from a path or an open file."""
    with Image.open(source) as file:
        return rgb_image(file)


def rgb_image(image: Image.Image) -> Image.Image:
    """An image of mode RGB (see `read_picture`); one that is RGB already is only decoded."""
    image.load()
    if image.mode == "RGB":
        return image
    if image.mode in _SIXTEEN_BITS:  # Pillow would cut at 255 instead of scaling
        grey = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # the straight way Pillow warns of
    return image.convert("RGB")
