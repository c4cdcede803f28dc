"""Connections to the database of the settings, for a process that begins its work."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from songbook.config import CommandError, Settings
from songbook.db.database import Database
from songbook.errors import ServiceUnavailable


class DatabaseUnreachable(CommandError):
    """Nothing answers where the database should be."""


@contextmanager
def resolve_database(settings: Settings) -> Iterator[URL]:
    """Give the URL of the database of the settings; the embedded one runs while it is used.

    Inside of another, as the migrations are when `serve` starts, it leaves the server to that one.
    Raises CommandError when that cannot run.
    """
    if settings.url is not None:
        yield settings.url
        return
    from songbook.db import embedded  # noqa: PLC0415 - not loaded where a database is given

    is_inner = embedded.is_attached(settings.postgres_data)
    try:
        url = embedded.attach(settings.postgres_data)
    except embedded.EmbeddedError as error:
        raise CommandError(str(error)) from None
    try:
        yield make_url(url)
    finally:
        if not is_inner:
            embedded.detach(settings.postgres_data)


@asynccontextmanager
async def open_database(url: URL, **options: Any) -> AsyncIterator[Database]:
    """Give a database with one connection, for a command.

    Raises CommandError if it lacks a table.
    """
    db = Database(url, pool_size=1, **options)
    try:
        yield db
    except asyncpg.UndefinedTableError:
        raise CommandError("a table does not exist: run the command migrate.") from None
    finally:
        await db.close()


def check_database(url: URL) -> None:
    """Connect once. Raises CommandError if it is refused, DatabaseUnreachable without an answer."""
    asyncio.run(_connect(url))


async def _connect(url: URL) -> None:
    place = f"{url.host or url.query.get('host') or 'localhost'}:{url.port or 5432}"
    try:
        async with open_database(url) as db, db.engine.connect():
            pass
    except DBAPIError as error:
        reason = _refusal(error.driver_exception, url)
        if reason:
            raise CommandError(f"PostgreSQL at {place} {reason}.") from None
        raise DatabaseUnreachable(f"PostgreSQL at {place} is not accepting connections.") from None
    except (ServiceUnavailable, asyncpg.PostgresError, asyncpg.InterfaceError):
        advice = "start it or correct DATABASE_URL or PG_…"
        raise DatabaseUnreachable(f"cannot connect to PostgreSQL at {place}: {advice}.") from None


def _refusal(error: BaseException | None, url: URL) -> str | None:
    """Say why PostgreSQL does not take us in, None when that may pass by itself."""
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return "rejects the user or the password of DATABASE_URL or PG_…"
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"has no database {url.database}: create it or correct DATABASE_URL or PG_…"
    return None
