"""Images and masks found on disk, paired by name."""

from collections.abc import Sequence
from pathlib import Path

from tasks.errors import DatasetError
from tasks.segmentation.masks import Pair

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_NAMED = 4


def folder_pairs(images: Path, masks: Path, tree: str) -> list[Pair]:
    """Every image below `images` with the mask of the same relative name, `.png`, in `masks`.

    Args:
        images: folder of images; folders in it are searched too.
        masks: folder of masks.
        tree: the expected layout, for the error message.

    Raises:
        DatasetError: a folder is missing, or images without a mask; names the first ones.
    """
    for folder in (images, masks):
        if not folder.is_dir():
            raise DatasetError(_layout(folder, tree))
    files = sorted(p for p in images.rglob("*") if p.suffix.lower() in SUFFIXES)
    return _with_masks(
        [Pair(p, masks / p.relative_to(images).with_suffix(".png")) for p in files], tree
    )


def listed_pairs(listing: Path, images: Path, masks: Path, tree: str) -> list[Pair]:
    """The images that a text file lists, one name a line, with the masks of the same name.

    Raises:
        DatasetError: the list or a folder is missing, or images or masks that it names.
    """
    for place in (listing, images, masks):
        if not place.exists():
            raise DatasetError(_layout(place, tree))
    names = listing.read_text(encoding="utf-8").split()
    pairs = [Pair(images / f"{name}.jpg", masks / f"{name}.png") for name in names]
    lost = [pair.image for pair in pairs if not pair.image.is_file()]
    if lost:
        raise DatasetError(f"{listing} lists {len(lost)} images that are not there: {_few(lost)}")
    return _with_masks(pairs, tree)


def class_names(path: Path) -> tuple[str, ...]:
    """Names of classes from a text file, one a line.

    Raises:
        DatasetError: no such file, no name in it, or a name twice.
    """
    if not path.is_file():
        raise DatasetError(
            f"The list of classes, {path}, does not exist. Write one name per line in the order of "
            "the indices in the masks, or say where it is with dataset.classes=<file>."
        )
    names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = [name for name in names if name]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        fault = f"names {_few(twice)} twice" if twice else "holds no name"
        raise DatasetError(f"{path} {fault}; expected one name of a class per line.")
    return tuple(names)


def _with_masks(pairs: list[Pair], tree: str) -> list[Pair]:
    lost = [pair for pair in pairs if not pair.mask.is_file()]
    if lost:
        raise DatasetError(
            f"{len(lost)} of {len(pairs)} images have no mask; the first: {lost[0].image} needs "
            f"{lost[0].mask}. Add the masks or move the images away. Expected tree:\n{tree}"
        )
    return pairs


def _layout(looked_for: Path, tree: str) -> str:
    parent = looked_for
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    found = _few(sorted(entry.name for entry in parent.iterdir())) or "nothing"
    return (
        f"Looked for {looked_for}, which does not exist; {parent} holds: {found}. Expected tree:\n"
        f"{tree}\nSet dataset.root to that folder, or run dataset=shapes, which needs no files."
    )


def _few(names: Sequence[object]) -> str:
    shown = ", ".join(str(name) for name in names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
