"""Faults of a command that Hydra finds while it composes the settings, in one line of our own.

Hydra is told by its `HYDRA_FULL_ERROR` to raise what it would otherwise print over several lines.
"""

import difflib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

DOCUMENT = "docs/settings.md"
_VARIABLE = "HYDRA_FULL_ERROR"
_NOT_COMPOSED = (HydraException, OmegaConfBaseException, ValueError)
_OVERRIDE = re.compile(r"Could not override '(?P<name>[^']+)'")
_MOST = 12
"""Choices that are listed in a message."""


@contextmanager
def explained_composition() -> Iterator[None]:
    """Turn what Hydra raises about the command into one line and exit code 1."""
    if _VARIABLE in os.environ:  # the user wants Hydra's own tracebacks
        yield
        return
    os.environ[_VARIABLE] = "1"
    try:
        yield
    except Exception as error:  # those of the job itself have been explained before
        print(f"error: {explanation(error)}", file=sys.stderr)
        print(f"({_VARIABLE}=1 shows where it was raised)", file=sys.stderr)
        sys.exit(1)
    finally:
        os.environ.pop(_VARIABLE, None)


def explanation(error: Exception) -> str:
    """What is wrong with a command, and what was perhaps meant."""
    if isinstance(error, MissingConfigException):
        return _no_such_choice(error)
    unknown = _OVERRIDE.search(str(error))
    if unknown:
        return _no_such_setting(unknown["name"])
    if "Config group override must be" in str(error):
        groups = [arg for arg in sys.argv[1:] if arg.endswith("=null") and "." not in arg]
        return f"{', '.join(groups)}: a group of settings cannot be null. Choose one, see --help."
    if "Ambiguous value" in str(error):
        given = str(error).partition("'")[2].partition("'")[0]
        name = given.partition("=")[0]
        return f"{given}: a sweep over several values needs -m, and a list brackets: {name}=[...]"
    lines = [line.strip(" .") for line in str(error).splitlines() if line.strip()]
    return f"these settings cannot be composed: {' '.join(lines[:2])}. See {DOCUMENT}"


def _no_such_choice(error: MissingConfigException) -> str:
    group, _, choice = (error.missing_cfg_file or "").rpartition("/")
    options = [one for one in error.options or () if "/" not in one]
    if not group or not options:
        return str(error).splitlines()[0]
    near = difflib.get_close_matches(choice, options, n=1)
    said = f"{group}={choice}: there is no such choice. "
    meant = f"Did you mean {group}={near[0]}? " if near else ""
    listed = ", ".join(options[:_MOST]) + (", ..." if len(options) > _MOST else "")
    return f"{said}{meant}Choose one of {listed}."


def _no_such_setting(name: str) -> str:
    group, _, key = name.rpartition(".")
    known = _names_beside(name)
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        meant = f"{group}.{near[0]}" if group else near[0]
        return f"there is no setting {name}; did you mean {meant}? See {DOCUMENT}"
    listed = f" Group {group} has {', '.join(known)}." if known and group else ""
    return f"there is no setting {name}.{listed} See {DOCUMENT}"


def _names_beside(name: str) -> list[str]:
    """The settings and groups that are where an unknown one was looked for."""
    overrides = [
        arg for arg in sys.argv[1:] if "=" in arg and not arg.lstrip("+~").startswith(name)
    ]
    choices = [arg for arg in overrides if "." not in arg.partition("=")[0]]
    for given in (choices, []):
        GlobalHydra.instance().clear()
        try:
            with initialize_config_module("conf", version_base="1.3"):
                config = compose("run", overrides=given)
        except _NOT_COMPOSED:
            continue
        parent = OmegaConf.select(config, name.rpartition(".")[0]) if "." in name else config
        return list(map(str, parent)) if isinstance(parent, DictConfig) else []
    return []
