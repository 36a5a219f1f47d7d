"""A report as Markdown, with its figures in `figures/` beside it."""

import re
from collections.abc import Sequence

from tasks.reporting.page import Report, Table


def as_markdown(report: Report) -> str:
    """The whole report; all text of it is shown as it is, never read as markup."""
    parts = [f"# {literal(report.title)}", literal(report.subtitle)]
    parts.append(as_markdown_table(report.headline))
    for section in report.sections:
        parts.append(f"## {literal(section.title)}")
        parts += map(literal, section.paragraphs)
        for figure in section.figures:
            parts.append(f"![{literal(figure.alt)}](figures/{figure.name}.png)")
            if figure.caption:
                parts.append(f"*{literal(figure.caption)}*")
        parts += [as_markdown_table(table) for table in section.tables]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_markdown_table(table: Table) -> str:
    """A table in Markdown, its caption above it."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(literal(str(cell)) for cell in cells) + " |"

    rows = [line(table.columns), "|" + " --- |" * len(table.columns), *map(line, table.rows)]
    return (f"{literal(table.caption)}\n\n" if table.caption else "") + "\n".join(rows)


def literal(text: str) -> str:
    """Text on one line, with the signs that Markdown or HTML would read as markup taken plainly."""
    line = " ".join(text.split())
    line = re.sub(r"([\\`*\[\]<>|$~&])", r"\\\1", line)
    line = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)  # inside words it is plain
    return re.sub(r"^([#>+-]|\d+[.)])(?=\s|$)", _escaped_start, line)


def _escaped_start(match: re.Match[str]) -> str:
    start = match.group(1)
    return f"{start[:-1]}\\{start[-1]}"
