"""The kinds of rows of the table (see the package)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

NO_EXPECTATION = object()


@dataclass(frozen=True)
class Effect:
    """The probe gives something else when the leaf has this value.

    Args:
        value: set in place of the usual one; a function of the folder of files for a path.
        probe: of a `Case`, looks at what acts.
        expected: what the probe must give; otherwise it only must give something else.
        base: other leaves, set with and without the value; None as a value takes the leaf away.
        tasks: in which a shared setting is tried.
    """

    value: Any
    probe: Callable[..., Any]
    expected: Any = NO_EXPECTATION
    base: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ("cls",)


@dataclass(frozen=True)
class Refused:
    """With this value building the job is an error that holds the text."""

    value: Any
    text: str
    base: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ("cls",)


@dataclass(frozen=True)
class Elsewhere:
    """The test of this name, in this folder's files, fails without the setting.

    Args:
        test: file and function, such as ``test_run.py::test_the_same_seed``.
        mentions: what the test's source holds; None: the last part of the leaf's name.
    """

    test: str
    mentions: str | None = None


@dataclass(frozen=True)
class Exempt:
    """There is nothing to test, and why."""

    reason: str
