"""Serves with a promise broken on purpose: `python faults_sabotage.py NAME serve`."""

import sys
from importlib import import_module
from pathlib import Path
from runpy import run_module
from typing import Any

sys.path.insert(0, str(Path.cwd()))  # the folder of the project, as `python -m` has it


def wait() -> None:
    """Let statements last as long as they like."""
    engine: Any = import_module("songbook.db.engine")
    engine._COMMAND_SECONDS = 3600  # noqa: SLF001 - what no setting can do


def overwrite() -> None:
    """Update songs whatever their version."""
    songs: Any = import_module("app.resources.songs").songs
    update = songs.update
    object.__setattr__(songs, "update", lambda number, values, _: update(number, values, None))


def guess() -> None:
    """Call a write failed when its connection broke, although it may be stored."""
    transactions: Any = import_module("songbook.crud.transactions")
    transactions.is_outcome_unknown = lambda _: False


SABOTAGE = {"wait": wait, "overwrite": overwrite, "guess": guess}

if __name__ == "__main__":
    SABOTAGE[sys.argv.pop(1)]()
    run_module("app", run_name="__main__")
