"""Where labelled images come from: class folders, idx files, and the embedded shapes."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from timm.data import ImageNetInfo
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder

from tasks.classification.transforms import Transform
from tasks.errors import DatasetError
from tasks.shapes import ShapeScenes
from tasks.training.loaders import Sample

PathOf = Callable[[int], str]


class ImageClasses(Dataset[Sample]):
    """Images in class folders, as samples of `image`, `label` and `index`.

    Args:
        files: torchvision's folder dataset, which finds and orders them.
        transform: from a PIL image to a normalised tensor.
    """

    def __init__(self, files: ImageFolder, transform: Transform) -> None:
        self.files = files
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files.samples)

    def __getitem__(self, index: int) -> Sample:
        """Read, decode and transform one file."""
        path, label = self.files.samples[index]
        with Image.open(path) as file:
            image = file.convert("RGB")
        return {"image": self.transform(image), "label": label, "index": index}

    def path(self, index: int) -> str:
        """Where sample `index` lies."""
        return str(self.files.samples[index][0])


class ImageArray(Dataset[Sample]):
    """Grey images held in memory (N, H, W), as samples of three equal channels."""

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], transform: Transform
    ) -> None:
        self.images = images
        self.labels = labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Transform one image."""
        image = Image.fromarray(self.images[index]).convert("RGB")
        label = int(self.labels[index])
        return {"image": self.transform(image), "label": label, "index": index}


class ShapeClasses(Dataset[Sample]):
    """The embedded scenes with one labelled shape each."""

    def __init__(self, scenes: ShapeScenes, transform: Transform) -> None:
        self.scenes = scenes
        self.transform = transform

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Sample:
        """Draw and transform one scene."""
        scene = self.scenes[index]
        image = self.transform(Image.fromarray(scene.image))
        return {"image": image, "label": scene.label, "index": index}


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
