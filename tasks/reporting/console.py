"""The last lines on the terminal: the figures, and where the report is."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from tasks.reporting.results import Results


def metric_text(name: str, value: float) -> str:
    """A figure for people: shares as percentages, all else with four digits."""
    share = name.rsplit("/", 1)[-1].startswith(("top", "miou", "aacc", "macc", "ece", "iou"))
    return f"{100 * value:.2f} %" if share else f"{value:.4g}"


def print_results(results: Results, page: Path) -> None:
    """Print the metrics as a table, then the path of the report on a line of its own."""
    console = Console()
    table = Table(title=f"{results.name} ({results.mode}, {results.wall_seconds:.0f} s)")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in sorted(results.metrics.items()):
        table.add_row(name, metric_text(name, value))
    console.print(table)
    print(f"report: {page}", flush=True)  # not by rich, which would wrap a long path
