"""Throughput of the cases as lying bars."""

import math
from collections.abc import Sequence

from tasks.benchmark.cases import Measurement
from tasks.reporting.drawing import bars, new_figure, styled
from tasks.reporting.page import ReportFigure

_NO_FIGURE = math.nan


@styled
def throughput_figure(measurements: Sequence[Measurement]) -> ReportFigure:
    """A panel per pass and batch size, a bar per model and variant, with quartiles."""
    labels = list(dict.fromkeys(m.case.label for m in measurements))
    passes = list(dict.fromkeys(m.case.kind for m in measurements))
    sizes = list(dict.fromkeys(m.case.batch_size for m in measurements))
    height = len(passes) * (0.9 + 0.32 * len(labels))
    figure, panels = new_figure(len(passes), len(sizes), 2.0 + 3.4 * len(sizes), height)
    found = {(m.case.kind, m.case.batch_size, m.case.label): m.throughput for m in measurements}
    for row, kind in zip(panels, passes, strict=True):
        for axes, size in zip(row, sizes, strict=True):
            spreads = [found.get((kind, size, label)) for label in labels]
            medians = [s.median if s else _NO_FIGURE for s in spreads]
            quartiles = [(s.low, s.high) if s else (_NO_FIGURE, _NO_FIGURE) for s in spreads]
            series = {"images/s": medians}
            bars(axes, labels, series, {"images/s": quartiles}, numbers="{:.3g}")
            axes.set_title(f"{kind}, batch {size}")
            axes.set_xlabel("images per second")
            # the variant below its model, in full; further panels of a row have no names
            names = [label.replace(" ", "\n") for label in labels]
            axes.set_yticks(range(len(labels)), names if size == sizes[0] else [""] * len(labels))
    return ReportFigure(
        "throughput",
        figure,
        "Images per second of every model, pass and batch size",
        "Images per second: the median step, and the quartiles as whiskers.",
    )
