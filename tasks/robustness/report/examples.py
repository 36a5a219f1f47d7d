"""Example images of an evaluation, with what a model said of them."""

from collections.abc import Callable

from tasks.data.images import UNREADABLE, RgbImage
from tasks.engine.predictions import NO_PREDICTION
from tasks.reporting.fonts import drawable_names
from tasks.reporting.page import ReportFigure
from tasks.robustness.cells import CLEAN
from tasks.robustness.data import Cells
from tasks.robustness.figures.strip import Shown, strip_figure
from tasks.robustness.ledger import Records
from tasks.robustness.scoring.outcomes import Outcomes
from tasks.robustness.scoring.scores import ALL

SEVERITY = 3
"""At which corruptions are shown, the middle one."""
_TRIES = 20
Draw = Callable[[int, int], RgbImage]
"""From the number of a cell and of an image in it to the image, as it is to be shown."""


def example_strip(
    cells: Cells, records: Records, model: str, names: tuple[str, ...], draw: Draw
) -> ReportFigure | None:
    """An image under each corruption, and one of each other set, with the predictions.

    Args:
        cells: of the evaluation.
        records: of the model, by cell.
        model: its name.
        names: of the classes.
        draw: see `Draw`.
    """
    names = tuple(drawable_names(names))
    rows: dict[str, list[Shown]] = {}
    truth = ""
    for number, source in enumerate(cells.sources):
        cell, record = source.cell, records.get(source.cell)
        if record is None or not record.images or cell.severity not in (0, SEVERITY):
            continue
        outcomes = record.outcomes.get(ALL)
        index, pixels = _first_readable(cells, number, outcomes, draw)
        if pixels is None:
            continue
        row = "other sets" if not cell.corruption and cell.collection != CLEAN else "corruptions"
        title = cell.corruption.replace("_", " ") or cell.collection
        caption, wrong = _said(outcomes, index, names)
        if outcomes is not None and cell.corruption and not truth:
            truth = f": {names[outcomes.label[outcomes.index == index][0]]}"
        rows.setdefault(row, []).append(Shown(pixels, title, caption, wrong))
    if not rows:
        return None
    titles = {"corruptions": f"clean, and severity {SEVERITY}{truth}", "other sets": "other sets"}
    remark = f"What {model} says." if truth else f"What {model} finds is drawn over the images."
    return strip_figure(list(rows.values()), [titles[name] for name in rows], remark)


def _first_readable(
    cells: Cells, number: int, outcomes: Outcomes | None, draw: Draw
) -> tuple[int, RgbImage | None]:
    """The first image that was scored, and how it is shown; None if none can be read."""
    scored = cells.chosen(number) if outcomes is None else outcomes.index.tolist()
    for index in scored[:_TRIES]:
        try:
            return index, draw(number, index)
        except UNREADABLE:
            continue
    return 0, None


def _said(outcomes: Outcomes | None, index: int, names: tuple[str, ...]) -> tuple[str, bool]:
    if outcomes is None:
        return "", False
    (place,) = (outcomes.index == index).nonzero()[0][:1]
    predicted, truth = int(outcomes.predicted[place]), int(outcomes.label[place])
    if predicted == NO_PREDICTION:
        return "no prediction", True
    return f"{names[predicted]} {outcomes.confidence[place]:.0%}", predicted != truth
