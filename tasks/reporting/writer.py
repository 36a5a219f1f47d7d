"""Writing a report: a self-contained HTML page, and Markdown with its figures beside it."""

import re
from dataclasses import replace
from pathlib import Path

from tasks.reporting.files import write_atomically
from tasks.reporting.html import as_html
from tasks.reporting.markdown import as_markdown
from tasks.reporting.page import Report, ReportFigure


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.html`, `report.md` and `figures/`; returns the path of the page.

    Everything is made before anything is written, so a fault leaves an older report as it was.

    Raises:
        ReportError: if a file cannot be written.
    """
    report = with_file_names(report)
    page, markdown = as_html(report), as_markdown(report)
    for figure in (p for section in report.sections for p in section.figures):
        write_atomically(folder / "figures" / f"{figure.name}.png", figure.png)
    write_atomically(folder / "report.md", markdown)
    write_atomically(folder / "report.html", page)
    return folder / "report.html"


def with_file_names(report: Report) -> Report:
    """The report with figures whose names are plain file names, each a different one."""
    taken: set[str] = set()

    def named(figure: ReportFigure) -> ReportFigure:
        plain = re.sub(r"[^\w-]+", "_", figure.name, flags=re.ASCII).strip("_") or "figure"
        name, count = plain, 1
        while name.lower() in taken:  # some disks ignore case
            count += 1
            name = f"{plain}-{count}"
        taken.add(name.lower())
        return replace(figure, name=name)

    sections = [replace(s, figures=[named(p) for p in s.figures]) for s in report.sections]
    return replace(report, sections=sections)
