"""The finished cells of an evaluation on disk: each is written at once, and a new start reads them.

A cell of a model is a file `cells/<model>/<cell>.safetensors`: what was said of every image as
arrays, and the figures as text in its head.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tasks.reporting.files import plain_data, to_json, write_atomically
from tasks.robustness.cells import Cell
from tasks.robustness.scoring.outcomes import Outcomes

FOLDER = "cells"
_FIELDS = [entry.name for entry in fields(Outcomes)]


@dataclass(frozen=True)
class CellRecord:
    """What one model did on one cell.

    Args:
        cell: which one.
        images: number of images scored.
        expected: number of images of the whole set, None if it is not known.
        figures: by name.
        names: digest of the images' names; cells of equal digests hold the same images.
        notes: what falls short of the whole set.
        unreadable: number of images that could not be read.
        outcomes: of classifiers, by label space: `all`, or `imagenet_a` and `imagenet_r` for the
            classes of these sets alone.
    """

    cell: Cell
    images: int
    expected: int | None
    figures: dict[str, float]
    names: str
    notes: tuple[str, ...] = ()
    unreadable: int = 0
    outcomes: dict[str, Outcomes] = field(default_factory=dict, repr=False)


Records = Mapping[Cell, CellRecord]


class Ledger:
    """The finished cells of a run folder.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER

    def write(self, model: str, record: CellRecord) -> None:
        """Keep a finished cell; whole or not at all."""
        notes: list[str] = []
        head = plain_data(
            {
                "cell": list(record.cell),
                "images": record.images,
                "expected": record.expected,
                "figures": record.figures,
                "names": record.names,
                "notes": list(record.notes),
                "unreadable": record.unreadable,
            },
            notes,
        )
        arrays = {
            f"{space}.{name}": getattr(outcomes, name)
            for space, outcomes in record.outcomes.items()
            for name in _FIELDS
        }
        write_atomically(self._path(model, record.cell), save(arrays, {"head": to_json(head)}))

    def read(self, model: str) -> dict[Cell, CellRecord]:
        """The finished cells of a model; a file that cannot be read is none, and is done again."""
        paths = sorted((self.folder / plain_name(model)).glob("*.safetensors"))
        records = (_read(path) for path in paths)
        return {record.cell: record for record in records if record is not None}

    def models(self) -> Iterator[str]:
        """Names of the models with finished cells."""
        if self.folder.is_dir():
            yield from sorted(path.name for path in self.folder.iterdir() if path.is_dir())

    def _path(self, model: str, cell: Cell) -> Path:
        return self.folder / plain_name(model) / f"{plain_name(cell.name)}.safetensors"


def plain_name(name: str) -> str:
    """A name that can stand for a file or folder."""
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip(".") or "model"


def _read(path: Path) -> CellRecord | None:
    try:
        with safe_open(path, "numpy") as file:
            head = json.loads((file.metadata() or {})["head"])
            keys = list(file.keys())
            arrays = {key: file.get_tensor(key) for key in keys}
        spaces = dict.fromkeys(key.partition(".")[0] for key in keys)
        outcomes = {s: Outcomes(*(arrays[f"{s}.{name}"] for name in _FIELDS)) for s in spaces}
        return _record(head, outcomes)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None


def _record(head: dict[str, Any], outcomes: dict[str, Outcomes]) -> CellRecord:
    figures = {k: float("nan") if v is None else float(v) for k, v in head["figures"].items()}
    return CellRecord(
        cell=Cell(*head["cell"]),
        images=head["images"],
        expected=head["expected"],
        figures=figures,
        names=head["names"],
        notes=tuple(head["notes"]),
        unreadable=head["unreadable"],
        outcomes=outcomes,
    )
