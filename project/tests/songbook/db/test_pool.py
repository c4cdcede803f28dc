"""The places of lists and writes in the pool, and who waits for them."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy.engine import URL

from songbook.db.database import Database
from songbook.db.pool import PoolTimeout
from songbook.db.statements import BoundStatement, Use
from tests.support.databases import backends, locked, waiting
from tests.support.marks import slow
from tests.support.services import SAMPLES

pytestmark = pytest.mark.long

BOOK = {"name": "a", "author": "b"}
PLACES = 2
SLEEP = "SELECT pg_sleep(0.05)"


@pytest.fixture
async def client(breakable_url: URL) -> AsyncIterator[AsyncClient]:
    """Give a client of a service with six connections: lists and writes have two places each."""
    async with SAMPLES.on(breakable_url, pool_size=6, pool_timeout=0.3) as (client, _):
        yield client


@pytest.fixture
async def database(breakable_url: URL) -> AsyncIterator[Database]:
    """Give a pool of six connections."""
    database = Database(breakable_url, pool_size=6, pool_timeout=30)
    yield database
    await database.close()


@slow
@pytest.mark.parametrize("attack", ["lists", "writes", "sessions", "lists and writes"])
async def test_requests_that_wait_for_a_table_leave_connections_to_single_rows(
    breakable_url: URL, client: AsyncClient, attack: str
) -> None:
    town = await client.post("/towns", json={"name": attack, "population": 1})
    asked: list[Coroutine[Any, Any, Response]] = []
    if "lists" in attack:
        asked += [client.get(f"/books?limit={1 + n}") for n in range(20)]
    if "writes" in attack:
        asked += [client.post("/books", json=BOOK) for _ in range(20)]
    if "sessions" in attack:
        asked += [client.post("/by-session", json=BOOK) for _ in range(20)]
    async with locked(breakable_url, "book") as lock:
        tasks = [asyncio.create_task(each) for each in asked]
        await waiting(lock, PLACES * (len(asked) // 20))
        row = await client.get(town.headers["location"])
        other_list = await client.get("/towns")
        other_write = await client.patch(town.headers["location"], json={"population": 2})
        number = len(await backends(lock))
    await asyncio.gather(*tasks)

    assert row.status_code == 200
    assert other_list.status_code == (503 if "lists" in attack else 200)
    assert other_write.status_code == (200 if attack == "lists" else 503)
    assert number <= 6


async def test_who_waits_for_a_place_is_served_in_the_order_of_arrival(breakable_url: URL) -> None:
    database = Database(breakable_url, pool_size=4, pool_timeout=30)  # one place each
    served: list[str] = []

    async def run(use: Use, name: str) -> None:
        await database.fetch(BoundStatement(SLEEP, [], use=use))
        served.append(name)

    async with asyncio.TaskGroup() as tasks:
        for nth in range(6):
            tasks.create_task(run(Use.LIST, f"list {nth}"))
        for nth in range(6):
            tasks.create_task(run(Use.WRITE, f"write {nth}"))

    for kind in ("list", "write"):
        assert [each for each in served if each.startswith(kind)] == [
            f"{kind} {nth}" for nth in range(6)
        ]
    await database.close()


async def test_single_rows_may_take_the_whole_pool(database: Database) -> None:
    async with asyncio.TaskGroup() as tasks:
        rows = [BoundStatement(SLEEP, [], use=Use.ROW)] * 18
        for row in rows:
            tasks.create_task(database.fetch(row))
        await asyncio.sleep(0)
        assert database.engine.sync_engine.pool.checkedout() <= 6  # type: ignore[attr-defined]

    assert database.engine.sync_engine.pool.checkedin() == 6  # type: ignore[attr-defined]


async def test_a_statement_that_says_nothing_takes_the_place_of_a_list(database: Database) -> None:
    async with database.connection(Use.LIST), database.connection(Use.LIST):
        with pytest.raises((PoolTimeout, TimeoutError)):
            await asyncio.wait_for(database.fetch(BoundStatement("SELECT 1", [])), 0.1)
        assert await database.fetch(BoundStatement("SELECT 1", [], use=Use.ROW))
    assert await database.fetch(BoundStatement("SELECT 1", []))


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_small_pool_serves_everything(breakable_url: URL, size: int) -> None:
    database = Database(breakable_url, pool_size=size)
    for use in Use:
        assert await database.fetch(BoundStatement("SELECT 1", [], use=use))
        async with database.bulk(1, use):
            pass
    await database.close()
