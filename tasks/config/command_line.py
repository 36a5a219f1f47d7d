"""Hydra's command line on Python 3.14 and later."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

Check = Callable[[Any, argparse.Action], None]


def allow_lazy_help() -> None:
    """Let argparse accept a help text that is only made when it is shown.

    Python 3.14 reads each help text as it is added. The one of Hydra's `--shell-completion` (in all
    releases up to 1.3.8) is not a string, so that no command of Hydra's would start. The process
    has no other parser, and texts that are strings are checked as before.
    """
    parser: Any = argparse.ArgumentParser
    if sys.version_info >= (3, 14) and not getattr(parser._check_help, "lazy", False):
        parser._check_help = checked_if_string(parser._check_help)


def checked_if_string(check: Check) -> Check:
    """A check of an argument's help that passes over what is not a string."""

    def checked(parser: Any, action: argparse.Action) -> None:
        if isinstance(action.help, str):
            check(parser, action)

    checked.lazy = True  # type: ignore[attr-defined] # so that it is put in place once
    return checked
