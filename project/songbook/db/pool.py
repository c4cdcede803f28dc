"""The connections of a process: who has one, and who waits for it."""

import asyncio
from collections import deque
from contextlib import suppress

import asyncpg
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection

from songbook.db.engine import can_be_passed_on
from songbook.errors import Unavailable

# The next connection may reach the new primary; and one that was left between the parts of a
# statement keeps its locks until it is used again.
GIVEN_UP = (
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,  # as when PostgreSQL has said its last word
    asyncio.CancelledError,
    TimeoutError,
)


class NoTurn(Unavailable):
    """No connection came in time."""


Turn = asyncio.Future[PoolProxiedConnection | None]


class Lender:
    """Lends the connections of an engine's pool, outside any transaction; first come, first served.

    Whoever waits gets the connection that the next one gives back, past the pool: the way into it
    and out again costs 15 µs of the 100 that a small request takes.
    """

    def __init__(self, engine: AsyncEngine, size: int, seconds: float) -> None:
        self._engine = engine
        self._pool = engine.sync_engine.pool
        self._size = self._free = size
        self._seconds = seconds
        self._waiting: deque[Turn] = deque()

    @property
    def is_lending(self) -> bool:
        """Return whether anybody has a connection."""
        return self._free < self._size

    @property
    def deadline(self) -> float:
        """Return until when, by the clock of the loop, whoever comes now waits for a connection."""
        return asyncio.get_running_loop().time() + self._seconds

    async def lend(self, until: float | None = None) -> PoolProxiedConnection:
        """Lend a connection; raise NoTurn if none comes back `until` then, within the seconds."""
        lent = await self.turn(until)
        if lent is not None:
            return lent
        try:
            return await self._check_out()
        except BaseException:
            self.take_back(None)
            raise

    async def turn(self, until: float | None = None) -> PoolProxiedConnection | None:
        """Wait for a turn; return the connection that was passed on, None if the pool has one.

        Raises NoTurn if it does not come `until` then, within the seconds if it is left out.
        """
        if self._free:
            self._free -= 1
            return None
        loop = asyncio.get_running_loop()
        turn: Turn = loop.create_future()
        self._waiting.append(turn)
        timer = loop.call_at(until or self.deadline, _give_up, turn)
        try:
            return await turn
        except BaseException:
            with suppress(ValueError):
                self._waiting.remove(turn)
            came = turn.done() and not (turn.cancelled() or turn.exception())
            if came:  # when nobody waited any more
                self.take_back(turn.result())
            raise
        finally:
            timer.cancel()

    def take_back(self, lent: PoolProxiedConnection | None) -> None:
        """End a turn: pass its connection on, return it to the pool, or give up one that broke."""
        turn = self._next()
        passed_on = turn and lent and can_be_passed_on(lent)
        try:
            if lent and not passed_on:
                give_back(lent)
        finally:
            if turn is None:
                self._free += 1
            else:
                turn.set_result(lent if passed_on else None)

    def _next(self) -> Turn | None:
        """Return the turn of whoever has waited longest, and still does."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                return turn
        return None

    async def _check_out(self) -> PoolProxiedConnection:
        """Take a connection out of the pool; without a greenlet (35 µs) if an idle one is there."""
        if self._pool.checkedin():  # type: ignore[attr-defined]
            try:
                return self._pool.connect()
            except MissingGreenlet:  # it was closed or too old, and has to be replaced
                pass
        try:
            return await self._engine.raw_connection()
        except Exception as error:
            raise Unavailable from error


def give_back(lent: PoolProxiedConnection) -> None:
    """Return a connection to its pool, or give up one that broke."""
    if lent.is_valid and lent.driver_connection.is_closed():  # type: ignore[union-attr]
        lent.invalidate()
    lent.close()


def _give_up(turn: Turn) -> None:
    if not turn.done():
        turn.set_exception(NoTurn())
