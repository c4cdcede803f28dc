"""Places that clients share: who gets one, who waits, and who is refused."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from songbook.db.shares import Shares
from songbook.errors.problems import ServiceUnavailable


async def test_a_client_takes_half_of_the_places_and_others_the_rest() -> None:
    shares = Shares(4, "Too many.", "test")
    async with AsyncExitStack() as held:
        for client in ("one", "one", "another"):
            await held.enter_async_context(shares.place(client, 0))
        with pytest.raises(ServiceUnavailable, match=r"Too many\."):
            await held.enter_async_context(shares.place("one", 0.01))
        await held.enter_async_context(shares.place("a third", 0))
        with pytest.raises(ServiceUnavailable):
            await held.enter_async_context(shares.place("a fourth", 0))

    async with shares.place("one", 0), shares.place("one", 0):
        pass


async def test_a_client_that_waits_gets_the_first_place_that_it_may_have() -> None:
    shares = Shares(2, "Too many.", "test")
    async with AsyncExitStack() as held:
        async with shares.place("one", 0):
            own = asyncio.create_task(held.enter_async_context(shares.place("one", 5)))
            async with shares.place("another", 0):
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not own.done()  # the place that was freed is not in its half
        await own


async def test_a_single_place_is_for_anybody() -> None:
    shares = Shares(1, "Too many.", "test")
    async with shares.place("one", 0):
        with pytest.raises(ServiceUnavailable):
            async with shares.place("another", 0.01):
                pass
    async with shares.place("another", 0):
        pass
