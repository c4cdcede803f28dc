"""The console script `songbook`: the command line of the service in the current folder."""

import re
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

_EXAMPLE = 'cli = "app.__main__:cli"'
_ADVICE = (
    "songbook: run this beside a pyproject.toml that names the command line of a service:"
    f" [tool.songbook] {_EXAMPLE}."
)
_IMPORT_STRING = re.compile(r"(\w+(?:\.\w+)*):(\w+)")


def main() -> None:
    """Run the command line that `pyproject.toml` names."""
    try:
        tools = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["tool"]
        named = tools["songbook"]["cli"]
    except (OSError, KeyError, TypeError, ValueError):
        sys.exit(_ADVICE)
    sys.path.insert(0, str(Path.cwd()))  # as with `python -m`
    command_line = _find(str(named))
    if not callable(command_line):
        sys.exit(
            f"songbook: no command line is at `{named}`: correct pyproject.toml, as {_EXAMPLE}."
        )
    command_line()


def _find(named: str) -> Callable[[], Any] | None:
    """Return what an import string names, None if there is no such thing.

    Raises the errors of a module that is there, as `python -m` does.
    """
    match = _IMPORT_STRING.fullmatch(named)
    if match is None:
        return None
    module, name = match.groups()
    try:
        return getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        if f"{module}.".startswith(f"{error.name}."):
            return None
        raise
