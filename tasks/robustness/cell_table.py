"""`cells.csv`: a row per model, cell and figure."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from tasks.reporting.files import write_atomically
from tasks.robustness.cells import Cell
from tasks.robustness.ledger import CellRecord
from tasks.robustness.scoring.intervals import UNKNOWN, share_interval
from tasks.robustness.scoring.scores import ALL

FILE_NAME = "cells.csv"
COLUMNS = (
    "model",
    "set",
    "corruption",
    "severity",
    "figure",
    "value",
    "low",
    "high",
    "images",
    "published",
    "note",
)
Row = list[str | float | int]


class CellTable:
    """The finished cells in long form, kept on disk from cell to cell.

    Args:
        folder: of the run.
        models: names, in the order of the rows.
        cells: likewise, for each model.
    """

    def __init__(self, folder: Path, models: Sequence[str], cells: Sequence[Cell]) -> None:
        self.path = folder / FILE_NAME
        self._order = [(model, cell) for model in models for cell in cells]
        self._rows: dict[tuple[str, Cell], list[Row]] = {}

    def add(self, model: str, record: CellRecord) -> None:
        """Take in a finished cell."""
        self._rows[model, record.cell] = list(_rows(model, record))

    def write(self) -> None:
        """Write the file anew."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(COLUMNS)
        for key in self._order:
            writer.writerows(self._rows.get(key, []))
        write_atomically(self.path, buffer.getvalue())


def _rows(model: str, record: CellRecord) -> Iterable[Row]:
    cell = record.cell
    for name, value in record.figures.items():
        low, high = UNKNOWN
        if name == "top1" and ALL in record.outcomes:
            right = record.outcomes[ALL].right
            low, high = share_interval(int(right.sum()), len(right))
        yield [
            model,
            cell.collection,
            cell.corruption,
            cell.severity or "",
            name,
            value,
            "" if low != low else low,
            "" if high != high else high,
            record.images,
            "" if record.expected is None else record.expected,
            "; ".join(record.notes),
        ]
