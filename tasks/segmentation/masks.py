"""Masks on disk: one class index per pixel, read with every check that can name the file."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tasks.errors import DatasetError
from tasks.segmentation.model import IGNORED

Mask = NDArray[np.uint8]
_INDEXED = ("L", "P", "1")
"""Pillow's modes of images that hold one byte (or bit) per pixel."""
_TURNED = (5, 6, 7, 8)
"""Values of EXIF's orientation under which width and height are exchanged."""
_ORIENTATION = 0x0112


class Pair(NamedTuple):
    """An image and its mask."""

    image: Path
    mask: Path


class Labels(NamedTuple):
    """What the indices in a mask mean.

    With `ignore_zero` index 0 is no class, and index i is class i - 1.
    """

    num_classes: int
    ignore_zero: bool

    @property
    def table(self) -> Mask:
        """Class of each of the 256 indices, `IGNORED` where there is none."""
        table = np.full(256, IGNORED, np.uint8)
        table[self.indices] = np.arange(self.num_classes)
        return table

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """Whether each of the 256 indices may stand in a mask."""
        allowed = np.zeros(256, bool)
        allowed[[*self.indices, IGNORED]] = True
        allowed[0] |= self.ignore_zero
        return allowed

    @property
    def indices(self) -> range:
        """The indices of the classes, in their order."""
        return range(int(self.ignore_zero), int(self.ignore_zero) + self.num_classes)


def read_mask(path: Path, labels: Labels) -> Mask:
    """Class of every pixel (H, W), `IGNORED` where there is none.

    Raises:
        DatasetError: a colour image, 16 bits, or an index without a class; names the file.
        OSError: the file cannot be read.
    """
    with Image.open(path) as file:
        _check_kind(path, file.mode)
        counts = np.array(file.convert("L").histogram() if file.mode == "1" else file.histogram())
        indices = np.asarray(file).astype(np.uint8, copy=False)
    wrong = np.flatnonzero((counts[:256] > 0) & ~labels.allowed).tolist()
    if wrong:
        first = labels.indices[0]
        raise DatasetError(
            f"{path} holds the value {', '.join(map(str, wrong[:6]))}, but the "
            f"{labels.num_classes} classes have the indices {first} to "
            f"{first + labels.num_classes - 1}, and {IGNORED} is for pixels of no class. Correct "
            "the mask, or the list of classes (dataset.classes), or set dataset.ignore_zero."
        )
    return labels.table[indices]


def check_pairs(pairs: Sequence[Pair], labels: Labels, decoded: int = 64) -> None:
    """Check images against masks: all of them by their headers, some by their pixels.

    Headers tell a colour image, 16 bits, and different sizes. Indices are checked in `decoded`
    masks, spread evenly, and in every mask when it is read.

    Raises:
        DatasetError: naming the first file that is wrong.
    """
    for pair in pairs:
        try:
            size = _image_size(pair.image)
            with Image.open(pair.mask) as mask:
                _check_kind(pair.mask, mask.mode)
                found = mask.size
        except (UnidentifiedImageError, OSError):
            continue  # unreadable files have a setting of their own, dataset.on_corrupt
        if found not in (size, size[::-1]) or (found != size and not _is_turned(pair.image)):
            raise DatasetError(
                f"{pair.mask} has {found[0]}x{found[1]} pixels, but its image {pair.image} has "
                f"{size[0]}x{size[1]}. Every mask must have the size of its image: make it anew, "
                "or resize it with nearest-neighbour interpolation."
            )
    for pair in pairs[:: max(1, len(pairs) // decoded)]:
        try:
            read_mask(pair.mask, labels)
        except (UnidentifiedImageError, OSError):
            continue


def _image_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as file:
        return file.size


def _is_turned(path: Path) -> bool:
    with Image.open(path) as file:
        return file.getexif().get(_ORIENTATION) in _TURNED


def _check_kind(path: Path, mode: str) -> None:
    if mode in _INDEXED:
        return
    if mode.startswith("I"):
        raise DatasetError(
            f"{path} is a mask of more than 8 bits per pixel (mode {mode}); indices must lie "
            "within 0 to 255. Save it with 8 bits: "
            "Image.fromarray(mask.astype('uint8')).save(path)."
        )
    raise DatasetError(
        f"{path} is a colour image (mode {mode}), not a mask of class indices. Save one index "
        "per pixel: look each colour up in your palette, then "
        "Image.fromarray(indices.astype('uint8')).save(path)."
    )
