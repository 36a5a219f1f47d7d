"""Batches: of images of similar shape, so that little of a batch is padding."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Sampler

from tasks.data.images import Sample
from tasks.detection.network.detector import padded_size


class ShapeBatches(Sampler[list[int]]):
    """Shuffled batches, each of wide or of tall images, as far as that leaves none over.

    Every process draws the same order and takes its part of each step, so that all have as many
    batches. What remains of either kind is put together; an incomplete last step is dropped.

    Args:
        wide: whether each image is at least as wide as it is high.
        batch_size: images per batch and process.
        world: number of processes.
        rank: of this one.
        seed: of the order, the same in all processes.
    """

    def __init__(
        self, wide: Sequence[bool], batch_size: int, world: int, rank: int, seed: int
    ) -> None:
        self.wide = wide
        self.batch_size = batch_size
        self.world = world
        self.rank = rank
        self.seed = seed
        self.epoch = 0

    @property
    def sampler(self) -> "ShapeBatches":
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Draw another order."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.wide) // (self.batch_size * self.world)

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.wide), generator=generator).tolist()
        step = self.batch_size * self.world
        filling: dict[bool, list[int]] = {True: [], False: []}
        for index in order:
            group = filling[self.wide[index]]
            group.append(index)
            if len(group) == step:
                yield self._own(group)
                group.clear()
        rest = filling[True] + filling[False]
        if len(rest) >= step:
            yield self._own(rest[:step])

    def _own(self, step: list[int]) -> list[int]:
        return step[self.rank * self.batch_size : (self.rank + 1) * self.batch_size]


def as_batch(samples: list[Sample]) -> dict[str, Any]:
    """Images padded to one size, and the objects of each."""
    sizes = [(s["image"].shape[0], s["image"].shape[1]) for s in samples]
    height, width = padded_size(sizes)
    batch: dict[str, Any] = {
        "image": torch.stack([_padded(s["image"], height, width) for s in samples]),
        "size": sizes,
        "boxes": [s["boxes"] for s in samples],
        "labels": [s["labels"] for s in samples],
    }
    if "masks" in samples[0]:
        batch["masks"] = [s["masks"] for s in samples]
    return batch


def _padded(image: Tensor, height: int, width: int) -> Tensor:
    return F.pad(image, (0, 0, 0, width - image.shape[1], 0, height - image.shape[0]))


def as_scenes(samples: list[Sample]) -> dict[str, Any]:
    """Samples of evaluation, which have many sizes, in a list."""
    return {"scenes": samples}
