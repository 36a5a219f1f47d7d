"""Samples out of tar shards, read forwards and shuffled on the way."""

import random
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from io import BytesIO
from itertools import accumulate, islice
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch.utils.data import Dataset
from webdataset.filters import shuffle
from webdataset.gopen import gopen
from webdataset.tariterators import group_by_keys, tar_file_expander

from tasks.classification.shards import TarShard
from tasks.data.images import UNREADABLE, Alteration, Sample, read_image, unreadable
from tasks.data.sequential import Block, Place
from tasks.data.transforms import Transform
from tasks.errors import DatasetError

IMAGE_ENDINGS = ("jpg", "jpeg", "png", "webp")
_BROKEN = (tarfile.TarError, OSError, EOFError)


class Record(NamedTuple):
    """What a shard holds of a sample, or why it cannot be read.

    Args:
        name: of the sample: shard and key.
        image: the encoded image.
        label: number of the class.
        fault: what is wrong with the shard at this place; empty if nothing is.
    """

    name: str
    image: bytes = b""
    label: int = -1
    fault: str = ""


class ShardSamples(Dataset[Sample]):
    """The samples of shards, by `Place`; cheap if the places of a block are asked for in order.

    Args:
        shards: of one split.
        classes: number of classes.
        transform: from an image to the bytes of a view.
        on_corrupt: `skip` or `error`, see `Loading`.
        alteration: of the images, before the transform.
        buffer: samples held by each worker, of which the next one is drawn; 0: the order of the
            shards, the same in every epoch.
        seed: of the order.
    """

    def __init__(
        self,
        shards: Sequence[TarShard],
        classes: int,
        transform: Transform,
        on_corrupt: str,
        alteration: Alteration | None = None,
        buffer: int = 0,
        seed: int = 0,
    ) -> None:
        self.shards = shards
        self.classes = classes
        self.transform = transform
        self.on_corrupt = on_corrupt
        self.alteration = alteration
        self.buffer = buffer
        self.seed = seed
        self._ends = list(accumulate(shard.samples for shard in shards))
        self._open: tuple[Place, Iterator[tuple[int, Record]]] | None = None

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, place: Place) -> Sample:
        """A sample, or ``{"unreadable": name}``, or padding beyond the last one."""
        if place.block.start + place.number >= len(self):
            return {"padding": True}
        index, record = self._next(place)
        if record.fault:
            return unreadable(record.name, record.fault, self.on_corrupt)
        try:
            image = read_image(BytesIO(record.image))
            if self.alteration is not None:
                image = Image.fromarray(self.alteration(np.array(image), record.name))
            view = self.transform(image)
        except UNREADABLE as error:
            return unreadable(record.name, error, self.on_corrupt)
        return {"image": view, "label": record.label, "index": index}

    def _next(self, place: Place) -> tuple[int, Record]:
        stream: Iterator[tuple[int, Record]]
        if self._open is None or self._open[0] != place:
            stream = islice(self._records(place.block), place.number, None)
            self._open = place, stream
        _, stream = self._open
        self._open = place._replace(number=place.number + 1), stream
        return next(stream)

    def _records(self, block: Block) -> Iterator[tuple[int, Record]]:
        """The samples of a block with their numbers among all, in the order of the epoch."""
        if not self.buffer:
            return self._read(block, range(len(self.shards)))
        order = np.random.default_rng([self.seed, block.epoch]).permutation(len(self.shards))
        draws = random.Random(f"{self.seed}/{block.epoch}/{block.start}")
        mixed = shuffle(self.buffer, initial=self.buffer, rng=draws)
        shuffled: Iterator[tuple[int, Record]] = mixed(self._read(block, order.tolist()))
        return shuffled

    def _read(self, block: Block, order: Sequence[int]) -> Iterator[tuple[int, Record]]:
        begin = 0
        for number in order:
            shard = self.shards[number]
            low, high = max(block.start - begin, 0), min(block.stop - begin, shard.samples)
            if low < high:
                first = self._ends[number] - shard.samples
                records = islice(read_shard(shard, self.classes), low, high)
                yield from enumerate(records, start=first + low)
            begin += shard.samples


def read_shard(shard: TarShard, classes: int) -> Iterator[Record]:
    """As many records as the shard has by its index; where it is broken, they say so.

    Args:
        shard: where, and how many samples.
        classes: number of classes.

    Raises:
        DatasetError: a label that is no number of a class, or a key that comes twice.
    """
    done, fault = 0, f"the shard ends here, but its index speaks of {shard.samples} samples"
    try:
        with closing(gopen(shard.url)) as stream:
            for sample in group_by_keys(tar_file_expander([{"url": shard.url, "stream": stream}])):
                yield _record(sample, shard, classes)
                done += 1
    except _BROKEN as error:
        fault = f"{type(error).__name__}: {error.args[0] if error.args else error}"
    for number in range(done, shard.samples):
        yield Record(f"{shard.url}: sample {number}", fault=fault)


def _record(sample: dict[str, Any], shard: TarShard, classes: int) -> Record:
    name = f"{shard.url}: {sample['__key__']}"
    images = [sample[ending] for ending in IMAGE_ENDINGS if ending in sample]
    if not images or "cls" not in sample:
        endings = ", ".join(key for key in sample if not key.startswith("__"))
        needed = f".cls and one of .{', .'.join(IMAGE_ENDINGS)}"
        return Record(name, fault=f"it has {endings or 'nothing'}, but needs {needed}")
    text = sample["cls"].decode(errors="replace").strip()
    if not text.isdecimal() or int(text) >= classes:
        raise DatasetError(
            f"{name} has the class {text!r}, but there are {classes}, numbered from 0. Set "
            "dataset.classes to a file with the name of each class, one a line."
        )
    return Record(name, images[0], int(text))
