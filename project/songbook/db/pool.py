"""The connection pool of a process, with a queue of waiters."""

import asyncio
from collections import deque
from contextlib import AsyncExitStack, suppress
from itertools import count

import asyncpg
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection

from songbook.db.engine import is_reusable
from songbook.db.statements import Use
from songbook.errors import ServiceUnavailable
from songbook.metrics import Counter

# After a failover a new connection may reach the primary; and an interrupted statement keeps its
# locks until PostgreSQL has received asyncpg's cancel request.
INVALIDATING_ERRORS = (
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,  # e.g. PostgreSQL closed the connection
    asyncio.CancelledError,
    TimeoutError,
)

_CLOSE_SECONDS = 2.0
"""How long PostgreSQL may take to receive a cancel request and to close a connection.

Also how long asyncpg waits for the end of a COPY that had ended when its sink failed.
"""

_TIMEOUTS = Counter(
    "songbook_pool_wait_timeouts_total", "Requests for which no connection was free in time."
)

Waiter = asyncio.Future[PoolProxiedConnection | None]


class PoolTimeout(ServiceUnavailable):
    """No connection was free in time."""


def timed_out() -> PoolTimeout:
    """Count a request for which no connection was free in time; return its exception."""
    _TIMEOUTS.inc()
    return PoolTimeout()


class ConnectionPool:
    """Connections of an engine's pool, outside any transaction, for waiters in their order.

    Lists and writes have `part` places each, so that of four connections or more two are always
    left to single rows. They are counted here, where a released connection goes to a waiter who has
    a place: with semaphores in front of the pool, lists of few rows cost 31 % more.

    A released connection is handed to the longest waiter directly: a trip through SQLAlchemy's pool
    costs 15 µs of the 100 that a small request takes.
    """

    def __init__(self, engine: AsyncEngine, size: int, timeout: float) -> None:
        self._engine = engine
        self._pool = engine.sync_engine.pool
        self.size = self._free = size
        self._timeout = timeout
        self.part = max(1, size // 2 - 1)
        # indexed by Use
        self._places = [size, self.part, self.part]
        self._waiters: list[deque[tuple[int, Waiter]]] = [deque() for _ in Use]
        self._arrivals = count()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def is_in_use(self) -> bool:
        """Return whether any connection is acquired."""
        return self._free < self.size

    @property
    def in_use(self) -> int:
        """The number of connections that are acquired."""
        return self.size - self._free

    def waiting(self, use: Use) -> int:
        """Return how many wait for a connection for this use."""
        return len(self._waiters[use])

    @property
    def deadline(self) -> float:
        """The deadline (loop time) of a request that starts to wait now."""
        return asyncio.get_running_loop().time() + self._timeout

    async def acquire(self, use: Use, deadline: float | None = None) -> PoolProxiedConnection:
        """Return a connection. Raises PoolTimeout if none is free by the deadline."""
        connection = await self.wait(use, deadline)
        if connection is not None:
            return connection
        try:
            return await self._check_out()
        except BaseException:
            self.release(None, use)
            raise

    async def wait(self, use: Use, deadline: float | None = None) -> PoolProxiedConnection | None:
        """Wait for a slot; return its connection, None if it has to be checked out of the pool.

        Raises PoolTimeout if no slot is free by the deadline.
        """
        if self._free and self._places[use]:
            self._free -= 1
            self._places[use] -= 1
            return None
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        entry = (next(self._arrivals), waiter)
        self._waiters[use].append(entry)
        timer = loop.call_at(deadline or self.deadline, _expire, waiter)
        try:
            return await waiter
        except BaseException:
            with suppress(ValueError):
                self._waiters[use].remove(entry)
            if waiter.done() and not (waiter.cancelled() or waiter.exception()):
                self.release(waiter.result(), use)  # cancelled at the same time
            raise
        finally:
            timer.cancel()

    def release(self, connection: PoolProxiedConnection | None, use: Use) -> None:
        """Release a slot: hand its connection over, or return it to the pool."""
        self._places[use] += 1
        waiter = self._next()
        reused = waiter and connection and is_reusable(connection)
        try:
            if connection and not reused:
                return_to_pool(connection)
        finally:
            if waiter is None:
                self._free += 1
            else:
                waiter.set_result(connection if reused else None)

    def discard(self, connection: PoolProxiedConnection, use: Use) -> None:
        """Close a connection in the background, and release its slot then."""
        held = AsyncExitStack()
        held.callback(self.release, connection, use)
        self.close_holding(connection.driver_connection, held)

    def close_holding(self, connection: asyncpg.Connection, held: AsyncExitStack) -> None:
        """Close a connection in the background, and close `held` then, after two seconds at most.

        asyncpg has sent a cancel request for an interrupted statement. PostgreSQL has to receive
        it: otherwise the backend runs on, up to its next write to the client, or for as long as a
        synchronous standby is frozen, while the pool opens another connection.
        """
        closing = asyncio.get_running_loop().create_task(_close(connection, held))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Wait for the connections that are being closed."""
        if self._closing:
            await asyncio.wait(self._closing)

    def _next(self) -> Waiter | None:
        """Return the longest waiter for whom there is a place, which it takes."""
        if not any(self._waiters):
            return None
        firsts: list[tuple[int, int]] = []
        for use, waiters in enumerate(self._waiters):
            while waiters and waiters[0][1].done():
                waiters.popleft()
            if waiters and self._places[use]:
                firsts.append((waiters[0][0], use))
        if not firsts:
            return None
        _, use = min(firsts)
        self._places[use] -= 1
        return self._waiters[use].popleft()[1]

    async def _check_out(self) -> PoolProxiedConnection:
        """Check a connection out of the pool; without a greenlet (35 µs) if one is idle."""
        if self._pool.checkedin():  # type: ignore[attr-defined]
            try:
                return self._pool.connect()
            except MissingGreenlet:  # closed or expired: a new one is needed
                pass
        try:
            return await self._engine.raw_connection()
        except Exception as error:
            raise ServiceUnavailable from error


def return_to_pool(connection: PoolProxiedConnection) -> None:
    """Return a connection to SQLAlchemy's pool; invalidate a closed one."""
    if connection.is_valid and connection.driver_connection.is_closed():  # type: ignore[union-attr]
        connection.invalidate()
    connection.close()


async def _close(connection: asyncpg.Connection, held: AsyncExitStack) -> None:
    async with held:
        with suppress(Exception):
            await connection.close(timeout=_CLOSE_SECONDS)


def _expire(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_exception(timed_out())
