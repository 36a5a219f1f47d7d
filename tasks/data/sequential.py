"""Batches of samples that are read one after the other, as from a tape.

An epoch's samples are one long row. Every process takes an equal stretch of it, and every loading
worker of a process one block of that stretch, so that all workers read forwards and none reads
what another does, however the row is cut into files.
"""

from collections.abc import Iterator
from typing import NamedTuple

from torch.utils.data import Sampler


class Block(NamedTuple):
    """Samples `start` to `stop` of the row of an epoch, read by one worker."""

    epoch: int
    start: int
    stop: int


class Place(NamedTuple):
    """A sample: the how manieth to be read of a block."""

    block: Block
    number: int


class BlockBatches(Sampler[list[Place]]):
    """One process's batches; all processes have the same number of them.

    Args:
        total: number of samples.
        batch_size: samples per batch.
        world: number of processes.
        rank: of this one.
        workers: loading workers of each process; batches go to them in turn, as a `DataLoader`
            hands them out.
        drop_last: leave out the samples that do not fill a batch of every process, which in
            another epoch are others. Otherwise places beyond the last sample are padding.
    """

    def __init__(
        self, total: int, batch_size: int, world: int, rank: int, workers: int, drop_last: bool
    ) -> None:
        step = batch_size * world
        self.steps = total // step if drop_last else -(-total // step)
        self.batch_size = batch_size
        self.rank = rank
        self.workers = max(1, workers)
        self.epoch = 0

    @property
    def sampler(self) -> "BlockBatches":
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Ask for the row of another epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Place]]:
        blocks = self._blocks()
        for step in range(self.steps):
            turn, worker = divmod(step, self.workers)
            first = turn * self.batch_size
            numbers = range(first, first + self.batch_size)
            yield [Place(blocks[worker], number) for number in numbers]

    def _blocks(self) -> list[Block]:
        blocks, start = [], self.rank * self.steps * self.batch_size
        for worker in range(self.workers):
            turns = len(range(worker, self.steps, self.workers))
            stop = start + turns * self.batch_size
            blocks.append(Block(self.epoch, start, stop))
            start = stop
        return blocks
