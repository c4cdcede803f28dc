"""Reads that come at the same time: one statement answers all of them."""

import asyncio
from types import TracebackType
from typing import Any, Self, TypeAlias

from asyncpg import Record

MOST_TOGETHER = 100
"""How many requests one statement answers at most."""

Arguments: TypeAlias = list[Any]
Row: TypeAlias = Record | None


class LeftAlone(Exception):
    """Whoever was about to ask for a group has left it."""


class Group:
    """Those who ask together: the first asks for all, and the others wait for their rows.

    They join until the statement is sent, so that what a read shows was read after it came. What
    goes wrong for the first goes wrong for all; but if the first leaves, the others get LeftAlone.
    """

    def __init__(self, groups: dict[str, "Group"], key: str, arguments: Arguments) -> None:
        self._groups, self._key = groups, key
        self._asked = [arguments]
        self._others: list[asyncio.Future[Row]] = []

    def join(self, arguments: Arguments) -> asyncio.Future[Row]:
        """Join as one of the others."""
        row: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._asked.append(arguments)
        self._others.append(row)
        if len(self._asked) == MOST_TOGETHER:
            self.close()
        return row

    def close(self) -> list[Arguments]:
        """Let nobody join any more; return what all of them ask."""
        if self._groups.get(self._key) is self:
            del self._groups[self._key]
        return self._asked

    def answer(self, rows: list[Row]) -> None:
        """Give each of the others its row; the rows are in the order of what was asked."""
        for other, row in zip(self._others, rows[1:], strict=True):
            if not other.done():
                other.set_result(row)

    def __enter__(self) -> Self:
        self._groups[self._key] = self
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self.close()
        for other in self._others:
            if error and not other.done():
                other.set_exception(error if isinstance(error, Exception) else LeftAlone())
        self._others.clear()  # else an error and the group would keep each other
