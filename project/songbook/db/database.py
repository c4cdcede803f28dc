"""The database: single statements and connections from one pool."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Protocol, TypeVar

import asyncpg
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import PoolProxiedConnection

from songbook.db.batching import Arguments, Batch, LeaderCancelled
from songbook.db.engine import create_engine, is_usable
from songbook.db.outcomes import was_not_sent
from songbook.db.pool import (
    INVALIDATING_ERRORS,
    ConnectionPool,
    PoolTimeout,
    return_to_pool,
    timed_out,
)
from songbook.db.replication import check_replication
from songbook.db.sessions import observing
from songbook.db.shares import Shares
from songbook.db.statements import NO_ROW, BoundStatement, Principal, Use
from songbook.db.timing import Timing
from songbook.metrics import Counter, Histogram
from songbook.tracing import StatementTracer

# The statement was rolled back as a whole, and may succeed when repeated.
RETRYABLE_ERRORS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
MAX_ATTEMPTS = 3
_PAUSE_SECONDS = (0.01, 0.05)

_STATEMENTS = Counter(
    "songbook_statements_total",
    "Statements, without those of imports and exports.",
)
_BATCHED = Histogram(
    "songbook_batched_reads",
    "The requests that one statement of those that read for several answers.",
    bounds=(1, 2, 5, 10, 20, 50, 100),
)
_RETRIES = Counter("songbook_retries_total", "Statements that were tried again.", ("reason",))

T = TypeVar("T")


async def pause(attempt: int) -> None:
    """Wait before a retry, longer after each attempt, at random so that transactions part."""
    await asyncio.sleep(attempt * random.uniform(*_PAUSE_SECONDS))  # noqa: S311 - no secret


def count_retry(error: BaseException) -> None:
    """Count that a statement or a transaction is tried again after an error."""
    reason = "connection"
    if isinstance(error, RETRYABLE_ERRORS):
        is_deadlock = isinstance(error, asyncpg.DeadlockDetectedError)
        reason = "deadlock" if is_deadlock else "serialization"
    _RETRIES.inc(reason)


class Executor(Protocol):
    """Runs single statements: the database, or the transaction of a write."""

    def fetch(self, statement: BoundStatement) -> Awaitable[asyncpg.Record | None]:
        """Run a statement; return its row."""


class SingleStatement:
    """Runs one statement on an executor; a second one would not be in its transaction."""

    executor: Executor
    _is_used = False

    def fetch(self, statement: BoundStatement) -> Awaitable[asyncpg.Record | None]:
        """Run the statement; return its row. Raises RuntimeError for a second one."""
        if self._is_used:
            raise RuntimeError(
                "WriteDep runs one statement, which is committed by itself: use TransactionDep for"
                " several that belong together"
            )
        self._is_used = True
        return self.executor.fetch(statement)


class Database:
    """The database of a process, with one pool; `close` closes all connections."""

    def __init__(
        self,
        url: URL | str,
        *,
        pool_size: int = 20,
        pool_timeout: float = 2.0,
        bulk_at_once: int = 3,
        bulk_seconds: float = 3600.0,
        echo: bool = False,
        tracer: StatementTracer | None = None,
    ) -> None:
        self.engine = create_engine(url, pool_size=pool_size, pool_timeout=pool_timeout, echo=echo)
        self.pool = ConnectionPool(self.engine, pool_size, pool_timeout)
        self._batches: dict[str, Batch] = {}
        self._bulk_places = Shares(
            min(bulk_at_once, max(1, self.pool.part - 1)),
            "Too many imports and exports are in progress: try again.",
            "bulk_at_once",
        )
        self.pool_timeout = pool_timeout
        self.bulk_seconds = bulk_seconds
        self._echo = echo
        self._tracer = tracer
        self.timing: Timing | None = None
        self.principal: Principal | None = None

    def for_principal(
        self, principal: Principal | None, timing: Timing | None = None
    ) -> "Database":
        """Return the same database for the statements of a principal, which `timing` measures."""
        own = object.__new__(Database)
        own.__dict__ = {**self.__dict__, "principal": principal, "timing": timing}  # 0.3 µs
        return own

    def resolve(self, statement: BoundStatement) -> BoundStatement:
        """Return a statement with its SQL, those of owned tables for the principal.

        Raises RuntimeError for them without one: forgetting it must not show the rows of all.
        """
        if statement.bind_principal is None:
            return statement
        return statement.bind_principal(self.principal)

    async def fetch(
        self, statement: BoundStatement, deadline: float | None = None
    ) -> asyncpg.Record | None:
        """Run and commit a statement in one round trip; return its row.

        Raises PoolTimeout if no connection is free by the deadline (loop time), by default that of
        the pool; ServiceUnavailable if PostgreSQL cannot be reached, and asyncpg's errors.
        """
        if statement is NO_ROW:
            return None
        if statement.bind_principal:
            statement = self.resolve(statement)
        if statement.coalesce and self.pool.is_in_use:
            return await self._fetch_batched(statement, deadline or self.pool.deadline)
        return await self._with_connection(
            lambda connection: self.fetch_on(connection, statement), statement.use, deadline
        )

    async def _fetch_batched(
        self, statement: BoundStatement, deadline: float
    ) -> asyncpg.Record | None:
        """Coalesce identical reads that arrive in one iteration of the loop, or while one waits."""
        key = statement.batch_sql or f"{statement.sql}{statement.arguments}"
        while batch := self._batches.get(key):
            with suppress(LeaderCancelled, PoolTimeout):
                added = batch.add(statement.arguments)
                return await (self.timing.measure(added) if self.timing else added)
            if asyncio.get_running_loop().time() >= deadline:
                raise timed_out()
        with Batch(self._batches, key, statement.arguments) as batch:
            await asyncio.sleep(0)  # requests of the same iteration of the loop join meanwhile
            rows = await self._with_connection(
                lambda connection: self._run_batch(connection, statement, batch.seal()),
                statement.use,
                deadline,
            )
            batch.resolve(rows)
            return rows[0]

    async def _with_connection(
        self,
        work: Callable[[asyncpg.Connection], Awaitable[T]],
        use: Use,
        deadline: float | None = None,
    ) -> T:
        """Call `work` with a connection; retry after RETRYABLE_ERRORS and what was not sent."""
        attempts = 0
        while True:
            attempts += 1
            acquired = await self.pool.acquire(use, deadline if attempts == 1 else None)
            release: Callable[[PoolProxiedConnection, Use], None] = self.pool.release
            try:
                return await work(acquired.driver_connection)
            except INVALIDATING_ERRORS as error:
                release = self.pool.discard
                if attempts == MAX_ATTEMPTS or not was_not_sent(error):
                    raise
                count_retry(error)
            except RETRYABLE_ERRORS as error:
                if attempts == MAX_ATTEMPTS:
                    raise
                count_retry(error)
            finally:
                release(acquired, use)
            await pause(attempts)  # without the connection

    async def _run_batch(
        self, connection: asyncpg.Connection, statement: BoundStatement, arguments: list[Arguments]
    ) -> list[asyncpg.Record | None]:
        """Return the rows for a list of arguments, in their order."""
        _BATCHED.observe(len(arguments))
        if not statement.batch_sql or len(arguments) == 1:
            return [await self.fetch_on(connection, statement)] * len(arguments)
        self._log(statement.batch_sql)
        _STATEMENTS.inc()
        ids = [str(each[0]) for each in arguments]
        fetching = connection.fetch(statement.batch_sql, ids)
        found = await self.observed(statement.batch_sql, fetching, len(ids))
        rows = {row["id"]: row for row in found}
        return [rows.get(each[0]) for each in arguments]

    async def fetch_on(
        self, connection: asyncpg.Connection, statement: BoundStatement
    ) -> asyncpg.Record | None:
        """Run one statement on an acquired connection; return its row. Raises asyncpg's errors."""
        if statement.bind_principal:
            statement = self.resolve(statement)
        self._log(statement.sql)
        _STATEMENTS.inc()
        fetching = connection.fetchrow(statement.sql, *statement.arguments)
        row: asyncpg.Record | None = await self.observed(statement.sql, fetching)
        check_replication(connection)
        return row

    def observed(self, sql: str, running: Awaitable[T], batch_size: int = 1) -> Awaitable[T]:
        """Return `running`, a statement, with its span and its time where they are recorded."""
        if self._tracer:
            running = self._tracer.trace(sql, running, batch_size)
        return self.timing.measure(running) if self.timing else running

    def _log(self, sql: str) -> None:
        """Log a statement with ECHO_SQL, as the engine cannot: it goes to the driver directly."""
        if self._echo:
            self.engine.sync_engine.logger.info(sql)

    @asynccontextmanager
    async def connection(
        self, use: Use = Use.WRITE, then: Callable[[], None] | None = None
    ) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection outside any transaction; an open one is discarded at the end.

        `then` is called when the connection is free or closed. Raises ServiceUnavailable if none is
        free in time.
        """
        async with AsyncExitStack() as held:
            if then:
                held.callback(then)
            acquired = await self.pool.acquire(use)
            held.callback(self.pool.release, acquired, use)
            driver_connection = acquired.driver_connection
            try:
                yield driver_connection
            except BaseException as error:
                if isinstance(error, INVALIDATING_ERRORS) or not is_usable(driver_connection):
                    self.pool.close_holding(driver_connection, held.pop_all())
                raise

    @asynccontextmanager
    async def bulk(
        self, seconds: float, use: Use, client: str = ""
    ) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection for a COPY, if half of those are not in use for the same client.

        Only part of the places of a use is taken by these. Raises ServiceUnavailable after waiting
        for `seconds`.
        """
        release = await self._bulk_places.take(client, seconds)
        async with self.connection(use, release) as connection:
            yield connection

    @asynccontextmanager
    async def sqlalchemy_connection(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection of SQLAlchemy for writes, which rolls back what was not committed.

        Raises ServiceUnavailable if none is free in time.
        """
        async with AsyncExitStack() as held:
            acquired = await self.pool.wait(Use.WRITE)
            held.callback(self.pool.release, None, Use.WRITE)
            if acquired:
                return_to_pool(acquired)  # SQLAlchemy takes it out of the pool itself
            connection = await held.enter_async_context(self.engine.connect())
            if connection.sync_connection and (self._tracer or self.timing):
                held.enter_context(observing(connection.sync_connection, self._tracer, self.timing))
            driver_connection = (await connection.get_raw_connection()).driver_connection
            try:
                yield connection
            except INVALIDATING_ERRORS:
                held.push_async_callback(connection.invalidate)
                self.pool.close_holding(driver_connection, held.pop_all())
                raise

    @property
    def bulk_in_progress(self) -> int:
        """The number of imports and exports that have a connection."""
        return self._bulk_places.taken

    async def close(self) -> None:
        """Close every connection."""
        await self.pool.close()
        await self.engine.dispose()
