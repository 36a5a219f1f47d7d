"""Robustness as a task: several models over the cells of an evaluation, in one pass."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from dcls.backbone import Backbone
from tasks.data.images import RgbImage
from tasks.engine.gathering import gather_lists
from tasks.engine.task import Batch, Stage, Task
from tasks.engine.unreadable import check_readable
from tasks.errors import DatasetError
from tasks.reporting.console import print_line
from tasks.reporting.metrics import SHARE, Metric, declared, metric_text
from tasks.reporting.page import ReportFigure, Section, Table
from tasks.robustness.cell_table import CellTable
from tasks.robustness.cells import Cell
from tasks.robustness.data import CellData
from tasks.robustness.ledger import CellRecord, Ledger
from tasks.robustness.published.imagenet import ImageNetSets
from tasks.robustness.report.comparison import OtherRun, read_runs
from tasks.robustness.report.contents import Evaluation, Report, origin_text
from tasks.robustness.report.examples import example_strip
from tasks.robustness.report.sections import headline_table, report_sections
from tasks.robustness.scoring.figures import Kind, figures_of, kind_of
from tasks.robustness.scoring.scores import (
    ALL,
    CellScore,
)
from tasks.robustness.scoring.subject import Subject, score_of

logger = logging.getLogger(__name__)


class RobustnessTask(Task):
    """Evaluates models on cells; every finished cell is written at once.

    Args:
        subjects: at least one; all of one task.
        data: the cells.
        protocol: what is evaluated and how, as plain data; a run folder of an equal one is
            continued.
        compare: folders of runs to compare with.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        data: CellData,
        protocol: dict[str, Any],
        compare: Sequence[str] = (),
    ) -> None:
        first = subjects[0].task
        super().__init__(first.optimization, first.monitor)
        self.models = nn.ModuleList([subject.task for subject in subjects])
        self.names = [subject.name for subject in subjects]
        self.data = data
        self._protocol = protocol
        self.compare = compare
        self.kind: Kind = kind_of(first, data.base)
        self._scores = [score_of(subject, data.base) for subject in subjects]
        self._main = first.headline_metrics
        self._declared = declared(first.metrics)
        self._folder: Path | None = None
        self._open: int | None = None
        self._unread: list[str] = []

    @property
    def backbone(self) -> Backbone:  # type: ignore[override]
        """The first model's."""
        return cast(Task, self.models[0]).backbone

    def start(self, folder: Path, first: bool) -> None:
        """Look into the run folder for finished cells; the others are still to be done.

        Args:
            folder: of the run.
            first: whether this process is the one that writes.
        """
        self._folder, self._first = folder, first
        self._table = CellTable(folder, self.names, self.cells)
        done = []
        for name in self.names:
            records = Ledger(folder).read(name)
            done.append(set(records))
            for record in records.values():
                self._table.add(name, record)
        logger.info(
            "finished cells are kept; if this run is stopped, go on with run_dir=%s", folder
        )
        if first and any(done):
            self._table.write()
        cells = self.cells
        self.data.todo = [i for i, cell in enumerate(cells) if not all(cell in d for d in done)]
        if len(self.data.todo) < len(cells):
            logger.info("%d of %d cells are done", len(cells) - len(self.data.todo), len(cells))

    @property
    def protocol(self) -> dict[str, Any]:
        """What is evaluated, and how."""
        return self._protocol

    @property
    def progress(self) -> tuple[str, int, int] | None:
        """The condition that is evaluated."""
        if self._open is None:
            return None
        done, total = self.data.todo.index(self._open), len(self.data.todo)
        return f"condition {done + 1} of {total} ({self.cells[self._open].name})", done, total

    @property
    def cells(self) -> list[Cell]:
        """Those that are evaluated."""
        return [source.cell for source in self.data.cells.sources]

    @property
    def checkpoints(self) -> list[str]:
        """What was given as the models."""
        return [model["checkpoint"] for model in self.protocol["models"].values()]

    @property
    def folder(self) -> Path:
        """Of the run."""
        assert self._folder is not None, "start() was not called"
        return self._folder

    def shared_step(self, batch: Batch, stage: Stage) -> Tensor:  # noqa: ARG002
        """Score a batch with every model."""
        number = batch["cell"]
        if self._open != number:
            self._close()
            self._open = number
        self.note_unreadable(batch)
        self._unread += batch["unreadable"]
        for score in self._scores:
            score.add(batch, self.data.cells.sources[number].cell)
        return torch.zeros((), device=self.device)

    def on_test_epoch_end(self) -> None:
        """Finish the last cell."""
        self._close()

    @cached_property
    def evaluations(self) -> dict[str, Evaluation]:
        """What was found of each model, from the finished cells; to be asked for at the end."""
        found = {}
        for name in self.names:
            done = Ledger(self.folder).read(name)
            records = {cell: done[cell] for cell in self.cells if cell in done}
            found[name] = Evaluation(records, figures_of(records, self.kind))
        return found

    def result_metrics(self) -> dict[str, float]:
        """Figures by name, such as `test/mce`; of several models `<model>/mce`."""
        values: dict[str, float] = {}
        if not any(r.images for e in self.evaluations.values() for r in e.records.values()):
            raise DatasetError(
                f"No image of dataset={self.data.name} was scored: none could be read, or the "
                f"model knows none of their classes. See the notes in {self.folder}/cells.csv, and "
                "check dataset.root."
            )
        for name, evaluation in self.evaluations.items():
            stage = "test" if len(self.names) == 1 else name.replace("/", "_")
            for key, figure in evaluation.figures.items():
                values[f"{stage}/{key}"] = figure.value
                if isfinite(figure.interval.low):
                    values[f"{stage}/{key}/low"], values[f"{stage}/{key}/high"] = figure.interval
        return values

    @property
    def unreadable_images(self) -> int:
        """Over all cells."""
        first = self.evaluations[self.names[0]]
        return sum(record.unreadable for record in first.records.values())

    def remarks(self) -> list[str]:
        """Where the figures come from, and what they fall short of."""
        origin = origin_text(self.kind, self.protocol)
        lines = [origin] if origin else []
        lines += self.data.base.notes(self.data.base.test_split)
        for evaluation in self.evaluations.values():
            marked: dict[str, list[str]] = defaultdict(list)
            for key, figure in evaluation.figures.items():
                marked[figure.remark].append(key)
            lines += [f"{', '.join(keys)}: {text}" for text, keys in marked.items() if text]
            empty = [r.cell.name for r in evaluation.records.values() if not r.images]
            lines += [f"{cell}: no image was scored" for cell in empty]
        return list(dict.fromkeys(lines))

    def headline(self) -> Table:
        """The figures that say most, a row per model."""
        return headline_table(self.evaluations, self.kind, self.protocol)

    def sections(self) -> list[Section]:
        """Everything that the report shows."""
        if not self._first:
            return []
        (_, *further) = self.evaluations.items()
        beside = [OtherRun(name, e.records, e.figures, self.protocol) for name, e in further]
        others = [*beside, *read_runs([Path(folder) for folder in self.compare], self.kind)]
        return report_sections(
            Report(self.evaluations, self.kind, self.protocol, others, self._strip)
        )

    def _close(self) -> None:
        """Write down the cell that was open; every process must call it."""
        if self._open is None:
            return
        number, self._open = self._open, None
        unread, self._unread = gather_lists(self._unread), []
        if unread:
            cells = self.data.cells
            what = f"{cells.sources[number].cell.name} of dataset={self.data.name}"
            total = len(cells.chosen(number))
            check_readable(unread, total, what, self.data.loading, need_some=False)
        results = [score.finish() for score in self._scores]
        if not self._first:
            return
        for name, result in zip(self.names, results, strict=True):
            record = self._record(number, result, len(unread))
            Ledger(self.folder).write(name, record)
            self._table.add(name, record)
            among = {k: v for k, v in record.figures.items() if k.startswith("top1_among")}
            shown = {k: v for k, v in record.figures.items() if k in self._main} | among
            about = self._declared | {name: Metric(name, SHARE) for name in among}
            text = ", ".join(f"{k} {metric_text(k, v, about)}" for k, v in shown.items())
            model = f"{name}: " if len(self.names) > 1 else ""
            print_line(f"{model}{record.cell.name}: {text} ({result.images:,} images)")
        self._table.write()

    def _record(self, number: int, result: CellScore, unread: int) -> CellRecord:
        source = self.data.cells.sources[number]
        notes = list(source.notes())
        broken = result.outcomes[ALL].broken if ALL in result.outcomes else 0
        for count, what in (
            (unread, "could not be read"),
            (result.unknown, "left out, the model has not their class"),
            (broken, "without a prediction but NaN, which counts as wrong"),
        ):
            if count:
                notes.append(f"{count:,} {'image' if count == 1 else 'images'} {what}")
        return CellRecord(
            cell=source.cell,
            images=result.images,
            expected=source.expected,
            figures=result.figures,
            names=self.data.cells.digest(number),
            notes=tuple(notes),
            unreadable=unread,
            outcomes=result.outcomes,
        )

    def _strip(self) -> list[ReportFigure]:
        records = self.evaluations[self.names[0]].records
        base = self.data.base
        names = base.all_names if isinstance(base, ImageNetSets) else base.class_names
        strip = example_strip(self.data.cells, records, self.names[0], names, self._drawn)
        return [] if strip is None else [strip]

    @torch.inference_mode()
    def _drawn(self, number: int, index: int) -> RgbImage:
        """An image of a cell, with what the first model finds in it where that can be drawn."""
        images = self.data.cells.images(number)
        image = images.image(index)
        if self.kind.sets != "dense":
            return image
        task = cast(Task, self.models[0]).eval()
        return task.illustrate(self.data.base.collate([images.sample(index, image)]))[0]
