"""The database: one pool, single statements, and sessions for work of several statements."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, NamedTuple

import asyncpg
from fastapi import Depends
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError, MissingGreenlet
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util.concurrency import in_greenlet
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request

from app.guards import guard
from app.problems import Unavailable

# PostgreSQL aborted the statement as a whole: nothing was written, and the same again may pass.
_RETRIED = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_ATTEMPTS = 3

_SERVER_SETTINGS = {
    "application_name": "songbook",
    "timezone": "UTC",
    "lock_timeout": "2s",
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
}
_CONNECT_SECONDS = 5
_COMMAND_SECONDS = 6
_COPY_SECONDS = 24 * 3600


class Query(NamedTuple):
    """A statement and its arguments, in the order of its parameters."""

    sql: str
    arguments: list[Any]


NOTHING = Query("", [])  # what is known to have no row: it takes no connection


class Database:
    """The one pool of a process; opened by the first statement, closed by `close`."""

    def __init__(
        self, url: URL | str, *, pool_size: int = 10, pool_timeout: float = 2.0, echo: bool = False
    ) -> None:
        self.engine = create_async_engine(
            url,
            echo=echo,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout,
            pool_recycle=1800,
            pool_use_lifo=True,
            pool_reset_on_return=None,
            hide_parameters=True,
            connect_args={
                "timeout": _CONNECT_SECONDS,
                "command_timeout": _COMMAND_SECONDS,
                "server_settings": _SERVER_SETTINGS,
            },
        )
        self._pool = self.engine.sync_engine.pool
        self._turns = asyncio.Semaphore(pool_size)
        self._pool_timeout = pool_timeout
        self._echo = echo
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)
        event.listen(self.engine.sync_engine, "do_connect", _connect)

    async def fetch(self, query: Query) -> asyncpg.Record | None:
        """Run one statement in one round trip, committed when this returns; return its row.

        Raises Unavailable when no connection is to be had, and asyncpg's errors as they are.
        """
        if query is NOTHING:
            return None
        for _ in range(_ATTEMPTS - 1):
            with suppress(*_RETRIED):
                return await self._fetch(query)
        return await self._fetch(query)

    async def _fetch(self, query: Query) -> asyncpg.Record | None:
        if self._echo:  # the engine does not see what goes to the driver
            self.engine.sync_engine.logger.info(query.sql)
        lent = await self._lend()
        try:
            row: asyncpg.Record | None = await lent.driver_connection.fetchrow(  # type: ignore[union-attr]
                query.sql, *query.arguments
            )
        except (asyncpg.ReadOnlySQLTransactionError, asyncio.CancelledError, TimeoutError):
            # The next connection may reach the new primary; and one that was left between the
            # parts of a statement keeps its locks until it is used again.
            lent.invalidate()
            raise
        else:
            return row
        finally:
            self._take_back(lent)

    async def _lend(self) -> PoolProxiedConnection:
        """Lend a connection outside any transaction; wait for it at most `pool_timeout`."""
        if self._turns.locked():
            try:
                await asyncio.wait_for(self._turns.acquire(), self._pool_timeout)
            except TimeoutError as error:
                raise Unavailable from error
        else:
            await self._turns.acquire()
        try:
            return await self._check_out()
        except BaseException:
            self._turns.release()
            raise

    def _take_back(self, lent: PoolProxiedConnection) -> None:
        """Return a connection to the pool, or give up one that broke."""
        try:
            if lent.is_valid and lent.driver_connection.is_closed():  # type: ignore[union-attr]
                lent.invalidate()
            lent.close()
        finally:
            self._turns.release()

    async def _check_out(self) -> PoolProxiedConnection:
        """Take a connection out of the pool; without a greenlet (35 µs) if an idle one is there."""
        if self._pool.checkedin():  # type: ignore[attr-defined]
            try:
                return self._pool.connect()
            except MissingGreenlet:  # it was closed or too old, and has to be replaced
                pass
        try:
            return await self.engine.raw_connection()
        except Exception as error:
            raise Unavailable from error

    async def copy(
        self, table: str, columns: Sequence[str], rows: AsyncIterable[Sequence[Any]]
    ) -> None:
        """Copy rows into a table, all of them or, when anything is raised on the way, none."""
        lent = await self._lend()
        driver: asyncpg.Connection = lent.driver_connection
        try:
            async with driver.transaction():
                await driver.execute("SET LOCAL statement_timeout = 0")
                await driver.copy_records_to_table(
                    table, columns=columns, records=rows, timeout=_COPY_SECONDS
                )
        finally:
            self._take_back(lent)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a session; what is not committed inside is rolled back."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Refuse a connection that broke while idle, or that came back inside a transaction."""
    driver = connection.driver_connection
    if driver.is_closed() or driver.is_in_transaction():
        raise DisconnectionError


def _connect(dialect: Any, _record: object, arguments: Any, options: dict[str, Any]) -> Any:
    """Connect; where nothing can wait, refuse to before a coroutine is made that none awaits."""
    if not in_greenlet():
        raise MissingGreenlet
    try:
        return dialect.connect(*arguments, **options)
    except OSError as error:
        raise Unavailable from error


@guard(refuses=(503,))
async def database(request: Request) -> Database:
    """Return the database of the service that handles the request."""
    found: Database = request.app.state.database
    return found


async def open_session(db: Annotated[Database, Depends(database)]) -> AsyncIterator[AsyncSession]:
    """Open a session for one request; it ends before the answer is sent."""
    async with db.session() as session:
        yield session


DatabaseDep = Annotated[Database, Depends(database)]
SessionDep = Annotated[AsyncSession, Depends(open_session, scope="function")]
