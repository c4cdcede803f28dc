"""The database: one pool, single statements, and connections for work of several statements."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, NamedTuple, Protocol

import asyncpg
from fastapi import Depends
from sqlalchemy.engine import URL
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.pool import PoolProxiedConnection
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request

from app.engine import engine_of
from app.guards import guard
from app.problems import Unavailable

# PostgreSQL aborted the statement as a whole: nothing was written, and the same again may pass.
RETRIED = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
ATTEMPTS = 3

# The next connection may reach the new primary; and one that was left between the parts of a
# statement keeps its locks until it is used again.
GIVEN_UP = (
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,  # as when PostgreSQL has said its last word
    asyncio.CancelledError,
    TimeoutError,
)


class Query(NamedTuple):
    """A statement and its arguments, in the order of its parameters."""

    sql: str
    arguments: list[Any]


NOTHING = Query("", [])  # what is known to have no row: it takes no connection


class Executor(Protocol):
    """What runs the statement of a handler: the database, or the transaction of a write."""

    async def fetch(self, query: Query) -> asyncpg.Record | None:
        """Run one statement; return its row."""


class Database:
    """The one pool of a process; opened by the first statement, closed by `close`."""

    def __init__(
        self,
        url: URL | str,
        *,
        pool_size: int = 10,
        pool_timeout: float = 2.0,
        bulk_at_once: int = 4,
        bulk_seconds: float = 3600.0,
        echo: bool = False,
    ) -> None:
        self.engine = engine_of(url, pool_size=pool_size, pool_timeout=pool_timeout, echo=echo)
        self._pool = self.engine.sync_engine.pool
        self._turns = asyncio.Semaphore(pool_size)
        self._bulk_turns = asyncio.Semaphore(min(bulk_at_once, pool_size // 2 or 1))
        self.pool_timeout = pool_timeout
        self.bulk_seconds = bulk_seconds
        self._echo = echo

    async def fetch(self, query: Query) -> asyncpg.Record | None:
        """Run one statement in one round trip, committed when this returns; return its row.

        Raises Unavailable when no connection is to be had, and asyncpg's errors as they are.
        """
        if query is NOTHING:
            return None
        for _ in range(ATTEMPTS - 1):
            with suppress(*RETRIED):
                return await self._fetch(query)
        return await self._fetch(query)

    async def _fetch(self, query: Query) -> asyncpg.Record | None:
        lent = await self._lend()
        try:
            row = await self.run(lent.driver_connection, query)
        except GIVEN_UP:
            lent.invalidate()
            raise
        else:
            return row
        finally:
            self._take_back(lent)

    async def run(self, driver: asyncpg.Connection, query: Query) -> asyncpg.Record | None:
        """Run one statement on a connection that was lent; return its row.

        Raises asyncpg's errors as they are.
        """
        if self._echo:  # the engine does not see what goes to the driver
            self.engine.sync_engine.logger.info(query.sql)
        row: asyncpg.Record | None = await driver.fetchrow(query.sql, *query.arguments)
        return row

    async def _lend(self) -> PoolProxiedConnection:
        """Lend a connection outside any transaction; wait for it at most `pool_timeout`."""
        if self._turns.locked():
            try:
                await asyncio.wait_for(self._turns.acquire(), self.pool_timeout)
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

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend the driver's connection, outside any transaction, for work of several statements.

        One that is left inside a transaction is given up, and so is what was done in it. Raises
        Unavailable when no connection is to be had.
        """
        lent = await self._lend()
        try:
            yield lent.driver_connection
        except GIVEN_UP:
            lent.invalidate()
            raise
        finally:
            self._take_back(lent)

    @asynccontextmanager
    async def bulk(self, seconds: float) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection for a COPY, when it is its turn: some are left for everybody else.

        Raises Unavailable after waiting for `seconds`.
        """
        try:
            await asyncio.wait_for(self._bulk_turns.acquire(), seconds)
        except TimeoutError as error:
            raise Unavailable("Too many imports and exports are under way: try again.") from error
        try:
            async with self.connection() as driver:
                yield driver
        finally:
            self._bulk_turns.release()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """Open a session; what is not committed inside is rolled back."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


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
