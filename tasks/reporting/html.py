"""A report as one HTML page: no scripts, nothing from outside, light or dark as the reader's."""

import base64
import html
import re
from importlib.resources import files

from tasks.reporting.page import Report, ReportFigure, Section, Table

# Even if some text slipped through, a browser would load and run nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?( ?%)?( ± [\d.,e+-]+( ?%)?)?")
_NO_NUMBER = ("", "-", "nan", "not a number", "failed")
_PAGE_PIXELS_PER_DOT = 0.6  # figures are drawn at 160 dots per inch, a page has 96


def as_html(report: Report) -> str:
    """The whole page."""
    style = files("tasks.reporting").joinpath("page.css").read_text(encoding="utf-8")
    links = "".join(
        f'<li><a href="#s{i}">{html.escape(section.title)}</a></li>'
        for i, section in enumerate(report.sections)
    )
    body = "\n".join(_section(i, section) for i, section in enumerate(report.sections))
    title = html.escape(report.title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{title}</title>\n<style>\n{style}</style></head>\n<body><main>"
        f"<header><h1>{title}</h1><p>{html.escape(report.subtitle)}</p>"
        f"{_table(report.headline, 'headline')}</header>\n"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n{body}\n</main></body></html>\n'
    )


def _section(index: int, section: Section) -> str:
    text = "".join(f"<p>{html.escape(part)}</p>" for part in section.paragraphs)
    tables = "".join(_table(table) for table in section.tables)
    figures = "".join(_figure(figure) for figure in section.figures)
    shown = f'<div class="figures">{figures}</div>' if figures else ""
    title = html.escape(section.title)
    return f'<section id="s{index}"><h2>{title}</h2>{text}{shown}{tables}</section>'


def _table(table: Table, kind: str = "") -> str:
    numeric = [_is_numeric([row[i] for row in table.rows]) for i in range(len(table.columns))]

    def line(tag: str, cells: list[str]) -> str:
        marks = (' class="number"' if number else "" for number in numeric)
        parts = (f"<{tag}{m}>{html.escape(c)}</{tag}>" for m, c in zip(marks, cells, strict=True))
        return f"<tr>{''.join(parts)}</tr>"

    caption = f"<caption>{html.escape(table.caption)}</caption>" if table.caption else ""
    named = any(map(str, table.columns))
    head = f"<thead>{line('th', [str(c) for c in table.columns])}</thead>" if named else ""
    rows = "".join(line("td", [str(cell) for cell in row]) for row in table.rows)
    return (
        f'<div class="scroll"><table class="{kind}">{caption}{head}'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _is_numeric(cells: list[str]) -> bool:
    """Whether a column, some gaps aside, holds numbers and is to be aligned at the right."""
    texts = [str(cell) for cell in cells if str(cell) not in _NO_NUMBER]
    return bool(texts) and all(_NUMBER.fullmatch(text) for text in texts)


def _figure(figure: ReportFigure) -> str:
    data = base64.b64encode(figure.png).decode()
    width, height = (round(_PAGE_PIXELS_PER_DOT * side) for side in figure.size)
    caption = f"<figcaption>{html.escape(figure.caption)}</figcaption>" if figure.caption else ""
    return (
        f'<figure style="width:{width}px"><img alt="{html.escape(figure.alt)}" width="{width}" '
        f'height="{height}" src="data:image/png;base64,{data}">{caption}</figure>'
    )
