"""The pool and its failures: what clients see of a PostgreSQL that is away, busy or in conflict."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from httpx import AsyncClient, Response
from sqlalchemy import Index, event, text
from sqlalchemy.engine import URL

from songbook.db.database import Database
from songbook.db.statements import BoundStatement
from songbook.errors import handlers
from songbook.models.tables import table_of
from tests.samples.resources.books import Book
from tests.support.asserts import assert_headers, assert_problem, assert_unavailable
from tests.support.databases import (
    backends,
    beside,
    create_database,
    execute,
    locked,
    terminate,
    waiting,
)
from tests.support.marks import slow
from tests.support.services import SAMPLES
from tests.support.triggers import FUNCTION, TRIGGER, fail_attempts
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.long

Asked = asyncio.Task[asyncpg.Record | None]

BOOK = {"name": "a", "author": "b"}
STATES = [
    ("53100", 503), ("53200", 503), ("53300", 503), ("57P01", 503), ("57P03", 503), ("57014", 503),
    ("55P03", 503), ("25006", 503), ("08006", 503), ("40003", 503), ("23505", 409), ("23P01", 409),
    ("23503", 409), ("23514", 422), ("23502", 422), ("22001", 422), ("22003", 422), ("22P02", 422),
    ("22021", 422), ("42501", 500), ("42P01", 503), ("XX000", 500), ("P0001", 500), ("54000", 500),
    ("42703", 503),
]  # fmt: skip


async def ask_everything(client: AsyncClient) -> list[Response]:
    """Return the answers to one request of each kind that needs the database."""
    return [
        await client.get("/books"),
        await client.get("/books?q=a&count=exact"),
        await client.post("/books", json=BOOK),
        await client.get("/books/1"),
        await client.head("/books/1"),
        await client.put("/books/1", json=BOOK),
        await client.patch("/books/1", json={}),
        await client.delete("/books/1"),
        await client.post("/by-session", json=BOOK),
    ]


@pytest.mark.parametrize("where", ["no socket", "no port", "no server behind the port"])
async def test_where_no_database_answers_clients_are_told_to_come_back(
    server: URL, tmp_path: Path, where: str, free_tcp_port: int
) -> None:
    urls = {
        "no socket": server.set(query={"host": str(tmp_path)}),
        "no port": server.set(host="127.0.0.1", port=free_tcp_port, query={}),
        "no server behind the port": server.set(host="127.0.0.1", port=free_tcp_port, query={}),
    }

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listener = None
    if where == "no server behind the port":
        listener = await asyncio.start_server(hang_up, "127.0.0.1", free_tcp_port)
    async with SAMPLES.on(urls[where]) as (client, database):
        for answer in await ask_everything(client):
            assert_unavailable(answer)
        assert (await client.get("/ping")).json() == {"ping": "pong!"}
        assert database.engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    if listener:
        listener.close()
        await listener.wait_closed()


async def test_a_database_that_comes_back_is_used_again_at_once(
    server: URL, breakable_url: URL
) -> None:
    async with (
        SAMPLES.on(breakable_url) as (client, _),
        beside(server) as admin,
        beside(breakable_url) as inside,
    ):
        assert (await client.post("/books", json=BOOK)).status_code == 201

        await admin.execute(
            text(f'ALTER DATABASE "{breakable_url.database}" ALLOW_CONNECTIONS false')
        )
        await terminate(inside)
        for answer in (await ask_everything(client))[:-1]:
            assert_unavailable(answer)
        await admin.execute(
            text(f'ALTER DATABASE "{breakable_url.database}" ALLOW_CONNECTIONS true')
        )

        answers = await ask_everything(client)
    assert [answer.status_code for answer in answers] == [200, 200, 201, *[200] * 4, 204, 200]


async def test_a_service_starts_before_its_database_exists(server: URL, template: URL) -> None:
    later = server.set(database=f"later_{secrets.token_hex(6)}")
    async with SAMPLES.on(later) as (client, _):
        assert_unavailable(await client.get("/books"))
        create_database(server, later.database, template.database)
        answer = await client.get("/books")
    execute(server, f'DROP DATABASE "{later.database}" WITH (FORCE)')

    assert (answer.status_code, answer.json()) == (200, [])


@slow
@pytest.mark.long
async def test_connections_that_broke_while_idle_are_replaced_unseen(breakable_url: URL) -> None:
    async with SAMPLES.on(breakable_url, pool_size=10) as (client, database):
        for _ in range(2):
            async with locked(breakable_url, "book") as lock:
                asked = [asyncio.create_task(client.get(f"/books?limit={n}")) for n in (1, 2, 3, 4)]
                await waiting(lock, 4)
            await asyncio.gather(*asked)
            async with beside(breakable_url) as other:
                assert await terminate(other) == 4

            answers = await asyncio.gather(*(client.get(f"/books?limit={1 + n}") for n in range(8)))
            assert [answer.status_code for answer in answers] == [200] * 8
        async with beside(breakable_url) as other:
            await terminate(other)
        assert (await client.post("/by-session", json=BOOK)).status_code == 200
        assert database.engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/books", "/by-session"])
async def test_a_connection_that_breaks_in_use_fails_one_request(
    breakable_url: URL, path: str
) -> None:
    async with SAMPLES.on(breakable_url, pool_size=1) as (client, _):
        for _ in range(3):
            async with locked(breakable_url, "book") as lock:
                asked = asyncio.create_task(client.post(path, json=BOOK))
                await waiting(lock, 1)
                assert await terminate(lock) == 1
                assert_unavailable(await asked)
            assert (await client.get("/books")).json() == []


async def test_a_connection_that_comes_back_within_a_transaction_is_not_used_again(
    breakable_url: URL,
) -> None:
    async with (
        SAMPLES.on(breakable_url, pool_size=1) as (client, database),
        beside(breakable_url) as other,
    ):
        for statements in (["BEGIN"], ["BEGIN", "SELECT 1/0"]):
            lent = await database.engine.raw_connection()
            driver: Any = lent.driver_connection
            for statement in statements:
                with suppress(asyncpg.DivisionByZeroError):
                    await driver.execute(statement)
            lent.close()

            assert (await client.post("/books", json=BOOK)).status_code == 201
            assert await other.scalar(text("SELECT count(*) FROM book")) == 1
            await other.execute(text("DELETE FROM book"))


async def test_a_primary_that_was_demoted_is_left_for_the_new_one(
    server: URL, breakable_url: URL
) -> None:
    change = f'ALTER DATABASE "{breakable_url.database}" SET default_transaction_read_only'
    async with SAMPLES.on(breakable_url, pool_size=1) as (client, _), beside(server) as admin:
        await admin.execute(text(f"{change} = on"))
        read_only = await client.post("/books", json=BOOK)
        listed = await client.get("/books")
        await admin.execute(text(f"{change} = off"))
        refused = await client.post("/books", json=BOOK)
        stored = await client.post("/books", json=BOOK)

    assert_unavailable(read_only)
    assert (listed.status_code, listed.json()) == (200, [])
    assert_unavailable(refused)
    assert stored.status_code == 201


async def test_clients_that_leave_keep_no_connection(breakable_url: URL) -> None:
    async with SAMPLES.on(breakable_url, pool_size=8) as (client, database):
        for _ in range(3):
            async with locked(breakable_url, "book") as lock:
                asked = [asyncio.create_task(client.get("/books")) for _ in range(6)]
                asked += [asyncio.create_task(client.post("/by-session", json=BOOK))]
                await waiting(lock, 3)
                for request in asked:
                    request.cancel()
                await asyncio.gather(*asked, return_exceptions=True)
            answers = await asyncio.gather(*(client.get("/books") for _ in range(6)))
            assert [answer.status_code for answer in answers] == [200] * 6
        async with asyncio.timeout(PATIENCE):  # interrupted ones are closed in the background
            while database.pool.in_use:  # noqa: ASYNC110 - nothing tells it
                await asyncio.sleep(0)
        async with beside(breakable_url) as other:
            assert len(await backends(other)) <= 8
            query = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"
            assert await other.scalar(text(f"{query} AND datname = current_database()")) == 0


async def test_a_service_that_ends_leaves_no_connection(breakable_url: URL) -> None:
    async with beside(breakable_url) as other:
        async with SAMPLES.on(breakable_url) as (client, _):
            await client.get("/books")
            assert len(await backends(other)) == 1
        async with asyncio.timeout(30):
            while await backends(other):
                pass


async def test_every_connection_has_the_bounds_that_keep_requests_short(
    breakable_url: URL, restore_bounds: Callable[[str], None]
) -> None:
    restore_bounds("songbook.db.engine")
    bounds = {
        "lock_timeout": "1200ms",
        "statement_timeout": "5s",
        "idle_in_transaction_session_timeout": "10s",
        "client_connection_check_interval": "1s",
        "TimeZone": "UTC",
        "application_name": "songbook",
    }
    async with (
        SAMPLES.on(breakable_url) as (_, database),
        database.sqlalchemy_connection() as connection,
    ):
        for name, value in bounds.items():
            row = await database.fetch(BoundStatement(f"SHOW {name}", []))
            assert row is not None
            assert (name, row[0]) == (name, value)
            assert await connection.scalar(text(f"SHOW {name}")) == value


@pytest.mark.parametrize("bound", ["lock_timeout", "statement_timeout"])
async def test_a_statement_that_takes_too_long_is_given_up(breakable_url: URL, bound: str) -> None:
    async with SAMPLES.on(breakable_url, pool_size=1) as (client, database):
        lent = await database.engine.raw_connection()
        driver: Any = lent.driver_connection
        await driver.execute(f"SET {bound} = '20ms'")
        lent.close()
        async with locked(breakable_url, "book") as lock:
            before = await backends(lock)
            for answer in await ask_everything(client):
                assert_unavailable(answer)
            after = await backends(lock)
        assert after == before, "an error like this is no reason for another connection"
        while True:  # these, too, may take longer than the bound
            with suppress(asyncpg.QueryCanceledError):
                await driver.execute(f"RESET {bound}")
                break
        assert (await client.get("/books")).json() == []


async def test_who_finds_no_free_connection_in_time_is_told_to_come_back(
    breakable_url: URL,
) -> None:
    async with SAMPLES.on(breakable_url, pool_size=6, pool_timeout=0.1) as (client, _):
        async with locked(breakable_url, "book") as lock:
            asked = [asyncio.create_task(client.get("/books")) for _ in range(2)]
            asked += [asyncio.create_task(client.post("/books", json=BOOK)) for _ in range(2)]
            await waiting(lock, 4)
            begun = time.monotonic()
            late = await asyncio.gather(*(client.get("/books") for _ in range(30)))
            by_session = await client.post("/by-session", json=BOOK)
            took = time.monotonic() - begun
            assert len(await backends(lock)) == 4
        first = await asyncio.gather(*asked)
        after = await client.get("/books")

    for answer in [*late, by_session]:
        assert_unavailable(answer)
    assert 0.2 <= took < 15  # which is less than they wait for the lock
    assert [answer.status_code for answer in [*first, after]] == [200, 200, 201, 201, 200]


async def test_who_finds_a_free_connection_in_time_is_served(breakable_url: URL) -> None:
    async with SAMPLES.on(breakable_url, pool_size=6) as (client, _):
        async with locked(breakable_url, "book") as lock:
            asked = [asyncio.create_task(client.get("/books")) for _ in range(20)]
            await waiting(lock, 2)
        answers = await asyncio.gather(*asked)

    assert [answer.status_code for answer in answers] == [200] * 20


WHOSE = BoundStatement("SELECT pg_backend_pid() AS pid", [])


@asynccontextmanager
async def one_waits(url: URL) -> AsyncIterator[tuple[Database, asyncpg.Connection, Asked]]:
    """Give the only connection of a pool, and a statement that waits for it."""
    async with SAMPLES.on(url, pool_size=1) as (_, database):
        async with database.connection() as driver:
            asked = asyncio.create_task(database.fetch(WHOSE))
            await asyncio.sleep(0)  # until it waits
            yield database, driver, asked
        await asked
        assert database.engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_who_waits_gets_the_connection_that_comes_back(breakable_url: URL) -> None:
    async with one_waits(breakable_url) as (database, driver, asked):
        returned: list[object] = []
        event.listen(database.engine.sync_engine, "checkin", lambda *_: returned.append(1))
        own = driver.get_server_pid()
    row = await asked

    assert (row and row["pid"], len(returned)) == (own, 1)  # when nobody waits any more


async def test_who_waits_does_not_get_a_connection_that_broke(breakable_url: URL) -> None:
    async with one_waits(breakable_url) as (_, driver, asked):
        own = driver.get_server_pid()
        driver.terminate()
    row = await asked

    assert row
    assert row["pid"] != own


async def test_who_waits_does_not_get_a_connection_within_a_transaction(breakable_url: URL) -> None:
    async with one_waits(breakable_url) as (_, driver, asked):
        own = driver.get_server_pid()
        await driver.execute("BEGIN")
    row = await asked

    assert row
    assert row["pid"] != own


async def test_who_waits_does_not_get_a_connection_that_is_too_old(
    breakable_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("songbook.db.engine._MAX_LIFETIME_SECONDS", 0)
    async with one_waits(breakable_url) as (_, driver, asked):
        own = driver.get_server_pid()
    row = await asked

    assert row
    assert row["pid"] != own


async def test_who_leaves_as_the_connection_comes_leaves_it_to_the_next(breakable_url: URL) -> None:
    async with SAMPLES.on(breakable_url, pool_size=1) as (_, database):
        async with database.connection():
            asked, following = (asyncio.create_task(database.fetch(WHOSE)) for _ in range(2))
            await asyncio.sleep(0)  # until both wait
        asked.cancel()  # the connection is its own by now, and it has not gone on

        with pytest.raises(asyncio.CancelledError):
            await asked
        assert await following
        assert await database.fetch(WHOSE)


async def test_no_connection_is_needed_to_say_no(breakable_url: URL) -> None:
    json = {"Content-Type": "application/json"}
    async with SAMPLES.on(breakable_url, pool_size=1, pool_timeout=30) as (client, _):
        async with locked(breakable_url, "book") as lock:
            asked = asyncio.create_task(client.get("/books"))
            await waiting(lock, 1)
            async with asyncio.timeout(20):
                answers = {
                    "200": await client.get("/ping"),
                    "204": await client.options("/books/1"),
                    "400 body": await client.put("/books/1", content=b"{", headers=json),
                    "400 cursor": await client.get("/books?after=x"),
                    "400 tags": await client.delete("/books/1", headers={"If-Match": "x"}),
                    "404": await client.get("/nowhere"),
                    "404 id": await client.get("/books/0"),
                    "405": await client.delete("/books"),
                    "413": await client.post("/books", content=b" " * 65_537, headers=json),
                    "415": await client.post("/books", content=b"{}"),
                    "422 body": await client.post("/books", json={}),
                    "422 id": await client.delete("/books/x"),
                    "422 query": await client.get("/books?limit=0"),
                }
            assert not asked.done()
        assert (await asked).status_code == 200

    for expected, answer in answers.items():
        assert (expected, answer.status_code) == (expected, int(expected[:3]))


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_what_postgresql_wants_repeated_is_repeated_unseen(
    breakable_url: URL, state: str
) -> None:
    async with SAMPLES.on(breakable_url) as (client, _), beside(breakable_url) as other:
        created = await client.post("/books", json=BOOK)
        await fail_attempts(other, state, 2)
        patched = await client.patch(
            "/books/1", json={"year": 2000}, headers={"If-Match": created.headers["etag"]}
        )
        attempts = await other.scalar(text("SELECT last_value FROM attempts"))
        await other.execute(text("ALTER SEQUENCE attempts RESTART"))
        again = await client.post("/books", json=BOOK)

        assert (patched.status_code, attempts) == (200, 3)
        assert again.status_code == 201
        assert await other.scalar(text("SELECT count(*) FROM book")) == 2
        assert await other.scalar(text("SELECT version FROM book WHERE id = 1")) == 2


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_what_has_to_be_repeated_too_often_is_given_up(
    breakable_url: URL, state: str
) -> None:
    async with SAMPLES.on(breakable_url) as (client, _), beside(breakable_url) as other:
        await fail_attempts(other, state, 1000)

        assert_unavailable(await client.post("/books", json=BOOK))
        assert await other.scalar(text("SELECT last_value FROM attempts")) == 3
        assert_unavailable(await client.post("/by-session", json=BOOK))
        assert (await client.get("/books")).json() == []


@pytest.mark.parametrize("path", ["/books", "/by-session"])
async def test_an_error_of_postgresql_is_told_by_its_sqlstate(
    breakable_url: URL, path: str
) -> None:
    raising = "BEGIN RAISE 'canary' USING ERRCODE = NEW.author; END"
    async with SAMPLES.on(breakable_url) as (client, _), beside(breakable_url) as other:
        await other.execute(text(FUNCTION.format(body=raising)))
        await other.execute(text(TRIGGER))
        for state, status in STATES:
            answer = await client.post(path, json=BOOK | {"author": state})

            assert_problem(answer, status)
            assert_headers(answer)
            assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
            assert "canary" not in answer.text
        assert (await client.get("/books")).json() == []


async def test_where_a_table_is_missing_clients_come_back_and_the_log_says_to_migrate(
    scratch_url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    async with SAMPLES.on(scratch_url) as (client, _):
        answers = await ask_everything(client)

    for answer in answers:
        assert_unavailable(answer)
        assert "book " not in answer.text
        assert "relation" not in answer.text
    assert [record for record in caplog.records if record.exc_info] == []
    told = [each.getMessage() for each in caplog.records if each.name == handlers.__name__]
    assert len(told) == len(answers)
    assert all("book" in each and each.endswith(" advice=run the command migrate") for each in told)


@pytest.fixture
async def unique_names(breakable_url: URL) -> AsyncIterator[None]:
    """Let names of books be unique for one test, in its database and in the metadata."""
    index = Index("uq_book_name", table_of(Book).c.name, unique=True)
    execute(breakable_url, "CREATE UNIQUE INDEX uq_book_name ON book (name)")
    yield
    table_of(Book).indexes.discard(index)


@pytest.mark.long
@pytest.mark.usefixtures("unique_names")
async def test_one_of_many_that_store_the_same_at_once_succeeds(breakable_url: URL) -> None:
    async with SAMPLES.on(breakable_url) as (client, _):
        for turn in range(3):
            body = {"name": f"canary {turn}", "author": "b"}
            answers = await asyncio.gather(*(client.post("/books", json=body) for _ in range(64)))

            refused = [answer for answer in answers if answer.status_code != 201]
            assert len(refused) == 63
            for answer in refused:
                [error] = assert_problem(answer, 409, "conflict")["errors"]
                assert (error["pointer"], error["location"]) == ("/name", "body")
                assert "canary" not in answer.text
        assert len((await client.get("/books")).json()) == 3


@pytest.mark.usefixtures("unique_names")
async def test_a_change_that_would_make_a_duplicate_is_a_conflict_and_changes_nothing(
    breakable_url: URL,
) -> None:
    async with SAMPLES.on(breakable_url) as (client, _):
        first = await client.post("/books", json={"name": "a", "author": "b"})
        second = await client.post("/books", json={"name": "c", "author": "d"})
        tag = second.headers["etag"]

        for refused in (
            await client.patch("/books/2", json={"name": "a"}),
            await client.patch("/books/2", json={"name": "a"}, headers={"If-Match": tag}),
            await client.put("/books/2", json={"name": "a", "author": "d"}),
        ):
            [error] = assert_problem(refused, 409, "conflict")["errors"]
            assert error["pointer"] == "/name"
        stale = await client.patch("/books/2", json={"name": "a"}, headers={"If-Match": '"x"'})
        assert_problem(stale, 412)
        assert (await client.get("/books")).json() == [first.json(), second.json()]
        assert (await client.get("/books/2")).headers["etag"] == tag
        assert (await client.patch("/books/1", json={"name": "a"})).status_code == 200
