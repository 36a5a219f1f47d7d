"""A report as data, and its two forms: a self-contained HTML page, and Markdown with pictures."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from tasks.reporting.files import write_atomically


@dataclass(frozen=True)
class Table:
    """Rows of cells below column names; numbers should come formatted."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture (PNG bytes), called `name` on disk; `alt` says what it shows."""

    name: str
    png: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading with text, tables and pictures under it."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Report:
    """A title, what matters most, and the sections."""

    title: str
    subtitle: str
    headline: Table
    sections: Sequence[Section] = field(default_factory=tuple)


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.html`, `report.md` and `figures/`; returns the path of the page."""
    for picture in (p for section in report.sections for p in section.pictures):
        write_atomically(folder / "figures" / f"{picture.name}.png", picture.png)
    write_atomically(folder / "report.md", as_markdown(report))
    page = folder / "report.html"
    write_atomically(page, as_html(report))
    return page


def as_html(report: Report) -> str:
    """One page without scripts or outside references; light or dark as the reader's system."""
    style = files("tasks.reporting").joinpath("page.css").read_text()
    links = "".join(
        f'<li><a href="#s{i}">{html.escape(section.title)}</a></li>'
        for i, section in enumerate(report.sections)
    )
    body = "".join(_html_section(i, section) for i, section in enumerate(report.sections))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(report.title)}</title><style>{style}</style></head><body><main>"
        f"<header><h1>{html.escape(report.title)}</h1><p>{html.escape(report.subtitle)}</p>"
        f"{_html_table(report.headline, 'headline')}</header><nav><ul>{links}</ul></nav>{body}"
        "</main></body></html>\n"
    )


def as_markdown(report: Report) -> str:
    """The same in Markdown; pictures lie in `figures/` beside it."""
    parts = [f"# {report.title}", report.subtitle, as_markdown_table(report.headline)]
    for section in report.sections:
        parts.append(f"## {section.title}")
        if section.text:
            parts.append(section.text)
        parts += [as_markdown_table(table) for table in section.tables]
        for picture in section.pictures:
            parts.append(f"![{picture.alt}](figures/{picture.name}.png)")
            if picture.caption:
                parts.append(f"*{picture.caption}*")
    return "\n\n".join(parts) + "\n"


def _html_section(index: int, section: Section) -> str:
    text = f"<p>{html.escape(section.text)}</p>" if section.text else ""
    tables = "".join(_html_table(table) for table in section.tables)
    pictures = "".join(_html_picture(picture) for picture in section.pictures)
    title = html.escape(section.title)
    return f'<section id="s{index}"><h2>{title}</h2>{text}{pictures}{tables}</section>'


def _html_table(table: Table, kind: str = "") -> str:
    head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{html.escape(table.caption)}</caption>" if table.caption else ""
    return (
        f'<div class="scroll"><table class="{kind}">{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _html_picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    caption = f"<figcaption>{html.escape(picture.caption)}</figcaption>" if picture.caption else ""
    return (
        f'<figure><img alt="{html.escape(picture.alt)}" src="data:image/png;base64,{data}">'
        f"{caption}</figure>"
    )


def as_markdown_table(table: Table) -> str:
    """A table in Markdown, its caption above it."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    rows = [line(table.columns), line(["---"] * len(table.columns)), *map(line, table.rows)]
    return (f"{table.caption}\n\n" if table.caption else "") + "\n".join(rows)
