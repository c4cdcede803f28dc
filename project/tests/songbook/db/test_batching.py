"""Reads that come at the same time and are answered by one statement."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncSession

from songbook.db.batching import MAX_BATCH
from songbook.db.database import Database
from tests.samples.main import create_app
from tests.samples.settings import Settings
from tests.support.asserts import assert_problem
from tests.support.clients import client_of
from tests.support.databases import spelled, waiting
from tests.support.marks import slow

BOOKS = [{"name": f"Book {number}", "author": "Low"} for number in range(5)]
LOCK = "LOCK TABLE book IN ACCESS EXCLUSIVE MODE"


@pytest.fixture
async def database(client: AsyncClient, database_url: URL) -> AsyncIterator[Database]:
    """Give a pool of one connection to a database with five books."""
    for book in BOOKS:
        await client.post("/books", json=book)
    database = Database(database_url, pool_size=1, pool_timeout=30)
    yield database
    await database.close()


@pytest.fixture
async def narrow(database: Database) -> AsyncIterator[AsyncClient]:
    """Give a client of a service that has this pool."""
    app = create_app(Settings(database_url=spelled(database.engine.url)))
    app.state.service.database = database
    async with client_of(app) as client:
        yield client


@asynccontextmanager
async def all_waiting(
    database: Database, *asked: Awaitable[Response]
) -> AsyncIterator[tuple[list[asyncio.Future[Response]], list[str]]]:
    """Let all of these wait for the only connection; give them, and what is sent when it ends."""
    sent: list[str] = []
    async with database.connection() as driver:
        driver.add_query_logger(lambda record: sent.append(record.query))
        tasks: list[asyncio.Future[Response]] = [asyncio.ensure_future(each) for each in asked]
        for _ in range(50):
            await asyncio.sleep(0)  # until all of them wait
        yield tasks, sent
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_records_that_are_asked_for_at_once_are_read_by_one_statement(
    database: Database, narrow: AsyncClient
) -> None:
    ids = [3, 1, 99, 2, 3, 5, 2**62]
    async with all_waiting(database, *(narrow.get(f"/books/{n}") for n in ids)) as (asked, sent):
        pass
    answers = [each.result() for each in asked]

    assert len(sent) == 1
    assert [answer.json().get("id") for answer in answers] == [3, 1, None, 2, 3, 5, None]
    for answer in answers:
        alone = await narrow.get(answer.request.url.path)
        assert (answer.status_code, answer.headers.get("etag")) == (
            alone.status_code,
            alone.headers.get("etag"),
        )
        assert answer.status_code == 404 or answer.content == alone.content


async def test_lists_are_read_once_for_all_who_ask_the_same_and_for_nobody_else(
    database: Database, narrow: AsyncClient
) -> None:
    paths = ["/books", "/books?limit=2", "/books?name=Book 1", "/books?name=Book 2"]
    async with all_waiting(database, *(narrow.get(path) for path in paths * 3)) as (asked, sent):
        pass
    answers = [each.result().json() for each in asked]

    assert len(sent) == len(paths)
    assert answers == answers[:4] * 3
    assert [len(rows) for rows in answers[:4]] == [5, 2, 1, 1]
    assert [rows[0]["name"] for rows in answers[2:4]] == ["Book 1", "Book 2"]


async def test_a_great_many_are_read_by_a_few_statements(
    database: Database, narrow: AsyncClient
) -> None:
    many = [narrow.get(f"/books/{1 + number % 5}") for number in range(2 * MAX_BATCH + 20)]
    async with all_waiting(database, *many) as (asked, sent):
        pass

    assert len(sent) == 3
    assert [each.result().json()["id"] for each in asked] == [1, 2, 3, 4, 5] * 44


async def test_a_statement_that_was_sent_is_not_joined(
    client: AsyncClient, session: AsyncSession
) -> None:
    """Else a read could show what was before a change that its client knows of."""
    await client.post("/books", json=BOOKS[0])
    connection = await session.connection()
    await connection.execute(text(LOCK))
    asked = []
    for number in range(1, 5):
        asked.append(asyncio.create_task(client.get("/books/1")))
        await waiting(connection, number)
    await connection.rollback()

    assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 4


@pytest.mark.long
async def test_what_a_client_wrote_is_what_it_reads_whoever_else_reads(
    client: AsyncClient,
) -> None:
    for book in BOOKS[:2]:
        await client.post("/books", json=book)

    async def write_and_read(number: int) -> None:
        for year in range(1, 11):
            name = f"{number} in {year}"
            stored = await client.post("/books", json={"name": name, "author": "Low"})
            found = await client.get(f"/books/{stored.json()['id']}")
            assert found.json()["name"] == name
            changed = await client.patch(f"/books/{1 + number % 2}", json={"year": year})
            read = await client.get(f"/books/{1 + number % 2}")
            assert tag(read) >= tag(changed)

    await asyncio.gather(*(write_and_read(number) for number in range(16)))


def tag(answer: Response) -> int:
    """Return the version in an entity tag."""
    return int(answer.headers["etag"].strip('"').rpartition("-")[2])


async def test_when_the_first_of_a_group_leaves_the_others_are_answered(
    database: Database, narrow: AsyncClient
) -> None:
    async with all_waiting(database, *(narrow.get(f"/books/{n}") for n in (1, 2, 3))) as (asked, _):
        asked[0].cancel()

    assert asked[0].cancelled()
    assert [each.result().json()["id"] for each in asked[1:]] == [2, 3]


async def test_when_another_of_a_group_leaves_the_rest_is_answered(
    database: Database, narrow: AsyncClient
) -> None:
    async with all_waiting(database, *(narrow.get(f"/books/{n}") for n in (1, 2, 3))) as (asked, _):
        asked[1].cancel()

    assert asked[1].cancelled()
    assert [asked[n].result().json()["id"] for n in (0, 2)] == [1, 3]


@slow
@pytest.mark.long
async def test_a_group_that_gets_no_connection_is_told_to_come_back(
    database: Database, narrow: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database.pool, "_timeout", 1)
    async with all_waiting(database, *(narrow.get(f"/books/{n}") for n in (1, 2, 3))) as (asked, _):
        await asyncio.wait(asked)
        monkeypatch.undo()

    for each in asked:
        assert_problem(each.result(), 503, "unavailable")
    assert (await narrow.get("/books/1")).status_code == 200


@slow
@pytest.mark.long
async def test_each_of_a_group_waits_as_long_as_it_would_alone(
    database: Database, narrow: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database.pool, "_timeout", 1)
    async with all_waiting(database, narrow.get("/books/1")) as ([first], _):
        monkeypatch.undo()  # so that the late one waits for longer, as if it came a lot later
        late = asyncio.create_task(narrow.get("/books/2"))
        await first
        assert not late.done()
    assert_problem(first.result(), 503, "unavailable")

    assert (await late).json()["id"] == 2


@slow
@pytest.mark.long
async def test_who_left_one_group_for_another_does_not_wait_anew(
    database: Database, narrow: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [f"/books/{number}" for number in (1, 2, 3)]
    monkeypatch.setattr(database.pool, "_timeout", 1)
    begun = time.monotonic()
    async with all_waiting(database, *map(narrow.get, paths)) as (asked, _):
        monkeypatch.undo()  # so that who waits anew waits for half a minute
        asked[0].cancel()
        await asyncio.wait(asked)

    assert 0.9 < time.monotonic() - begun < 15
    for each in asked[1:]:
        assert_problem(each.result(), 503, "unavailable")


async def test_a_statement_that_fails_fails_all_who_share_it(
    database: Database, narrow: AsyncClient, session: AsyncSession
) -> None:
    async with database.connection() as driver:
        await driver.execute("SET lock_timeout = '10ms'")
    connection = await session.connection()
    await connection.execute(text(LOCK))
    async with all_waiting(database, *(narrow.get(f"/books/{n}") for n in (1, 2, 3))) as (
        asked,
        sent,
    ):
        pass
    await connection.rollback()

    assert len(sent) == 1
    for each in asked:
        assert_problem(each.result(), 503, "unavailable")
    assert (await narrow.get("/books/1")).status_code == 200
