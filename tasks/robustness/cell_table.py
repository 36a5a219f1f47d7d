"""`cells.csv`: a row per model, cell and figure."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from tasks.reporting.files import write_atomically
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
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._rows: dict[tuple[str, str], list[Row]] = {}

    def add(self, model: str, record: CellRecord) -> None:
        """Take in a finished cell."""
        self._rows[model, record.cell.name] = list(_rows(model, record))

    def write(self) -> None:
        """Write the file anew."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(COLUMNS)
        for rows in self._rows.values():
            writer.writerows(rows)
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
