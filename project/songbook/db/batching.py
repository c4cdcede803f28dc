"""Batches: reads that arrive at the same time are answered by one statement."""

import asyncio
from types import TracebackType
from typing import Any, Self, TypeAlias

from asyncpg import Record

MAX_BATCH = 100
"""The maximum number of reads in a batch."""

Arguments: TypeAlias = list[Any]
Row: TypeAlias = Record | None


class LeaderCancelled(Exception):
    """The request that led the batch was cancelled."""


class Batch:
    """A batch of reads: the first request runs the statement, the others wait for their rows.

    Requests join until the statement is sent, so that a row is never older than the request. An
    error of the first request is raised in all; if it is cancelled, the others get LeaderCancelled.
    """

    def __init__(self, batches: dict[str, "Batch"], key: str, arguments: Arguments) -> None:
        self._batches, self._key = batches, key
        self._arguments = [arguments]
        self._followers: list[asyncio.Future[Row]] = []

    def add(self, arguments: Arguments) -> asyncio.Future[Row]:
        """Add a request; return the future of its row."""
        row: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._arguments.append(arguments)
        self._followers.append(row)
        if len(self._arguments) == MAX_BATCH:
            self.seal()
        return row

    def seal(self) -> list[Arguments]:
        """Let no more requests join; return the arguments of all."""
        if self._batches.get(self._key) is self:
            del self._batches[self._key]
        return self._arguments

    def resolve(self, rows: list[Row]) -> None:
        """Set the rows, which are in the order of the arguments."""
        for follower, row in zip(self._followers, rows[1:], strict=True):
            if not follower.done():
                follower.set_result(row)

    def __enter__(self) -> Self:
        self._batches[self._key] = self
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self.seal()
        for row in self._followers:
            if error and not row.done():
                row.set_exception(error if isinstance(error, Exception) else LeaderCancelled())
        self._followers.clear()  # breaks the reference cycle of an error and the batch
