"""How the published sets of images are laid out on a disk, and how folders are listed."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from timm.data import ImageNetInfo

from tasks.errors import DatasetError
from tasks.robustness.cells import CLEAN
from tasks.robustness.corruptions import CORRUPTIONS, EXTRA, GROUPS, SEVERITIES
from tasks.robustness.published.subsets import class_subset

SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".tif", ".tiff")
V2 = "v2"
"""The setting that three sets share."""
V2_PARENT = "imagenetv2"
"""A folder that may hold the three."""
BAR_CORRUPTIONS = (
    "blue_noise_sample",
    "brownish_noise",
    "caustic_refraction",
    "checkerboard_cutout",
    "cocentric_sine_waves",
    "inverse_sparkles",
    "perlin_noise",
    "plasma_noise",
    "single_frequency_greyscale",
    "sparkles",
)
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)
_PLAIN_SEVERITIES = tuple(map(str, SEVERITIES))
_NAMED = 6


@dataclass(frozen=True)
class Layout:
    """One published set.

    Args:
        collection: its name in reports.
        key: of the setting `dataset.paths` that says where it lies.
        folders: where it is looked for under the root, the first that exists being taken.
        tree: the expected files, for messages.
        images: how many were published, of one cell.
        classes: from names of class folders to labels among the thousand, in order of labels.
        corruptions: folders above the class folders, with folders of severities between; none:
            the class folders lie directly in the set's folder.
        extra: further corruptions, which do not count.
        groups: folders that may lie above the corruptions.
        strengths: whether folders of severities may be named after strengths instead.
    """

    collection: str
    key: str
    folders: tuple[str, ...]
    tree: str
    images: int
    classes: Callable[[], Mapping[str, int]]
    corruptions: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    strengths: bool = False


@cache
def _synsets() -> dict[str, int]:
    return {name: label for label, name in enumerate(ImageNetInfo().label_names())}


@cache
def _synsets_of_a() -> dict[str, int]:
    subset = class_subset("imagenet_a")
    return dict(zip(subset.synsets, subset.indices, strict=True))


@cache
def _synsets_of_r() -> dict[str, int]:
    subset = class_subset("imagenet_r")
    return dict(zip(subset.synsets, subset.indices, strict=True))


@cache
def _numbers() -> dict[str, int]:
    return {str(label): label for label in range(1000)}


def _variant(name: str) -> Layout:
    folder = f"imagenetv2-{name}-format-val"
    folders = (folder, f"{V2_PARENT}/{folder}")
    tree = f"{folders[0]}/0/*.jpeg to 999/*.jpeg, or the same in {V2_PARENT}/"
    return Layout(f"imagenetv2-{name}", V2, folders, tree, 10_000, _numbers)


LAYOUTS = (
    Layout(
        CLEAN,
        "val",
        ("imagenet/val", "val"),
        "imagenet/val/n01440764/*.JPEG, or val/n01440764/*.JPEG",
        50_000,
        _synsets,
    ),
    Layout(
        "imagenet-c",
        "c",
        ("imagenet-c",),
        "imagenet-c/gaussian_noise/1/n01440764/*.JPEG, or "
        "imagenet-c/noise/gaussian_noise/1/n01440764/*.JPEG",
        50_000,
        _synsets,
        CORRUPTIONS,
        EXTRA,
        (*GROUPS, "extra"),
    ),
    Layout("imagenet-a", "a", ("imagenet-a",), "imagenet-a/n01498041/*.jpg", 7_500, _synsets_of_a),
    Layout("imagenet-r", "r", ("imagenet-r",), "imagenet-r/n01443537/*.jpg", 30_000, _synsets_of_r),
    Layout(
        "imagenet-sketch",
        "sketch",
        ("imagenet-sketch",),
        "imagenet-sketch/n01440764/*.JPEG",
        50_889,
        _synsets,
    ),
    *map(_variant, ("matched-frequency", "threshold0.7", "top-images")),
    Layout(
        "imagenet-c-bar",
        "c_bar",
        ("imagenet-c-bar",),
        "imagenet-c-bar/sparkles/1/n01440764/*.JPEG",
        50_000,
        _synsets,
        BAR_CORRUPTIONS,
        strengths=True,
    ),
)
"""In the order of reports."""


def corruption_places(layout: Layout, folder: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Where the corruptions of a set lie, relative to its folder, and the folders not known."""
    names = folder_names(folder)
    places = [name for name in names if name not in layout.groups]
    for group in (name for name in names if name in layout.groups):
        places += [f"{group}/{name}" for name in folder_names(folder / group)]
    known: dict[str, list[str]] = {}
    unknown = []
    for place in places:
        corruption = place.rpartition("/")[2]
        if corruption in layout.corruptions or corruption in layout.extra:
            known.setdefault(corruption, []).append(place)
        else:
            unknown.append(place)
    return known, unknown


def severities(layout: Layout, names: Sequence[str]) -> dict[str, int]:
    """The severity of each folder of one corruption whose name is a number.

    ImageNet-C-bar is published with folders 1 to 5, but the script that makes it names them after
    the strength of the corruption, such as 0.80; those are numbered from 1 in ascending order.
    """
    numbers = [name for name in names if _NUMBER.fullmatch(name)]
    if layout.strengths and not all(name in _PLAIN_SEVERITIES for name in numbers):
        return {name: rank for rank, name in enumerate(sorted(numbers, key=float), 1)}
    return {name: int(name) for name in numbers if name in _PLAIN_SEVERITIES}


def folder_names(folder: Path) -> list[str]:
    """Folders in a folder, sorted, hidden ones left out."""
    return sorted(entry.name for entry in _entries(folder) if entry.is_dir())


def image_names(folder: str) -> list[str]:
    """Image files in a folder, sorted, hidden ones left out; told by their names alone."""
    return sorted(e.name for e in _entries(folder) if e.name.lower().endswith(SUFFIXES))


def holds_images(folder: Path, classes: Mapping[str, int]) -> bool:
    """Whether a class folder with at least one image is there."""
    return any(image_names(f"{folder}/{name}") for name in folder_names(folder) if name in classes)


def listing(folder: Path) -> str:
    """What a folder holds, in few words, folders first."""
    files = sorted(entry.name for entry in _entries(folder) if not entry.is_dir())
    return few([f"{name}/" for name in folder_names(folder)] + files)


def few(names: Sequence[str]) -> str:
    """The first names and the number of the others."""
    if not names:
        return "nothing"
    shown = ", ".join(names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")


def nothing_in(layout: Layout, folder: Path) -> DatasetError:
    """The error of a set without a single image in its place."""
    classes = list(layout.classes())
    return DatasetError(
        f"{folder} has no image where {layout.collection} has them: found {listing(folder)}. "
        f"Expected {layout.tree}, in {len(classes)} class folders {classes[0]} to {classes[-1]}. "
        f"Correct the folder or dataset.paths.{layout.key}, or move the folder out of the root."
    )


def wanted() -> str:
    """Every set that is looked for, with its tree and its setting."""
    trees = "\n".join(f"  {a.collection} (dataset.paths.{a.key}): {a.tree}" for a in LAYOUTS)
    return (
        f"Looked for any of\n{trees}\nSet dataset.root=<folder that holds some of them>, or the "
        "folder of a single set, such as dataset.paths.c=<folder of the corruptions>."
    )


def _entries(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise DatasetError(
            f"{folder} cannot be listed: {error.strerror}. Expected a readable folder; check its "
            "permissions and the disk, or move it away."
        ) from error
