"""The user as whom a command reads and stores the rows of owned tables."""

from typing import Annotated, NamedTuple

import typer
from sqlalchemy.engine import URL

from songbook.auth import find_account
from songbook.config import CommandError
from songbook.db import Principal, open_database
from songbook.models import Record, accounts_beside, table_of

As = Annotated[
    str | None,
    typer.Option("--as", metavar="USERNAME", help="The user who owns the rows of an owned table."),
]


class _Operator(NamedTuple):
    """Reads the rows of all owners, and owns none."""

    id: int | None = None
    is_superuser: bool = True


class _User(NamedTuple):
    id: int
    is_superuser: bool


async def find_principal(url: URL, table: type[Record], username: str | None) -> Principal:
    """Return the user of this name, without one the operator. Raises CommandError if unknown."""
    if username is None:
        return _Operator()
    accounts = accounts_beside(table_of(table))
    if accounts is None:
        raise CommandError("the service has no users: leave out --as.")
    async with open_database(url) as db:
        row = await db.fetch(find_account(accounts, "username", username))
    if row is None:
        raise CommandError(f"there is no user {username}: --as takes a username.")
    return _User(row["id"], row["is_superuser"])
