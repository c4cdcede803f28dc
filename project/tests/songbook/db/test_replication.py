"""A synchronous standby that is frozen: every commit waits for it."""

import asyncio
import secrets
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.asserts import assert_problem
from tests.support.databases import beside, execute
from tests.support.faults import Cluster
from tests.support.marks import slow
from tests.support.services import SAMPLES

pytestmark = [pytest.mark.long, slow]

BOOK = {"name": "a", "author": "b"}
UNKNOWN = "outcome-unknown"
STANDBYS = "ALTER SYSTEM SET synchronous_standby_names"
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'songbook'"
WRITES: dict[str, Callable[[AsyncClient], Coroutine[Any, Any, Response]]] = {
    "statement": lambda client: client.post("/books", json=BOOK),
    "transaction": lambda client: client.post(
        "/books", json=BOOK, headers={"Idempotency-Key": secrets.token_hex(8)}
    ),
    "session": lambda client: client.post("/by-session", json=BOOK),
    "import": lambda client: client.post(
        "/books", content="name,author\na,b\n", headers={"Content-Type": "text/csv"}
    ),
}


@pytest.fixture(scope="module")
def cluster_url(migrated_folder: Path) -> Iterator[URL]:
    """Give the URL of a PostgreSQL of these tests' own."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place).resolve() / "postgres"
        subprocess.run(["cp", "-Rp", str(migrated_folder), str(copy)], check=True)
        cluster = Cluster(copy.parent)
        yield cluster.url
        cluster.stop()


async def waiting(connection: AsyncConnection) -> list[int]:
    """Return the backends that wait for the standby."""
    await connection.execute(text("SELECT pg_stat_clear_snapshot()"))
    return list(await connection.scalars(text(WAITING)))


async def until_waiting(connection: AsyncConnection, number: int) -> list[int]:
    """Return the backends that wait for the standby when there are so many."""
    async with asyncio.timeout(30):
        while len(found := await waiting(connection)) != number:
            pass
    return found


@asynccontextmanager
async def frozen(url: URL) -> AsyncIterator[AsyncConnection]:
    """Wait for a standby that does not exist; give a connection."""
    execute(url, f"{STANDBYS} = 'nobody'", "SELECT pg_reload_conf()")
    try:
        async with beside(url) as connection:
            yield connection
    finally:
        execute(url, f"{STANDBYS} = ''", "SELECT pg_reload_conf()")


async def writing(client: AsyncClient, connection: AsyncConnection) -> None:
    """Return when commits wait for the standby: the reload takes its time."""
    async with asyncio.timeout(30):
        while (await client.post("/books", json=BOOK)).is_success:
            pass
    await until_waiting(connection, 0)


async def test_commits_that_time_out_leave_no_backend_behind(
    cluster_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("songbook.db.engine._COMMAND_SECONDS", 1)
    async with (
        SAMPLES.on(cluster_url, pool_size=12) as (client, _),
        frozen(cluster_url) as connection,
    ):
        await writing(client, connection)
        told = {"statement": UNKNOWN, "transaction": "unavailable", "session": UNKNOWN}
        for write, slug in told.items():
            for answer in await asyncio.gather(*(WRITES[write](client) for _ in range(10))):
                assert_problem(answer, 503, slug)
            await until_waiting(connection, 0)
            assert (await connection.scalar(text(BACKENDS)) or 0) <= 12
        assert (await client.get("/books/1")).status_code == 200


async def test_clients_that_leave_leave_no_backend_behind(cluster_url: URL) -> None:
    async with (
        SAMPLES.on(cluster_url, pool_size=12) as (client, _),
        frozen(cluster_url) as connection,
    ):
        for write in WRITES.values():
            asked = asyncio.ensure_future(write(client))
            await until_waiting(connection, 1)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            await until_waiting(connection, 0)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_commit_that_a_cancel_ended_is_not_acknowledged(
    cluster_url: URL, write: Callable[[AsyncClient], Coroutine[Any, Any, Response]]
) -> None:
    async with (
        SAMPLES.on(cluster_url) as (client, _),
        frozen(cluster_url) as connection,
    ):
        asked = asyncio.ensure_future(write(client))
        for pid in await until_waiting(connection, 1):
            await connection.execute(text(f"SELECT pg_cancel_backend({pid})"))
        answer = await asked

    assert answer.status_code == 503
