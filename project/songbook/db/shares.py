"""Places for long work that clients share: none of them can take more than half."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from functools import partial

from songbook.errors import ServiceUnavailable
from songbook.metrics import REFUSALS


class Shares:
    """A number of places, of which one client has at most half, but always one.

    A refusal is counted for the bound of this name.
    """

    def __init__(self, number: int, refusal: str, bound: str) -> None:
        self._number = number
        self._refusal, self._bound = refusal, bound
        self._taken: Counter[Hashable] = Counter()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def place(self, client: Hashable, seconds: float) -> AsyncIterator[None]:
        """Take a place for the block. Raises ServiceUnavailable after waiting for `seconds`."""
        release = await self.take(client, seconds)
        try:
            yield
        finally:
            release()

    async def take(self, client: Hashable, seconds: float) -> Callable[[], None]:
        """Take a place; return what releases it, to be called once.

        Raises ServiceUnavailable after waiting for `seconds`.
        """
        try:
            async with asyncio.timeout(seconds):
                while not self._is_free_for(client):
                    await self._freed.wait()
        except TimeoutError as error:
            REFUSALS.inc(self._bound)
            raise ServiceUnavailable(self._refusal) from error
        self._taken[client] += 1
        return partial(self._release, client)

    @property
    def taken(self) -> int:
        """The number of places that are taken."""
        return self._taken.total()

    def _release(self, client: Hashable) -> None:
        self._taken -= Counter([client])
        self._freed.set()
        self._freed = asyncio.Event()  # for those that have to go on waiting

    def _is_free_for(self, client: Hashable) -> bool:
        most = max(1, self._number // 2)
        return self._taken.total() < self._number and self._taken[client] < most
