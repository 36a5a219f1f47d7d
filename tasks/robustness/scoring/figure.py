"""A figure of an evaluation, and what it falls short of."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tasks.robustness.cells import Cell
from tasks.robustness.ledger import CellRecord, Records
from tasks.robustness.scoring.intervals import UNKNOWN, Interval

_MOST_NAMED = 3


class Figure(NamedTuple):
    """A figure with its 95 % interval, and what it falls short of (empty: nothing)."""

    value: float
    interval: Interval = UNKNOWN
    remark: str = ""


Named = Iterator[tuple[str, Figure]]
Piece = Callable[[Records], Named]


def remark_on(records: Sequence[CellRecord]) -> str:
    """What some cells fall short of, each thing said once with the cells that it is true of."""
    cells: dict[str, list[str]] = defaultdict(list)
    for record in records:
        for note in record.notes:
            cells[note].append(record.cell.name)
    return joined_remarks(*(f"{_named(names)}: {note}" for note, names in cells.items()))


def _named(names: Sequence[str]) -> str:
    if len(names) <= _MOST_NAMED:
        return ", ".join(names)
    return f"{len(names)} cells such as {names[0]}"


def joined_remarks(*parts: str) -> str:
    """Those that say something, as one."""
    return "; ".join(part for part in parts if part)


def scored_cell(records: Records, collection: str) -> CellRecord | None:
    """The one cell of a collection, if an image of it was scored."""
    record = records.get(Cell(collection))
    return record if record is not None and record.images else None
