"""ImageNet's published variants as data: every set that is on the disk, prepared as published."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from timm.data import ImageNetInfo

from tasks.data.images import ImageDataset, read_image
from tasks.data.labelled import LabelledImages
from tasks.data.loaders import Loading, Split, TaskData
from tasks.data.transforms import Transform, centre_view
from tasks.errors import DatasetError, SettingError
from tasks.robustness.cells import IMAGENET_C, IMAGENET_C_BAR, Cell
from tasks.robustness.copies import ABOUT_FILE
from tasks.robustness.data import CellSource
from tasks.robustness.published.sets import CellFiles, FoundSets, ImageFile, find_sets
from tasks.robustness.published.settings import ImageNetSetsSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preparation:
    """How images of the sets become input of the network.

    Args:
        image_size: side of the input, pixels.
        crop_fraction: the short side is resized to ``image_size / crop_fraction``.
        interpolation: `bicubic` or `bilinear`.
        resize_corrupted: do so with the images of ImageNet-C and -C-bar too, which have 224
            pixels already and otherwise are only resized for another input size.
        mean: per channel, of values in 0..1.
        std: per channel, likewise.
    """

    image_size: int
    crop_fraction: float
    interpolation: str
    resize_corrupted: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    erase: ClassVar[float] = 0.0
    """Nothing is trained on the sets."""

    def of(self, collection: str) -> Transform:
        """The preparation of a set's images."""
        ready = collection in (IMAGENET_C, IMAGENET_C_BAR) and not self.resize_corrupted
        fraction = 1.0 if ready else self.crop_fraction
        return centre_view(self.image_size, fraction, self.interpolation)


class FileImages(LabelledImages):
    """Images from files, labelled among the thousand classes."""

    def __init__(self, files: Sequence[ImageFile], transform: Transform) -> None:
        super().__init__(transform)
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def pil_image(self, index: int) -> Image.Image:
        """Read and decode one file."""
        return read_image(self.files[index].path)

    def label(self, index: int) -> int:
        """Number among the thousand classes."""
        return self.files[index].label

    def image_name(self, index: int) -> str:
        """The file within its set, such as ``n01440764/x.JPEG``."""
        return self.files[index].name

    def place(self, index: int) -> str:
        """Where the file lies."""
        return self.files[index].path


@dataclass(frozen=True)
class FileSource:
    """One cell of a published set."""

    files: CellFiles
    preparation: Preparation

    @property
    def cell(self) -> Cell:
        """Which one."""
        return self.files.cell

    @property
    def expected(self) -> int:
        """Number of images that were published."""
        return self.files.expected

    def open(self) -> ImageDataset:
        """Its images; the list of files is not kept, or those of all sets would pile up."""
        images = self.files.images
        self.files.notes()
        self.files.forget()
        return FileImages(images, self.preparation.of(self.cell.collection))

    def notes(self) -> tuple[str, ...]:
        """What falls short of the published set."""
        notes = self.files.notes()
        self.files.forget()
        return notes


class ImageNetSets(TaskData):
    """ImageNet-C, -A, -R, -Sketch, -V2, -C-bar and the validation set, as far as they are there.

    Args:
        name: name of the dataset.
        root: a folder that holds the sets under their usual names, or None.
        paths: folders of single sets (see `find_sets`).
        classes: a file that names the synset of each output of the model, one a line; None: the
            model has ImageNet's thousand classes in their order.
        loading: batches, workers, unreadable samples.
        recipe: see `Preparation`.
    """

    settings_model = ImageNetSetsSettings

    def __init__(
        self,
        name: str,
        root: str | None,
        paths: Mapping[str, str | None],
        classes: str | None,
        loading: Loading,
        recipe: dict[str, Any],
    ) -> None:
        super().__init__(name, loading)
        self.root = None if root is None else Path(root)
        self.paths = paths
        self.recipe = Preparation(**recipe)
        self.outputs = None if classes is None else read_classes(Path(classes))
        names = ImageNetInfo().label_descriptions()
        self.all_names = tuple(description.split(",")[0] for description in names)
        chosen = range(len(self.all_names)) if self.outputs is None else self.outputs
        self.class_names = tuple(self.all_names[i] for i in chosen)

    @cached_property
    def found(self) -> FoundSets:
        """What is on the disk."""
        found = find_sets(self.root, self.paths)
        for note in found.notes:
            logger.warning("%s", note)
        for collection, tree in found.missing.items():
            logger.warning("%s is not there, and is left out; it would be %s", collection, tree)
        return found

    def check(self, training: bool) -> None:  # noqa: ARG002 - there are no splits to test either
        """Raise `SettingError`: the sets only serve `mode=robustness`, which asks for `sources`."""
        raise self._no_splits()

    @cached_property
    def copied(self) -> bool:
        """Whether the corrupted images were written by this program, and are not ImageNet-C."""
        folders = (f.folder for f in self.found.cells if f.cell.collection == IMAGENET_C)
        return any((above / ABOUT_FILE).is_file() for f in folders for above in (f, *f.parents[:3]))

    def sources(self) -> list[CellSource]:
        """One per cell that is on the disk."""
        return [FileSource(files, self.recipe) for files in self.found.cells]

    def images(self, split: Split) -> ImageDataset:  # noqa: ARG002 - there are none
        """There are no splits.

        Raises:
            DatasetError: always.
        """
        raise self._no_splits()

    def _no_splits(self) -> DatasetError:
        return DatasetError(
            f"dataset={self.name} has no splits: its sets only serve task=robustness. For training "
            "or a plain test, or to corrupt images, choose dataset=imagenet."
        )


def read_classes(path: Path) -> tuple[int, ...]:
    """Numbers among the thousand classes by a file of synsets, one a line.

    Raises:
        SettingError: if it cannot be read, names no synset of ImageNet-1k, or one twice.
    """
    try:
        lines = path.expanduser().read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(
            f"dataset.classes={path} cannot be read ({error}). It must name the synset of each "
            "output of the model, such as n01440764, one a line."
        ) from error
    numbers = {synset: number for number, synset in enumerate(ImageNetInfo().label_names())}
    unknown = [line for line in lines if line not in numbers]
    twice = sorted({line for line in lines if lines.count(line) > 1})
    if unknown or twice or not lines:
        fault = (
            f"names no synsets of ImageNet-1k: {', '.join(unknown[:4])}"
            if unknown
            else (f"names synsets twice: {', '.join(twice[:4])}" if twice else "is empty")
        )
        raise SettingError(
            f"dataset.classes={path} {fault}. It must name the synset of each output of the "
            "model, such as n01440764, one a line and each once."
        )
    return tuple(numbers[line] for line in lines)
