"""A report as one HTML page: no scripts, nothing from outside, light or dark as the reader's."""

import base64
import re
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from tasks.reporting.page import Report, ReportFigure, Table

_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?( ?%)?( ± [\d.,e+-]+( ?%)?)?")
_NO_NUMBER = ("", "-", "nan", "not a number", "failed")
_PAGE_PIXELS_PER_DOT = 0.6  # figures are drawn at 160 dots per inch, a page has 96


def as_html(report: Report) -> str:
    """The whole page; all text of the report is escaped."""
    return _template().render(report=report, style=Markup(_text("page.css")))


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.globals.update(
        numeric_columns=_numeric_columns, shown_size=_shown_size, encoded=_encoded
    )
    return environment.from_string(_text("page.html.j2"))


def _text(name: str) -> str:
    return files("tasks.reporting").joinpath(name).read_text(encoding="utf-8")


def _numeric_columns(table: Table) -> list[bool]:
    """Which columns, some gaps aside, hold numbers and are to be aligned at the right."""
    return [_is_numeric([row[i] for row in table.rows]) for i in range(len(table.columns))]


def _is_numeric(cells: list[str]) -> bool:
    texts = [str(cell) for cell in cells if str(cell) not in _NO_NUMBER]
    return bool(texts) and all(_NUMBER.fullmatch(text) for text in texts)


def _shown_size(figure: ReportFigure) -> tuple[int, int]:
    """Width and height on the page, pixels."""
    width, height = (round(_PAGE_PIXELS_PER_DOT * side) for side in figure.size)
    return width, height


def _encoded(figure: ReportFigure) -> str:
    return base64.b64encode(figure.png).decode()
