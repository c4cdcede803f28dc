"""The command `seed`: the example data of a service, for its first run."""

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from sqlalchemy import NullPool, Table, exists, func, literal, select
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.sql.ddl import sort_tables

from songbook.cli.imports import ImportCommand
from songbook.cli.migrations import upgrade
from songbook.config import CommandError, Settings
from songbook.db import CompiledStatement, check_database, open_database, resolve_database
from songbook.errors import ServiceUnavailable
from songbook.models import owner_columns, table_of

_SEEDER = int.from_bytes(b"seed")
"""The key of the advisory lock."""


class SeedCommand(ImportCommand):
    """The command `seed`."""

    def seed(self) -> None:
        """Store the example data of the service in tables that are empty.

        Each is stored in a transaction of its own: a second run goes on where a first one ended,
        and waits for one that has not.
        """
        settings = self.settings.load()
        if settings.environment == "prod":
            raise CommandError("production gets no example data: import your own.")
        files = self._example_files()
        if not files:
            raise CommandError(f"{self.examples} has no file called after a resource.")
        self._require_no_owners(files)
        with resolve_database(settings) as url:
            check_database(url)
            if settings.url is None:
                upgrade(settings)
            with _turn(url):
                empty = asyncio.run(self._empty(url, files))
                for resource, file in files.items():
                    if resource in empty:
                        self.import_rows(resource, file)
        if filled := ", ".join(name for name in files if name not in empty):
            message = f"there are {filled} already: nothing was added to them."
            if not empty:
                raise CommandError(message)
            print(self.message(message), file=sys.stderr)

    def offer_examples(self, settings: Settings, url: URL) -> None:
        """Print how to get example data, on a terminal if the tables for them are empty."""
        if settings.environment == "prod" or not sys.stdout.isatty():
            return
        files = self._example_files()
        if not files:
            return
        try:
            empty = asyncio.run(self._empty(url, files))
        except (CommandError, ServiceUnavailable, asyncpg.PostgresError, OSError):
            return  # what is wrong with the database is told elsewhere
        if len(empty) == len(files):
            # make tells its commands that they are run by it
            command = "make seed" if "MAKELEVEL" in os.environ else f"{self.program} seed"
            print(f"Its tables are empty: `{command}`, in another terminal, stores example data.")

    def _example_files(self) -> dict[str, Path]:
        """Return the files of example data by the names of their resources, parents first."""
        if self.examples is None or not self.examples.is_dir():
            return {}
        found = {path.stem: path for path in self.examples.iterdir()}
        tables = {name: self._table(name) for name in self.resources() if name in found}
        order = sort_tables(tables.values())
        return {name: found[name] for name in sorted(tables, key=lambda n: order.index(tables[n]))}

    def _table(self, resource: str) -> Table:
        return table_of(self.family(resource).table)

    def _require_no_owners(self, resources: Iterable[str]) -> None:
        """Raise CommandError for resources whose rows have owners: nobody is the owner of them."""
        if owned := ", ".join(name for name in resources if owner_columns(self._table(name))):
            raise CommandError(
                f"{owned} have owners: take their files out of {self.examples}, and import them"
                " with --as USERNAME."
            )

    async def _empty(self, url: URL, resources: Iterable[str]) -> set[str]:
        """Return the resources that have no rows, deleted ones included. Raises CommandError."""
        tables = {name: self._table(name) for name in resources}
        rows = {n: exists(select(literal(1)).select_from(each)) for n, each in tables.items()}
        statement = CompiledStatement(
            select(*(each.label(name) for name, each in rows.items())), all_owners=True
        )
        async with open_database(url) as db:
            row = await db.fetch(statement.bind({}))
        assert row is not None, "a list of expressions gives a row"
        return {name for name in tables if not row[name]}


@contextmanager
def _turn(url: URL) -> Iterator[None]:
    """Hold the advisory lock, in a transaction whose loop runs only to begin and to end it."""
    transaction = create_async_engine(url, poolclass=NullPool).begin()
    with asyncio.Runner() as runner:
        connection = runner.run(transaction.__aenter__())
        try:
            runner.run(connection.execute(select(func.pg_advisory_xact_lock(_SEEDER))))
            yield
        finally:
            runner.run(transaction.__aexit__(None, None, None))
