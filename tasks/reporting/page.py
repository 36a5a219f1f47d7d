"""A report as data: sections of text, tables and figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """Rows of cells below column names; numbers should come formatted."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{len(row)} cells below {len(self.columns)} columns: {row}")


@dataclass(frozen=True)
class ReportFigure:
    """A figure, called `name` on disk; `alt` says what it shows."""

    name: str
    figure: "Figure"
    alt: str
    caption: str = ""

    @cached_property
    def png(self) -> bytes:
        """PNG bytes, rendered when they are first asked for: most of a figure's cost."""
        from tasks.reporting.drawing import as_png  # tables alone must not wait for matplotlib

        return as_png(self.figure)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as the head of the file says."""
        return int.from_bytes(self.png[16:20]), int.from_bytes(self.png[20:24])


@dataclass(frozen=True)
class Section:
    """A heading with text (paragraphs between blank lines), tables and figures under it.

    Args:
        title: the heading.
        text: paragraphs.
        tables: below the text.
        figures: between text and tables.
        draw: makes the figures when a report with figures is written; drawing takes most of the
            time of a report.
    """

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[ReportFigure] = ()
    draw: Callable[[], Sequence[ReportFigure]] | None = None

    def drawn(self) -> "Section":
        """The section with the figures that it draws."""
        if self.draw is None:
            return self
        return replace(self, figures=[*self.figures, *self.draw()], draw=None)

    def without_figures(self) -> "Section":
        """The section with text and tables alone."""
        return replace(self, figures=(), draw=None)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing below the heading."""
        return not (self.text or self.tables or self.figures)

    @property
    def paragraphs(self) -> list[str]:
        """The text in pieces."""
        return [part.strip() for part in self.text.split("\n\n") if part.strip()]


@dataclass(frozen=True)
class Report:
    """A title, what matters most, and the sections."""

    title: str
    subtitle: str
    headline: Table
    sections: Sequence[Section] = field(default_factory=tuple)
