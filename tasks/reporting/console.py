"""The last lines on the terminal: the figures, and where the report is."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from tasks.reporting.metrics import metric_text
from tasks.reporting.page import Table
from tasks.reporting.results import Results


def duration_text(seconds: float) -> str:
    """A duration in its two largest units, such as 45.2 s, 3 min 20 s or 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def print_results(results: Results, page: Path, headline: Table | None = None) -> None:
    """Print the metrics, or the given table, then the path of the report on a line of its own."""
    caption = f"{results.name} ({results.mode}, {results.wall_seconds:.0f} s)"
    if headline is not None:
        print_line(caption)
        print_table(headline, numeric_from=1)
    else:
        shown = {**results.headline(), **_validation(results)}
        rows = [
            [results.label(name), metric_text(name, value, results.declared)]
            for name, value in shown.items()
        ]
        print_table(Table(["metric", "value"], rows, caption), numeric_from=1)
    for note in results.notes:
        print_line(note)
    print_line(f"report: {page}")


def print_table(table: Table, numeric_from: int | None = None) -> None:
    """Print a table: folded into a terminal's width, in a pipe as wide as it needs to be.

    Args:
        table: cells and caption are taken as they are, without markup.
        numeric_from: columns from this one on are aligned at the right; None: none of them.
    """
    shown = RichTable()
    for index, column in enumerate(table.columns):
        right = numeric_from is not None and index >= numeric_from
        shown.add_column(_text(column), justify="right" if right else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*map(_text, row))
    console = Console()
    if not console.is_terminal:
        wide = Console(width=10_000)
        console = Console(width=max(80, wide.measure(shown).maximum))
    if table.caption:
        print_line(table.caption)
    console.print(shown)


def print_line(line: str) -> None:
    """Print a line as it is, at once and as one piece; rich would wrap a long path."""
    print(f"{_sayable(line)}\n", end="", flush=True)


def _validation(results: Results) -> dict[str, float]:
    return {k: v for k, v in results.metrics.items() if k.startswith("val/") and k.count("/") < 2}


def _text(content: str) -> Text:
    return Text(_sayable(content))


def _sayable(content: str) -> str:
    """The text in what the output stream can encode: a finished run must not fail on a sign."""
    encoding = sys.stdout.encoding or "utf-8"
    return content.encode(encoding, "replace").decode(encoding, "replace")
