"""The database: one pool, single statements, and connections for work of several statements."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, NamedTuple, Protocol

import asyncpg
from fastapi import Depends
from sqlalchemy.engine import URL
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request

from app.engine import engine_of
from app.guards import guard
from app.lending import Lender, give_back
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
        self._lender = Lender(self.engine, pool_size, pool_timeout)
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
        lent = await self._lender.lend()
        try:
            row = await self.run(lent.driver_connection, query)
        except GIVEN_UP:
            lent.invalidate()
            raise
        else:
            return row
        finally:
            self._lender.take_back(lent)

    async def run(self, driver: asyncpg.Connection, query: Query) -> asyncpg.Record | None:
        """Run one statement on a connection that was lent; return its row.

        Raises asyncpg's errors as they are.
        """
        if self._echo:  # the engine does not see what goes to the driver
            self.engine.sync_engine.logger.info(query.sql)
        row: asyncpg.Record | None = await driver.fetchrow(query.sql, *query.arguments)
        return row

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend the driver's connection, outside any transaction, for work of several statements.

        One that is left inside a transaction is given up, and so is what was done in it. Raises
        Unavailable when no connection is to be had.
        """
        lent = await self._lender.lend()
        try:
            yield lent.driver_connection
        except GIVEN_UP:
            lent.invalidate()
            raise
        finally:
            self._lender.take_back(lent)

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
        """Open a session; what is not committed inside is rolled back.

        Raises Unavailable when no connection is to be had.
        """
        lent = await self._lender.turn()
        try:
            if lent:
                give_back(lent)  # the session takes it out of the pool itself
            async with AsyncSession(self.engine, expire_on_commit=False) as session:
                yield session
        finally:
            self._lender.take_back(None)

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
