"""A corrupted copy of a dataset's images on disk, in the tree of ImageNet-C."""

import io
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from PIL import Image
from torch.utils.data import DataLoader, Dataset

from tasks.data.images import UNREADABLE, ImageDataset, RgbImage
from tasks.errors import DatasetError, SettingError
from tasks.reporting.files import to_json, write_atomically
from tasks.reporting.progress import Progress, joined, left_text
from tasks.robustness.on_the_fly import Corruption

logger = logging.getLogger(__name__)

QUALITY = 85
"""Of JPEG, as in ImageNet-C."""
ABOUT_FILE = "corrupted.json"
_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}


class Copied(NamedTuple):
    """How many copies were written, were there already, and of what no copy could be made."""

    written: int = 0
    there: int = 0
    unreadable: tuple[str, ...] = ()
    fault: str = ""


class Copies(Dataset[Copied]):
    """Writing the copies of one image: `<out>/<corruption>/<severity>/<image>`.

    Files that are there stay, so that writing can be stopped and begun again.

    Args:
        images: of a dataset.
        chosen: which of them.
        corruptions: each fills a folder.
        out: the folder of all.
        strict: an image that cannot be read is an error, otherwise it is left out.
    """

    def __init__(
        self,
        images: ImageDataset,
        chosen: Sequence[int],
        corruptions: Sequence[Corruption],
        out: Path,
        strict: bool,
    ) -> None:
        self.images = images
        self.chosen = chosen
        self.corruptions = corruptions
        self.out = out
        self.strict = strict

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, place: int) -> Copied:
        """Write what is not there of one image."""
        index = self.chosen[place]
        name = self.images.image_name(index)
        paths = {corruption: self._path(corruption, name) for corruption in self.corruptions}
        todo = {c: path for c, path in paths.items() if not path.is_file()}
        if not todo:
            return Copied(there=len(paths))
        try:
            image = self.images.image(index)
        except UNREADABLE as error:
            source = self.images.place(index)
            return Copied(unreadable=(source,), fault=f"{source} cannot be read: {error}")
        for corruption, path in todo.items():
            write_atomically(path, encoded(corruption(image, name), path.suffix))
        return Copied(len(todo), len(paths) - len(todo))

    def write(self, workers: int) -> Copied:
        """Write all.

        Raises:
            DatasetError: an image that cannot be read, if `strict`.
        """
        loader: DataLoader[Any] = DataLoader(self, batch_size=None, num_workers=workers)
        total, began, number = Copied(), time.monotonic(), 0

        def status() -> str:
            left = left_text(number, len(self), time.monotonic() - began)
            return joined(f"{number:,} of {len(self):,} images", left)

        with Progress(status):
            for number, one in enumerate(loader, start=1):  # noqa: B007 - the status reads it
                if one.fault and self.strict:
                    raise DatasetError(
                        f"{one.fault}. Replace or remove the file, or set dataset.on_corrupt=skip "
                        "to go on without it."
                    )
                if one.fault:
                    logger.warning("left out: %s", one.fault)
                total = Copied(
                    total.written + one.written,
                    total.there + one.there,
                    (*total.unreadable, *one.unreadable),
                )
        return total

    def _path(self, corruption: Corruption, name: str) -> Path:
        return self.out / corruption.name / str(corruption.severity) / copy_name(name)


def copy_name(name: str) -> str:
    """Name of an image's copy: the same, so that annotations fit; .jpg where it has no ending."""
    return name if PurePosixPath(name).suffix.lower() in _FORMATS else f"{name}.jpg"


def encoded(image: RgbImage, suffix: str) -> bytes:
    """An image as JPEG of quality 85; in another format, exactly what JPEG leaves of it."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY)
    kind = _FORMATS[suffix.lower()]
    if kind == "JPEG":
        return buffer.getvalue()
    other = io.BytesIO()
    Image.open(buffer).save(other, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return other.getvalue()


def claim_copies(out: Path, about: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """Write `corrupted.json` into a new or empty folder; one of equal settings is gone on with.

    Args:
        out: the folder.
        about: what determines the copies.
        provenance: of this command.

    Raises:
        SettingError: the folder holds other files, or copies made with other settings.
    """
    path, plain = out / ABOUT_FILE, json.loads(json.dumps(about))
    if out.exists() and not out.is_dir():
        raise SettingError(f"out={out} is a file. Choose a folder that is new or empty.")
    if not path.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise SettingError(
                f"out={out} already holds files, but no {ABOUT_FILE}: they are none of ours. "
                "Choose a folder that is new or empty."
            )
        write_atomically(path, to_json({"about": plain, "provenance": dict(provenance)}))
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))["about"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(f"{path} cannot be read ({error}). Choose another out=...") from error
    if earlier != plain:
        differing = [key for key in plain if plain[key] != earlier.get(key)]
        raise SettingError(
            f"out={out} holds copies that were made with another {', '.join(differing)}. Choose "
            "another folder, or the settings in its corrupted.json."
        )
