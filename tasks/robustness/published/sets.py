"""The published sets of images that lie on a disk, whole or in part."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tasks.errors import DatasetError, SettingError
from tasks.robustness.cells import Cell
from tasks.robustness.corruptions import SEVERITIES
from tasks.robustness.published.layouts import (
    LAYOUTS,
    V2,
    V2_PARENT,
    Layout,
    corruption_places,
    few,
    folder_names,
    holds_images,
    image_names,
    listing,
    nothing_in,
    severities,
    wanted,
)


class ImageFile(NamedTuple):
    """One image on the disk.

    Args:
        folder: of its cell; the same object for all images, of which there are millions.
        name: relative to that, such as ``n01440764/x.JPEG``.
        label: its class among the thousand.
    """

    folder: str
    name: str
    label: int

    @property
    def path(self) -> str:
        """Where the image lies."""
        return f"{self.folder}/{self.name}"


@dataclass(frozen=True, eq=False)
class CellFiles:
    """A cell with at least one image on the disk; its folder is listed when first asked.

    Args:
        cell: which one.
        expected: how many images were published.
        folder: of the class folders.
        classes: labels among the thousand by names of class folders.
    """

    cell: Cell
    expected: int
    folder: Path
    classes: Mapping[str, int]

    @cached_property
    def images(self) -> tuple[ImageFile, ...]:
        """The images, sorted by label and then by file name."""
        folder = str(self.folder)
        known = sorted((self.classes[name], name) for name in self._names if name in self.classes)
        return tuple(
            ImageFile(folder, f"{name}/{file}", label)
            for label, name in known
            for file in image_names(f"{folder}/{name}")
        )

    def notes(self) -> tuple[str, ...]:
        """What differs from the published cell; empty: nothing does."""
        return self._notes

    def forget(self) -> None:
        """Free the list of images, made anew when asked; notes that were asked for are kept."""
        self.__dict__.pop("images", None)

    @cached_property
    def _names(self) -> list[str]:
        return folder_names(self.folder)

    @cached_property
    def _notes(self) -> tuple[str, ...]:
        notes = []
        filled = {image.label for image in self.images}
        present = set(self._names)
        absent = [name for name in self.classes if name not in present]
        empty = [n for n in self.classes if n in present and self.classes[n] not in filled]
        unknown = [name for name in self._names if name not in self.classes]
        total, count = len(self.classes), len(self.images)
        if absent:
            notes.append(f"{len(absent)} of {total} class folders missing: {few(absent)}")
        if empty:
            notes.append(f"{len(empty)} of {total} class folders without an image: {few(empty)}")
        if unknown:
            notes.append(f"left out, being no classes of this set: {few(unknown)}")
        if count < self.expected:
            notes.append(f"{count:,} of {self.expected:,} images")
        if count > self.expected:
            notes.append(f"{count:,} images, more than the published {self.expected:,}")
        return tuple(notes)


@dataclass(frozen=True)
class FoundSets:
    """What there is to evaluate.

    Args:
        cells: in the order of reports.
        notes: corruptions and severities that are missing, and folders that are not known.
        missing: the expected tree of each collection that is not there at all.
    """

    cells: tuple[CellFiles, ...]
    notes: tuple[str, ...]
    missing: dict[str, str]


def find_sets(root: Path | None, paths: Mapping[str, str | None]) -> FoundSets:
    """Look for every published set.

    Args:
        root: a folder that holds sets under their usual names, or None.
        paths: folders of single sets, which go before the root: `val`, `c`, `a`, `r`, `sketch`,
            `v2` (a variant, or a folder of variants) and `c_bar`.

    Raises:
        DatasetError: a folder that is not there, a set without a single image in its place, or
            no set at all.
        SettingError: an unknown key of `paths`.
    """
    given = _given(paths)
    root = root.expanduser() if root is not None else None
    if root is not None and not root.is_dir():
        raise DatasetError(f"dataset.root={root} is not a folder. {wanted()}")
    folders = _folders(root, given)
    if not folders:
        found = f"dataset.root={root} holds {listing(root)}" if root else "dataset.root is not set"
        raise DatasetError(f"There is no set of images to evaluate: {found}. {wanted()}")
    cells: list[CellFiles] = []
    notes: list[str] = []
    for layout in LAYOUTS:
        if layout.collection in folders:
            find = _corrupted if layout.corruptions else _single
            some, remarks = find(layout, folders[layout.collection])
            cells += some
            notes += remarks
    missing = {a.collection: a.tree for a in LAYOUTS if a.collection not in folders}
    return FoundSets(tuple(cells), tuple(notes), missing)


def _given(paths: Mapping[str, str | None]) -> dict[str, Path]:
    keys = tuple(dict.fromkeys(layout.key for layout in LAYOUTS))
    unknown = [key for key in paths if key not in keys]
    if unknown:
        raise SettingError(
            f"dataset.paths has no {few(unknown)}. Its settings are {', '.join(keys)}."
        )
    given = {key: Path(path).expanduser() for key, path in paths.items() if path}
    for key, folder in given.items():
        if not folder.is_dir():
            tree = "; ".join(layout.tree for layout in LAYOUTS if layout.key == key)
            raise DatasetError(
                f"dataset.paths.{key}={folder} is not a folder. Expected the folder of {tree}. "
                f"Correct it, or set dataset.paths.{key}=null to look in dataset.root."
            )
    return given


def _folders(root: Path | None, given: Mapping[str, Path]) -> dict[str, Path]:
    """The folder of each collection that is there."""
    found = {}
    for layout in LAYOUTS:
        candidates = [root / name for name in layout.folders] if root else []
        if (own := given.get(layout.key)) is not None:
            candidates = [own]
            if layout.key == V2 and own.name != layout.folders[0]:
                candidates = [own / layout.folders[0]]
        folder = next((folder for folder in candidates if folder.is_dir()), None)
        if folder is not None:
            found[layout.collection] = folder
    variants = [layout for layout in LAYOUTS if layout.key == V2]
    parent = given.get(V2) or (root / V2_PARENT if root else None)
    if parent and parent.is_dir() and not any(v.collection in found for v in variants):
        raise DatasetError(
            f"{parent} is no variant of ImageNet-V2 and holds none: found {listing(parent)}. "
            f"Expected one of {', '.join(v.folders[0] for v in variants)}, by whose name the "
            "variant is told. Rename the folder, or correct dataset.paths.v2."
        )
    return found


def _single(layout: Layout, folder: Path) -> tuple[list[CellFiles], list[str]]:
    classes = layout.classes()
    if not holds_images(folder, classes):
        raise nothing_in(layout, folder)
    return [CellFiles(Cell(layout.collection), layout.images, folder, classes)], []


def _corrupted(layout: Layout, folder: Path) -> tuple[list[CellFiles], list[str]]:
    places, unknown = corruption_places(layout, folder)
    notes = []
    for kind, names in (("", layout.corruptions), ("extra ", layout.extra)):
        if absent := [name for name in names if name not in places]:
            share = f"{len(absent)} of {len(names)} {kind}corruptions"
            notes.append(f"{layout.collection}: {share} missing: {', '.join(absent)}")
    if unknown:
        notes.append(f"{layout.collection}: left out, being no corruptions: {few(unknown)}")
    cells: list[CellFiles] = []
    for name in (*layout.corruptions, *layout.extra):
        if name in places:
            some, remarks = _severities(layout, folder, name, places[name])
            cells += some
            notes += remarks
    if not cells:
        raise nothing_in(layout, folder)
    return cells, notes


def _severities(
    layout: Layout, folder: Path, corruption: str, places: list[str]
) -> tuple[list[CellFiles], list[str]]:
    cells: dict[int, CellFiles] = {}
    notes = []
    classes = layout.classes()
    for place in places:
        names = folder_names(folder / place)
        numbers = severities(layout, names)
        if unknown := [name for name in names if name not in numbers]:
            notes.append(f"{layout.collection}/{place}: left out, no severities: {few(unknown)}")
        for name, severity in numbers.items():
            within, where = folder / place / name, f"{layout.collection}/{place}/{name}"
            if severity in cells:
                notes.append(f"{where}: left out, {cells[severity].folder} being the same cell")
            elif not holds_images(within, classes):
                notes.append(f"{where}: left out, no class folder with an image in it")
            else:
                cell = Cell(layout.collection, corruption, severity)
                cells[severity] = CellFiles(cell, layout.images, within, classes)
    absent = [str(severity) for severity in SEVERITIES if severity not in cells]
    if absent:
        notes.append(f"{layout.collection}/{corruption}: missing severities: {few(absent)}")
    return [cells[severity] for severity in sorted(cells)], notes
