"""The images of all cells, as one stream of batches that each belong to one cell."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from torch.utils.data import DataLoader, Dataset, Sampler

from tasks.data.images import AlteredImages, ImageDataset, Readable, Sample
from tasks.data.loaders import Split, TaskData
from tasks.errors import SettingError
from tasks.robustness.cells import Cell
from tasks.robustness.on_the_fly import Corruption

Place = tuple[int, int | None]
"""Number of a cell, and of an image in it; None: padding."""


class CellSource(Protocol):
    """The images of a cell, opened when their turn comes."""

    @property
    def cell(self) -> Cell:
        """Which one."""

    @property
    def expected(self) -> int | None:
        """Number of images of the whole set, if that is known."""

    def open(self) -> ImageDataset:
        """Its images."""

    def notes(self) -> tuple[str, ...]:
        """What falls short of the whole set."""


@dataclass(frozen=True)
class AlteredSource:
    """The images of a dataset under a corruption."""

    images: ImageDataset
    corruption: Corruption

    @property
    def cell(self) -> Cell:
        """As the corruption says."""
        return self.corruption.cell

    @property
    def expected(self) -> int:
        """All of them."""
        return len(self.images)

    def open(self) -> ImageDataset:
        """The images, corrupted when they are asked for."""
        return AlteredImages(self.images, self.corruption)

    def notes(self) -> tuple[str, ...]:
        """Nothing is missing."""
        return ()


class Cells:
    """The images of all cells, opened one cell at a time.

    Args:
        sources: one per cell.
        limit: images per cell, evenly of all classes, the same of equal sets; None: all.
    """

    def __init__(self, sources: Sequence[CellSource], limit: int | None) -> None:
        check_limit(limit)
        self.sources = tuple(sources)
        self.limit = limit
        self._opened: tuple[int, ImageDataset] | None = None
        self._digests: dict[int, str] = {}

    def images(self, number: int) -> ImageDataset:
        """The images of a cell; those of the last one asked for are kept open."""
        if self._opened is None or self._opened[0] != number:
            self._opened = (number, self.sources[number].open())
        return self._opened[1]

    def chosen(self, number: int) -> list[int]:
        """Which images of a cell are evaluated."""
        images = self.images(number)
        chosen = chosen_images(images, self.limit)
        listed = "\n".join(map(images.image_name, chosen))
        self._digests[number] = hashlib.sha256(listed.encode()).hexdigest()
        return chosen

    def digest(self, number: int) -> str:
        """Equal for cells of which images of the same names are evaluated."""
        if number not in self._digests:
            self.chosen(number)
        return self._digests[number]


class CellData(TaskData):
    """The cells of an evaluation.

    Args:
        base: how batches of the images are made, and the classes.
        cells: their images.

    Attributes:
        todo: numbers of the cells that are still to be evaluated.
    """

    def __init__(self, base: TaskData, cells: Cells) -> None:
        super().__init__(str(base.name), base.loading)
        self.base = base
        self.cells = cells
        self.class_names = base.class_names
        self.test_split = base.test_split
        self.todo: list[int] = list(range(len(cells.sources)))

    def images(self, split: Split) -> ImageDataset:
        """Those of the dataset itself."""
        return self.base.images(split)

    def test_dataloader(self) -> DataLoader[Any]:
        """Batches of the cells in `todo`, one cell after the other; `cell` is its number."""
        size = self.loading.batch_size
        batches = CellBatches(self.cells, self.todo, size, self._world(), self._rank())
        samples = CellSamples(self.cells, self.loading.on_corrupt)
        together = partial(_together, self.base.collate)
        return self._loader(samples, batch_sampler=batches, collate_fn=together)


class CellSamples(Dataset[Sample]):
    """The samples of all cells, by `Place`."""

    def __init__(self, cells: Cells, on_corrupt: str) -> None:
        self.cells = cells
        self.on_corrupt = on_corrupt

    def __getitem__(self, place: Place) -> Sample:
        """A sample with its `cell`; one that is unreadable or padding says so."""
        number, index = place
        if index is None:
            return {"padding": True, "cell": number}
        return {**Readable(self.cells.images(number), self.on_corrupt)[index], "cell": number}


class CellBatches(Sampler[list[Place]]):
    """One process's batches: of every cell the same number in all processes.

    Args:
        cells: all cells.
        todo: numbers of those that are wanted.
        size: images per batch.
        world: number of processes.
        rank: of this one.
    """

    def __init__(self, cells: Cells, todo: Sequence[int], size: int, world: int, rank: int) -> None:
        self.cells = cells
        self.todo = todo
        self.size = size
        self.world = world
        self.rank = rank

    def __iter__(self) -> Iterator[list[Place]]:
        for number in self.todo:
            chosen: list[int | None] = list(self.cells.chosen(number))
            chosen += [None] * (-len(chosen) % self.world)
            own = chosen[self.rank :: self.world]
            for start in range(0, len(own), self.size):
                yield [(number, index) for index in own[start : start + self.size]]


def chosen_images(images: ImageDataset, limit: int | None) -> list[int]:
    """Places of the images that are used: all, or a `balanced_subset`."""
    if limit is None or limit >= len(images):
        return list(range(len(images)))
    names = [images.image_name(index) for index in range(len(images))]
    return balanced_subset(names, images.class_labels(), limit)


def check_limit(limit: int | None) -> None:
    """Raise `SettingError` if no image is left."""
    if limit is not None and limit < 1:
        raise SettingError(f"limit={limit} leaves no image. Set limit=1 or more, or null.")


def _together(
    collate: Callable[[Sequence[Sample]], dict[str, Any]], samples: list[Sample]
) -> dict[str, Any]:
    number = samples[0]["cell"]
    plain = [{key: s[key] for key in s if key != "cell"} for s in samples]
    return {**collate(plain), "cell": number}


def balanced_subset(names: Sequence[str], labels: Sequence[int] | None, limit: int) -> list[int]:
    """Places of `limit` images, in their order, evenly of all classes.

    The choice depends on the names alone, so that sets of the same images give the same ones.

    Args:
        names: of all images.
        labels: class of each, or None: they have none.
        limit: how many are chosen.
    """
    order = sorted(range(len(names)), key=lambda i: hashlib.sha256(names[i].encode()).digest())
    if labels is not None:
        seen: dict[int, int] = defaultdict(int)
        turn = {}
        for index in order:
            turn[index] = seen[labels[index]]
            seen[labels[index]] += 1
        order.sort(key=turn.__getitem__)  # stable: the first of every class, the second, ...
    return sorted(order[:limit])
