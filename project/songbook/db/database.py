"""The database: one pool, single statements, and connections for work of several statements."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol, TypeVar

import asyncpg
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from songbook.db.batching import Arguments, Group, LeftAlone
from songbook.db.engine import engine_of
from songbook.db.pool import GIVEN_UP, Lender, NoTurn, give_back
from songbook.db.statements import NOTHING, Query
from songbook.errors import Unavailable

# PostgreSQL aborted the statement as a whole: nothing was written, and the same again may pass.
RETRIED = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
ATTEMPTS = 3
_PAUSE_SECONDS = (0.01, 0.05)

Found = TypeVar("Found")


async def pause(attempt: int) -> None:
    """Wait before a statement is repeated, longer each time.

    The pause is random, so that two transactions which met do not meet again.
    """
    await asyncio.sleep(attempt * random.uniform(*_PAUSE_SECONDS))  # noqa: S311 - no secret


class Executor(Protocol):
    """What runs the statement of a handler: the database, or the transaction of a write."""

    def fetch(self, query: Query) -> Awaitable[asyncpg.Record | None]:
        """Run one statement; return its row."""


class SingleStatement:
    """Runs one statement on an executor, and refuses a second: nobody ships half a write."""

    executor: Executor
    _is_used = False

    def fetch(self, query: Query) -> Awaitable[asyncpg.Record | None]:
        """Run the statement; return its row. Raises RuntimeError for a second one."""
        if self._is_used:
            raise RuntimeError(
                "WriteDep runs one statement, which is committed by itself: use TransactionDep for"
                " several that belong together"
            )
        self._is_used = True
        return self.executor.fetch(query)


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
        self._groups: dict[str, Group] = {}
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
        if query.shared and self._lender.is_lending:
            return await self._fetch_together(query)
        return await self._perform(lambda driver: self.run(driver, query))

    async def _fetch_together(self, query: Query) -> asyncpg.Record | None:
        """Run one statement for all who ask in one turn of the loop, or while the first waits."""
        key = query.sql if query.together else f"{query.sql}{query.arguments}"
        until = self._lender.deadline
        while group := self._groups.get(key):
            with suppress(LeftAlone, NoTurn):
                return await group.join(query.arguments)
            if asyncio.get_running_loop().time() >= until:
                raise NoTurn
        with Group(self._groups, key, query.arguments) as group:
            await asyncio.sleep(0)  # those who came in the same turn of the loop join meanwhile
            rows = await self._perform(
                lambda driver: self._run_all(driver, query, group.close()), until
            )
            group.answer(rows)
            return rows[0]

    async def _perform(
        self, work: Callable[[asyncpg.Connection], Awaitable[Found]], until: float | None = None
    ) -> Found:
        """Do work of one statement on a connection; again, if PostgreSQL wants it repeated."""
        attempts = 0
        while True:
            attempts += 1
            lent = await self._lender.lend(until if attempts == 1 else None)
            try:
                return await work(lent.driver_connection)
            except GIVEN_UP:
                lent.invalidate()
                raise
            except RETRIED:
                if attempts == ATTEMPTS:
                    raise
            finally:
                self._lender.take_back(lent)
            await pause(attempts)  # without the connection

    async def _run_all(
        self, driver: asyncpg.Connection, query: Query, asked: list[Arguments]
    ) -> list[asyncpg.Record | None]:
        """Read the rows of all these arguments, in their order."""
        if not query.together or len(asked) == 1:
            return [await self.run(driver, query)] * len(asked)
        self._log(query.together)
        rows = await driver.fetch(query.together, [str(arguments[0]) for arguments in asked])
        found = {row["id"]: row for row in rows}
        return [found.get(arguments[0]) for arguments in asked]

    async def run(self, driver: asyncpg.Connection, query: Query) -> asyncpg.Record | None:
        """Run one statement on a connection that was lent; return its row.

        Raises asyncpg's errors as they are.
        """
        self._log(query.sql)
        row: asyncpg.Record | None = await driver.fetchrow(query.sql, *query.arguments)
        return row

    def _log(self, sql: str) -> None:
        """Log a statement when that is wanted: the engine does not see what goes to the driver."""
        if self._echo:
            self.engine.sync_engine.logger.info(sql)

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
            async with asyncio.timeout(seconds):
                await self._bulk_turns.acquire()
        except TimeoutError as error:
            raise Unavailable("Too many imports and exports are under way: try again.") from error
        try:
            async with self.connection() as driver:
                yield driver
        finally:
            self._bulk_turns.release()

    @asynccontextmanager
    async def sqlalchemy_connection(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection as SQLAlchemy has it; what is not committed inside is rolled back.

        Raises Unavailable when no connection is to be had.
        """
        lent = await self._lender.turn()
        try:
            if lent:
                give_back(lent)  # SQLAlchemy takes it out of the pool itself
            async with self.engine.connect() as connection:
                yield connection
        finally:
            self._lender.take_back(None)

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
