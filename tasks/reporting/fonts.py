"""Which fonts draw a text: classes have names in every script."""

import logging
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache

from matplotlib import font_manager, ft2font
from matplotlib.text import Text

logger = logging.getLogger(__name__)

MAIN = "DejaVu Sans"
"""Of all figures; it comes with matplotlib."""
_PREFERRED = ("Noto Sans", "Source Han Sans", "WenQuanYi", "PingFang", "Microsoft YaHei")
_PLACEHOLDERS = "Last Resort"
_SHAPES = hasattr(ft2font, "__libraqm_version__")
"""Whether this matplotlib orders and joins the letters of scripts that run from right to left."""
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")


def families(text: str) -> list[str]:
    """The fonts that a text needs: the main one, then those that have what it lacks."""
    needed = (_font_of(character) for character in text)
    return list(dict.fromkeys([MAIN, *(name for name in needed if name)]))


def drawable(text: str) -> str:
    """The text, with what no installed font has replaced; the replacement is logged once."""
    lost = sorted({character for character in text if _font_of(character) is None})
    if not lost:
        return text
    _warn_of_characters("".join(lost))
    return text.translate({ord(character): _REPLACEMENT for character in lost})


def dress(text: Text) -> None:
    """Give a text of a figure the fonts that it needs; what no font has is replaced."""
    written = text.get_text()
    if written.isascii():
        return
    text.set_text(drawable(written))
    needed = families(written)
    if len(needed) > 1:
        text.set_fontfamily(needed)
        text.set_fontweight("normal")  # few fonts of other scripts come in bold


def drawable_names(names: Sequence[str]) -> list[str]:
    """Names of classes for a figure: the number of a class where no installed font has its name.

    Tables of the report keep the names. The replacement is logged once.
    """
    lost = tuple(name for name in names if any(_font_of(character) is None for character in name))
    if lost:
        _warn_of_names(lost, len(names))
    return [f"class {i}" if name in lost else name for i, name in enumerate(names)]


@cache
def _warn_of_names(lost: tuple[str, ...], count: int) -> None:
    logger.warning(
        "no installed font can draw the names of %d of the %d classes, such as %s: figures show "
        "their numbers in the order of the classes, from 0; tables show their names. Install a "
        "font with these characters, such as Noto Sans.",
        len(lost),
        count,
        lost[0],
    )


@cache
def _warn_of_characters(lost: str) -> None:
    logger.warning(
        "no installed font can draw %s: figures show %s in place of each character. Install a font "
        "with these characters, such as Noto Sans.",
        lost,
        _REPLACEMENT,
    )


@cache
def _font_of(character: str) -> str | None:
    """The name of a font that has a character, None if there is none."""
    if unicodedata.category(character) in _INVISIBLE:
        return MAIN
    if not _SHAPES and unicodedata.bidirectional(character) in ("R", "AL"):
        return None
    return next((e.name for e in _fonts() if ord(character) in _characters(e.fname)), None)


def _fonts() -> Iterable[font_manager.FontEntry]:
    """All plain fonts, the main one first, then those that are made for many scripts."""
    plain = [
        entry
        for entry in font_manager.fontManager.ttflist
        if entry.style == "normal" and _PLACEHOLDERS not in entry.name
    ]
    return sorted(plain, key=_rank)


def _rank(entry: font_manager.FontEntry) -> tuple[bool, bool, bool, str]:
    preferred = entry.name.startswith(_PREFERRED)
    return entry.name != MAIN, not preferred, entry.weight != 400, entry.name


@cache
def _characters(path: str) -> frozenset[int]:
    return frozenset(ft2font.FT2Font(path).get_charmap())
