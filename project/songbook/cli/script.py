"""The console script `songbook`: the command line of the service in the current folder."""

import sys
import tomllib
from importlib import import_module
from pathlib import Path

_ADVICE = (
    "songbook: run this beside a pyproject.toml that names the command line of a service:"
    ' [tool.songbook] cli = "app.__main__:cli".'
)


def main() -> None:
    """Run the command line that `pyproject.toml` names."""
    try:
        tools = tomllib.loads(Path("pyproject.toml").read_text())["tool"]
        module, _, name = tools["songbook"]["cli"].partition(":")
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        sys.exit(_ADVICE)
    sys.path.insert(0, str(Path.cwd()))  # as with `python -m`
    getattr(import_module(module), name)()
