"""A corrupted copy of a dataset's pictures on disk, in the tree of ImageNet-C."""

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image
from torch.utils.data import DataLoader, Dataset

from tasks.errors import DatasetError, SettingError
from tasks.reporting.files import to_json, write_atomically
from tasks.robustness.on_the_fly import Corruption
from tasks.training.pictures import Pictures

QUALITY = 85
"""Of JPEG, as in ImageNet-C."""
ABOUT_FILE = "corrupted.json"
_JPEG = (".jpg", ".jpeg")


class Copies(Dataset[tuple[int, int]]):
    """Writing the copies of one picture: `<out>/<corruption>/<severity>/<picture>`.

    Files that are there stay, so that writing can be stopped and begun again.

    Args:
        pictures: of a dataset.
        chosen: which of them.
        corruptions: each fills a folder.
        out: the folder of all.

    Raises:
        DatasetError: if two copies would have one name.
    """

    def __init__(
        self,
        pictures: Pictures,
        chosen: Sequence[int],
        corruptions: Sequence[Corruption],
        out: Path,
    ) -> None:
        self.pictures = pictures
        self.chosen = chosen
        self.corruptions = corruptions
        self.out = out
        counts = Counter(copy_name(pictures.picture_name(index)) for index in chosen)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise DatasetError(
                f"The names of some pictures differ in their endings alone, such as {twice[0]}: "
                "their copies would overwrite each other. Rename them."
            )

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, place: int) -> tuple[int, int]:
        """Write what is not there; returns the numbers of copies written and found there."""
        index = self.chosen[place]
        name = self.pictures.picture_name(index)
        paths = {corruption: self._path(corruption, name) for corruption in self.corruptions}
        todo = {c: path for c, path in paths.items() if not path.is_file()}
        if not todo:
            return 0, len(paths)
        try:
            picture = self.pictures.picture(index)
        except (OSError, ValueError, SyntaxError) as error:
            raise DatasetError(
                f"{self.pictures.place(index)} cannot be read: {error}. Replace or remove the file."
            ) from error
        for corruption, path in todo.items():
            buffer = io.BytesIO()
            Image.fromarray(corruption(picture, name)).save(buffer, "JPEG", quality=QUALITY)
            write_atomically(path, buffer.getvalue())
        return len(todo), len(paths) - len(todo)

    def write(self, workers: int) -> tuple[int, int]:
        """Write all; returns the numbers of copies written and found there."""
        loader: DataLoader[Any] = DataLoader(self, batch_size=None, num_workers=workers)
        written = there = 0
        for some, others in loader:
            written, there = written + some, there + others
        return written, there

    def _path(self, corruption: Corruption, name: str) -> Path:
        return self.out / corruption.name / str(corruption.severity) / copy_name(name)


def copy_name(name: str) -> str:
    """Name of a picture's copy: the same but, unless it is of JPEG already, ending in .jpg."""
    path = PurePosixPath(name)
    return name if path.suffix.lower() in _JPEG else f"{path.parent / path.stem}.jpg"


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
