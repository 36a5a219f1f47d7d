"""Where labelled images come from: class folders, idx files, and the embedded shapes."""

import gzip
import struct
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from timm.data import ImageNetInfo
from torchvision.datasets import ImageFolder

from tasks.data.images import read_image
from tasks.data.labelled import LabelledImages
from tasks.data.shapes import CLASS_NAMES, ShapeScenes
from tasks.data.transforms import Transform
from tasks.errors import DatasetError


class ImageClasses(LabelledImages):
    """Images in class folders.

    Args:
        files: torchvision's folder dataset, which finds and orders them.
        transform: from an image to the bytes of a view.
    """

    def __init__(self, files: ImageFolder, transform: Transform) -> None:
        super().__init__(transform)
        self.files = files

    def __len__(self) -> int:
        return len(self.files.samples)

    def pil_image(self, index: int) -> Image.Image:
        """Read and decode one file."""
        return read_image(self.place(index))

    def label(self, index: int) -> int:
        """Number of the image's class folder."""
        return int(self.files.samples[index][1])

    def image_name(self, index: int) -> str:
        """The file within its class folder, such as ``n01440764/x.JPEG``."""
        return Path(self.place(index)).relative_to(self.files.root).as_posix()

    def place(self, index: int) -> str:
        """Where image `index` lies."""
        return str(self.files.samples[index][0])


class ImageArray(LabelledImages):
    """Grey images held in memory, as samples of three equal channels.

    Args:
        images: (N, H, W).
        labels: (N,).
        transform: from an image to the bytes of a view.
        numbers: (N,), what each image is called; None: its index.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        transform: Transform,
        numbers: NDArray[np.int64] | None = None,
    ) -> None:
        super().__init__(transform)
        self.images = images
        self._labels = labels
        self._numbers = np.arange(len(images)) if numbers is None else numbers

    def __len__(self) -> int:
        return len(self.images)

    def pil_image(self, index: int) -> Image.Image:
        """One image."""
        return Image.fromarray(self.images[index]).convert("RGB")

    def label(self, index: int) -> int:
        """As given."""
        return int(self._labels[index])

    def image_name(self, index: int) -> str:
        """Its class and number."""
        return f"{self._labels[index]}/{self._numbers[index]:06d}"


class ShapeClasses(LabelledImages):
    """The embedded scenes with one labelled shape each."""

    def __init__(self, scenes: ShapeScenes, transform: Transform) -> None:
        super().__init__(transform)
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.scenes)

    def pil_image(self, index: int) -> Image.Image:
        """Draw one scene."""
        return Image.fromarray(self.scenes[index].image)

    def label(self, index: int) -> int:
        """The class of the scene's shape."""
        return self.scenes.label(index)

    def image_name(self, index: int) -> str:
        """Its class and number."""
        return f"{CLASS_NAMES[self.label(index)]}/{index:06d}"


def open_class_folders(root: Path, names: tuple[str, ...], tree: str) -> ImageFolder:
    """The folder of class folders under `root` called by the first of `names` that exists.

    Args:
        root: the dataset's folder.
        names: accepted folder names of one split, such as ``("val", "valid")``.
        tree: the expected layout, for the error message.

    Raises:
        DatasetError: what was looked for, what was found, and the expected tree.
    """
    for name in names:
        if (root / name).is_dir():
            try:
                return ImageFolder(str(root / name), allow_empty=True)
            except FileNotFoundError as error:
                raise DatasetError(_layout(root / name, "class folders", tree)) from error
    raise DatasetError(_layout(root, " or ".join(f"{name}/" for name in names), tree))


def check_imagenet_order(files: ImageFolder, tree: str) -> None:
    """Check that the class folders are the 1000 ImageNet-1k synsets in label order.

    Raises:
        DatasetError: naming the first folders that are missing or unexpected.
    """
    wanted = ImageNetInfo().label_names()
    found = files.classes
    if found == wanted:
        return
    missing = sorted(set(wanted) - set(found))
    extra = sorted(set(found) - set(wanted))
    raise DatasetError(
        f"{files.root} is not ImageNet-1k: {len(found)} class folders instead of {len(wanted)}; "
        f"missing: {_few(missing)}; not ImageNet-1k synsets: {_few(extra)}. Expected tree:\n"
        f"{tree}\n"
        "For other class folders use dataset=imagefolder; without files run dataset=shapes."
    )


def read_idx(folder: Path, stem: str) -> NDArray[np.uint8]:
    """Read ``<stem>`` or ``<stem>.gz`` in the idx format (unsigned bytes, any rank).

    Raises:
        DatasetError: if neither exists or the content is not idx.
    """
    packed, plain = folder / f"{stem}.gz", folder / stem
    path = plain if plain.is_file() else packed
    if not path.is_file():
        raise DatasetError(
            f"Neither {plain} nor {packed.name} exists; found: {_listing(folder)}. Expected tree:\n"
            f"{folder}/\n  train-images-idx3-ubyte[.gz]  train-labels-idx1-ubyte[.gz]\n"
            "  t10k-images-idx3-ubyte[.gz]   t10k-labels-idx1-ubyte[.gz]\n"
            "Set dataset.root to that folder, or run dataset=shapes, which needs no files."
        )
    try:
        content = gzip.decompress(path.read_bytes()) if path == packed else path.read_bytes()
        zero, kind, rank = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{rank}I", content, 4)
        if zero != 0 or kind != 0x08:
            raise ValueError("the header does not announce unsigned bytes")
        values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error) as error:
        raise DatasetError(
            f"{path} is not a readable idx file: {error}. Fetch it again, or run dataset=shapes."
        ) from error
    return cast(NDArray[np.uint8], values)


def _layout(folder: Path, looked_for: str, tree: str) -> str:
    return (
        f"Looked for {looked_for} in {folder}; found: {_listing(folder)}. Expected tree:\n{tree}\n"
        "Set dataset.root to that folder, or run dataset=shapes, which needs no files."
    )


def _listing(folder: Path) -> str:
    if not folder.is_dir():
        return "no such folder"
    return _few(sorted(entry.name for entry in folder.iterdir()))


def _few(names: list[str], most: int = 6) -> str:
    if not names:
        return "nothing"
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if names[most:] else "")
