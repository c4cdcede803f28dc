"""The database of the settings: its URL, and a check at the start."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from songbook.config import CommandError, Settings
from songbook.db.database import Database
from songbook.db.engine import TIMEOUTS
from songbook.errors import ServiceUnavailable

_TRIM_SECONDS = 10
"""How often the size of the log of the embedded PostgreSQL is checked."""


class DatabaseUnreachable(CommandError):
    """The database is unreachable."""


@contextmanager
def resolve_database(settings: Settings) -> Iterator[URL]:
    """Yield the URL of the database; the embedded PostgreSQL runs meanwhile.

    Nested uses, as migrations in `serve`, share the server. Raises CommandError if it cannot run.
    """
    if settings.url is not None:
        yield settings.url
        return
    from songbook.db import embedded  # noqa: PLC0415 - unused with DATABASE_URL

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


def is_missing(settings: Settings) -> bool:
    """Return whether `resolve_database` would create the embedded PostgreSQL."""
    if settings.url is not None:
        return False
    from songbook.db import embedded  # noqa: PLC0415 - unused with DATABASE_URL

    return not embedded.exists(settings.postgres_data)


def find_program(name: str) -> str | None:
    """Return the path of a program of PostgreSQL: the embedded one's, else that on the PATH."""
    from songbook.db import embedded  # noqa: PLC0415 - unused with DATABASE_URL

    return embedded.find_program(name) or shutil.which(name)


@contextmanager
def watch_database(settings: Settings) -> Iterator[None]:
    """Start the embedded PostgreSQL of `resolve_database` again when it dies within the block."""
    if settings.url is not None:
        yield
        return
    from songbook.db import embedded  # noqa: PLC0415 - unused with DATABASE_URL

    with embedded.watch(settings.postgres_data):
        yield


@asynccontextmanager
async def bounded_log(settings: Settings) -> AsyncIterator[None]:
    """Bound the log of the embedded PostgreSQL, if it is used, until the exit."""
    if settings.url is not None:
        yield
        return
    task = asyncio.create_task(_trim_log(settings.postgres_data))
    try:
        yield
    finally:
        task.cancel()


async def _trim_log(folder: Path) -> None:
    from songbook.db import embedded  # noqa: PLC0415 - unused with DATABASE_URL

    while True:
        embedded.trim_log(folder)
        await asyncio.sleep(_TRIM_SECONDS)


@asynccontextmanager
async def open_database(url: URL, **options: Any) -> AsyncIterator[Database]:
    """Yield a database with one connection. Raises CommandError if a table does not exist."""
    db = Database(url, pool_size=1, **options)
    try:
        yield db
    except asyncpg.UndefinedTableError:
        raise CommandError("a table does not exist: run the command migrate.") from None
    finally:
        await db.close()


def check_database(url: URL) -> None:
    """Connect once. Raises CommandError if rejected, DatabaseUnreachable without a response."""
    asyncio.run(_connect(url))


async def _connect(url: URL) -> None:
    place = f"{url.host or url.query.get('host') or 'localhost'}:{url.port or 5432}"
    try:
        async with open_database(url) as db, db.engine.connect():
            pass
    except DBAPIError as error:
        reason = _rejection(error.driver_exception, url)
        if reason:
            raise CommandError(f"PostgreSQL at {place} {reason}.") from None
        raise DatabaseUnreachable(f"PostgreSQL at {place} is not accepting connections.") from None
    except (ServiceUnavailable, asyncpg.PostgresError, asyncpg.InterfaceError):
        advice = "start it or correct DATABASE_URL or PG_…"
        raise DatabaseUnreachable(f"cannot connect to PostgreSQL at {place}: {advice}.") from None


def _rejection(error: BaseException | None, url: URL) -> str | None:
    """Return why PostgreSQL rejects the connection, None for a temporary reason."""
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return "rejects the user or the password of DATABASE_URL or PG_…"
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"has no database {url.database}: create it or correct DATABASE_URL or PG_…"
    if isinstance(error, asyncpg.ProtocolViolationError) and "startup parameter" in str(error):
        advice = f"configure ignore_startup_parameters = {','.join(TIMEOUTS)}"
        return f"is behind a PgBouncer that refuses the timeouts of the service: {advice}"
    return None
