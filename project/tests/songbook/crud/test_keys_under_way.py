"""Idempotency keys while something happens: requests at once, failures, and the end of keys."""

import asyncio
import secrets
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Annotated, Any

import asyncpg
import pytest
from fastapi import Depends
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response as Answer

from songbook.auth.permissions import PUBLIC
from songbook.crud.transactions import Transaction, begin
from songbook.db.database import Database, Executor
from songbook.db.statements import BoundStatement
from songbook.http.completion import Opened
from songbook.http.dependencies import OpeningDependency, opening_dependency
from songbook.http.media_types import CSV
from songbook.http.requests import StrictRequest
from songbook.http.routing import Router
from tests.samples.main import create_app
from tests.samples.resources.books import BookCreate, books
from tests.samples.settings import Settings
from tests.support.asserts import assert_problem, assert_unavailable
from tests.support.databases import (
    backends,
    beside,
    empty,
    spelled,
    terminate,
    waiting,
)
from tests.support.marks import slow
from tests.support.processes import Outcome
from tests.support.replays import assert_again, assert_first, assert_reused
from tests.support.services import SAMPLES
from tests.support.triggers import (
    AFTER,
    FUNCTION,
    TRIGGER,
    fail_attempts,
    held_writes,
    holding_writes,
)

pytestmark = pytest.mark.long

Command = Callable[..., Outcome]
BOOK = {"name": "a", "author": "b"}
KEY = {"Idempotency-Key": "k"}
ROWS = {"content": "name,author\na,b\nc,d\n", "headers": {**KEY, "Content-Type": CSV}}


@pytest.fixture(autouse=True)
async def _empty(breakable_url: URL) -> None:
    """Begin with empty tables."""
    async with beside(breakable_url) as connection:
        await empty(connection)


async def post(client: AsyncClient, body: Any = BOOK, path: str = "/books") -> Response:
    """Store something under the key."""
    return await client.post(path, json=body, headers=KEY)


async def post_rows(client: AsyncClient) -> Response:
    """Store many books under the key."""
    return await client.post("/books", **ROWS)  # type: ignore[arg-type] # they are named


async def post_city(client: AsyncClient, name: str = "a") -> Response:
    """Store a town, which nobody holds, under a key of its own."""
    keyed = {"Idempotency-Key": f"town-{name}"}
    return await client.post("/towns", json={"name": name, "population": 1}, headers=keyed)


def lent(database: Database) -> int:
    """Return how many connections of a service are in use."""
    found: int = database.engine.sync_engine.pool.checkedout()  # type: ignore[attr-defined]
    return found


async def numbers(connection: AsyncConnection) -> tuple[int, int]:
    """Return how many books are stored, and how many keys."""
    query = "SELECT (SELECT count(*) FROM book), (SELECT count(*) FROM idempotency)"
    books, keys = (await connection.execute(text(query))).one()
    return books, keys


@slow
@pytest.mark.long
async def test_who_comes_while_the_first_is_under_way_is_told_so_within_two_seconds(
    breakable_url: URL, restore_bounds: Callable[[str], None]
) -> None:
    for module in ("idempotency", "transactions"):
        restore_bounds(f"songbook.crud.{module}")
    async with (
        SAMPLES.on(breakable_url, pool_size=1, pool_timeout=0.1) as (client, database),
        SAMPLES.on(breakable_url, pool_size=5) as (elsewhere, other_database),
        beside(breakable_url) as other,
        asyncio.TaskGroup() as tasks,
    ):
        async with holding_writes(breakable_url) as holding:
            first = tasks.create_task(post(client))
            await held_writes(holding)

            for _ in range(5):  # a busy machine makes some longer
                begun = time.monotonic()
                late = await asyncio.gather(
                    *(post(each) for each in (client, elsewhere)),
                    *(post_rows(each) for each in (client, elsewhere)),
                    *(post(each, {}) for each in (client, elsewhere)),
                )
                took = time.monotonic() - begun
                if took < 2:
                    break

            assert [lent(each) for each in (database, other_database)] == [1, 0]
            idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"
            assert await other.scalar(text(f"{idle} AND datname = current_database()")) == 0
            assert_first(await post_city(elsewhere))
            assert await numbers(other) == (0, 1)
        done = await first
        again = [await post(each) for each in (client, elsewhere)]
        assert await numbers(other) == (1, 2)

    assert 1 <= took < 2
    for answer in late[:4]:
        assert_problem(answer, 409, "idempotency-key-in-use")
        assert answer.headers["retry-after"] == "1"
    for answer in late[4:]:
        assert_problem(answer, 422, "validation")
    assert_first(done)
    for answer in again:
        assert_again(answer, done)


async def test_who_waits_for_the_first_in_its_process_takes_no_connection(
    breakable_url: URL,
) -> None:
    async with (
        SAMPLES.on(breakable_url, pool_size=6) as (client, database),
        beside(breakable_url) as other,
        asyncio.TaskGroup() as tasks,
    ):
        async with holding_writes(breakable_url) as holding:
            first = tasks.create_task(post(client))
            await held_writes(holding)
            second = [tasks.create_task(post(client)) for _ in range(20)]
            for _ in range(10):
                assert_first(await post_city(client, secrets.token_hex(4)))
                assert lent(database) == 1
            second[3].cancel()
        second.pop(3)
        for answer in await asyncio.gather(*second):
            assert_again(answer, await first)
        assert (await numbers(other))[0] == 1


@pytest.mark.parametrize("send", [post, post_rows])
async def test_who_waits_for_one_that_succeeds_is_answered_as_that_one(
    breakable_url: URL, send: Callable[[AsyncClient], Any]
) -> None:
    async with (
        SAMPLES.on(breakable_url, pool_size=5) as (client, _),
        SAMPLES.on(breakable_url, pool_size=5) as (elsewhere, _),
        beside(breakable_url) as other,
        asyncio.TaskGroup() as tasks,
    ):
        async with holding_writes(breakable_url) as holding:
            first = tasks.create_task(send(client))
            await held_writes(holding)
            second = tasks.create_task(send(elsewhere))
            unlike = tasks.create_task(post(elsewhere, {**BOOK, "year": 1}))
            await waiting(holding, 1)
        assert_first(await first)
        assert_again(await second, await first)
        assert_reused(await unlike)
        assert await numbers(other) == (2 if send is post_rows else 1, 1)


@pytest.mark.parametrize("send", [post, post_rows])
@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["in its process", "elsewhere"])
async def test_who_waits_for_one_that_fails_is_the_first(
    breakable_url: URL, send: Callable[[AsyncClient], Any], *, is_elsewhere: bool
) -> None:
    async with (
        SAMPLES.on(breakable_url, pool_size=5) as (client, _),
        SAMPLES.on(breakable_url, pool_size=5) as (elsewhere, _),
        beside(breakable_url) as other,
        asyncio.TaskGroup() as tasks,
    ):
        async with holding_writes(breakable_url) as holding:
            first = tasks.create_task(send(client))
            [pid] = await held_writes(holding)
            second = tasks.create_task(send(elsewhere if is_elsewhere else client))
            if is_elsewhere:
                await waiting(holding, 1)
            await other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            assert_unavailable(await first)
            await held_writes(holding)
        assert_first(await second)
        assert_again(await send(client), await second)
        assert await numbers(other) == (2 if send is post_rows else 1, 1)


@pytest.mark.parametrize("send", [post, post_rows])
async def test_a_client_that_leaves_in_the_middle_leaves_no_key_and_may_come_back(
    breakable_url: URL, send: Callable[[AsyncClient], Any]
) -> None:
    async with (
        SAMPLES.on(breakable_url, pool_size=3) as (client, database),
        beside(breakable_url) as other,
        asyncio.TaskGroup() as tasks,
    ):
        async with holding_writes(breakable_url) as holding:
            first = tasks.create_task(send(client))
            await held_writes(holding)
            first.cancel()
            with suppress(asyncio.CancelledError):
                await first
        assert_first(await send(client))
        assert await numbers(other) == (2 if send is post_rows else 1, 1)
        async with asyncio.timeout(30):  # the connection of the first is closed beside all this
            while lent(database) or len(await backends(other)) > 1:
                pass


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_what_postgresql_wants_repeated_is_repeated_unseen_under_a_key(
    breakable_url: URL, state: str
) -> None:
    async with (
        SAMPLES.on(breakable_url, pool_size=1) as (client, _),
        beside(breakable_url) as other,
    ):
        assert_first(await client.post("/books", json=BOOK))
        await fail_attempts(other, state, 2)
        for method, path in (("POST", "/books"), ("PATCH", "/books/1")):
            await other.execute(text("ALTER SEQUENCE attempts RESTART"))
            keyed = {"Idempotency-Key": method}
            first = await client.request(method, path, json=BOOK, headers=keyed)
            assert await other.scalar(text("SELECT last_value FROM attempts")) == 3
            assert_first(first)
            assert_again(await client.request(method, path, json=BOOK, headers=keyed), first)

        assert await numbers(other) == (2, 2)
        assert await other.scalar(text("SELECT version FROM book WHERE id = 1")) == 2


async def test_what_has_to_be_repeated_too_often_is_given_up_and_leaves_no_key(
    breakable_url: URL,
) -> None:
    async with (
        SAMPLES.on(breakable_url, pool_size=1) as (client, _),
        beside(breakable_url) as other,
    ):
        await fail_attempts(other, "40001", 4)

        assert_unavailable(await post(client))
        assert await other.scalar(text("SELECT last_value FROM attempts")) == 3
        assert_unavailable(await post_rows(client))  # whose rows were read, and are not again
        assert await numbers(other) == (0, 0)
        assert_first(await post(client))
        assert await numbers(other) == (1, 1)


@pytest.mark.parametrize("state", ["23505", "40001", "57014", "XX000"])
async def test_what_fails_when_it_is_committed_leaves_neither_a_row_nor_a_key(
    breakable_url: URL, state: str
) -> None:
    raising = f"BEGIN RAISE 'canary' USING ERRCODE = '{state}'; END"
    late = AFTER.replace("CREATE TRIGGER", "CREATE CONSTRAINT TRIGGER").replace(
        "FOR EACH ROW", "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
    )
    async with (
        SAMPLES.on(breakable_url, pool_size=1) as (client, _),
        beside(breakable_url) as other,
    ):
        await other.execute(text(FUNCTION.format(body=raising)))
        await other.execute(text(late))
        for answer in (await post(client), await post_rows(client)):
            assert_problem(answer, {"23505": 409, "XX000": 500}.get(state, 503))
        assert await numbers(other) == (0, 0)
        await other.execute(text("DROP FUNCTION refuse CASCADE"))
        assert_first(await post(client))


async def test_a_bug_leaves_no_key_and_the_log_says_where_it_is(
    breakable_url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        SAMPLES.on(breakable_url, pool_size=1) as (client, _),
        beside(breakable_url) as other,
    ):
        await other.execute(text(FUNCTION.format(body="BEGIN RAISE 'canary'; END")))
        await other.execute(text(TRIGGER))
        answers = [await client.post("/books", json=BOOK), await post(client)]
        assert await numbers(other) == (0, 0)

    for answer in answers:
        assert_problem(answer, 500)
        assert "canary" not in answer.text
    places = []
    for record in caplog.records:
        if record.exc_info:
            frames = traceback.extract_tb(record.exc_info[2])
            own = [frame for frame in frames if "/site-packages/" not in frame.filename]
            places.append({frame.name for frame in own})
    assert len(places) == 2
    for place in places:
        assert {"create_book", "fetch", "fetch_on"} < place


async def test_a_key_that_was_removed_at_that_moment_is_to_be_sent_again(
    breakable_url: URL,
) -> None:
    async with SAMPLES.on(breakable_url) as (client, _), beside(breakable_url) as other:
        await other.execute(text(FUNCTION.format(body="BEGIN RETURN NULL; END")))
        await other.execute(text(TRIGGER.replace("ON book", "ON idempotency")))
        answer = await post(client)
        assert_problem(answer, 409, "idempotency-key-in-use")
        assert answer.headers["retry-after"] == "1"
        assert await numbers(other) == (0, 0)
        await other.execute(text("DROP FUNCTION refuse CASCADE"))
        assert_first(await post(client))


@opening_dependency()
async def begin_without_key(request: StrictRequest) -> Opened:
    """Return a transaction without a key, as imports may have."""
    transaction = Transaction(request.service.database)
    return Opened(transaction, transaction)


@pytest.mark.parametrize("dependency", [begin, begin_without_key])
async def test_a_handler_that_passes_over_a_failure_does_not_seem_to_succeed(
    breakable_url: URL, dependency: OpeningDependency
) -> None:
    router = Router(dependencies=[PUBLIC])

    @router.post("/careless")
    async def store(
        body: BookCreate, request: Request, db: Annotated[Executor, Depends(dependency)]
    ) -> Answer:
        """Store a book, and mind no failure."""
        row = await db.fetch(books.insert(body.model_dump()))
        with suppress(asyncpg.PostgresError):
            await db.fetch(BoundStatement("SELECT 1 / 0", []))
        return books.created(row, request)

    app = create_app(Settings(database_url=spelled(breakable_url)))
    app.router.routes.extend(router.routes)
    transport = ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=transport, base_url="http://songbook") as client,
        beside(breakable_url) as other,
    ):
        assert_problem(await post(client, path="/careless"), 500)
        assert await numbers(other) == (0, 0)
        assert_first(await post(client))


async def test_a_connection_that_broke_while_idle_does_not_matter_to_a_key(
    breakable_url: URL,
) -> None:
    async with (
        SAMPLES.on(breakable_url, pool_size=2) as (client, _),
        beside(breakable_url) as other,
    ):
        first = await post(client)
        for _ in range(2):
            await terminate(other)
            assert_again(await post(client), first)


async def test_one_of_many_that_want_the_same_under_keys_of_their_own_succeeds(
    breakable_url: URL,
) -> None:
    async with (
        SAMPLES.on(breakable_url) as (client, _),
        beside(breakable_url) as other,
    ):
        for turn in range(3):
            town = {"name": f"Reykjavík {turn}", "population": 1}
            answers = await asyncio.gather(
                *(
                    client.post("/towns", json=town, headers={"Idempotency-Key": f"{turn}-{nth}"})
                    for nth in range(64)
                )
            )
            [created] = [answer for answer in answers if answer.status_code != 409]
            assert_first(created)
            for answer in answers:
                if answer is not created:
                    assert_problem(answer, 409, "conflict")
        assert await other.scalar(text("SELECT count(*) FROM towns")) == 3
        assert await other.scalar(text("SELECT count(*) FROM idempotency")) == 3


async def test_one_of_several_imports_of_the_same_succeeds_and_the_others_store_nothing(
    breakable_url: URL,
) -> None:
    async with (
        SAMPLES.on(breakable_url) as (client, _),
        beside(breakable_url) as other,
    ):
        for turn in range(3):
            imports = [
                client.post(
                    "/towns",
                    content=f"name,population\nown {turn} {nth},1\nReykjavík {turn},1\n",
                    headers={"Idempotency-Key": f"{turn}-{nth}", "Content-Type": CSV},
                )
                for nth in range(8)
            ]
            answers = await asyncio.gather(*imports)
            statuses = sorted(answer.status_code for answer in answers)
            assert statuses == [201] + [409] * 7
        assert await other.scalar(text("SELECT count(*) FROM towns")) == 6
        assert await other.scalar(text("SELECT count(*) FROM idempotency")) == 3


AGED = """
INSERT INTO idempotency (principal, key, fingerprint, status, headers, body, created_at)
SELECT n % 3, sha256(n::text::bytea), '', 201, '{}', '', now() - interval '1 hour' * age
FROM generate_series(1, 10000) n, LATERAL (SELECT CASE WHEN n % 10 < 3 THEN 24 ELSE 23 END) a (age)
"""


@pytest.mark.long
async def test_old_keys_are_removed_and_no_others(breakable_url: URL, command: Command) -> None:
    async with SAMPLES.on(breakable_url) as (client, _), beside(breakable_url) as other:
        first = await post(client)
        await other.execute(text(AGED))
        assert await numbers(other) == (1, 10_001)

        twice = "KEY_HOURS=48", "KEY_HOURS=24", "KEY_HOURS=24"
        said = [
            await asyncio.to_thread(
                command,
                "expire-keys",
                DATABASE_URL=spelled(breakable_url),
                KEY_HOURS=given.split("=")[1],
            )
            for given in twice
        ]

        assert [(each.code, each.told) for each in said] == [(0, [])] * 3
        assert [each.printed for each in said] == [
            "0 keys sent 48 or more hours ago were removed.\n",
            "3000 keys sent 24 or more hours ago were removed.\n",
            "0 keys sent 24 or more hours ago were removed.\n",
        ]
        assert await numbers(other) == (1, 7001)
        young = "SELECT count(*) FROM idempotency WHERE created_at > now() - interval '24 hours'"
        assert await other.scalar(text(young)) == 7001
        assert_again(await post(client), first)


async def test_a_key_that_expired_is_a_new_one(breakable_url: URL, command: Command) -> None:
    async with SAMPLES.on(breakable_url) as (client, _), beside(breakable_url) as other:
        first = await post(client)
        old = "UPDATE idempotency SET created_at = created_at - interval '25 hours'"
        await other.execute(text(old))
        assert_again(await post(client), first)  # it is known until it is removed

        await asyncio.to_thread(command, "expire-keys", DATABASE_URL=spelled(breakable_url))

        second = await post(client, {**BOOK, "year": 1})
        assert_first(second)
        assert second.headers["location"] != first.headers["location"]
        assert await numbers(other) == (2, 1)


async def test_keys_are_known_for_a_day_at_least(command: Command) -> None:
    outcome = await asyncio.to_thread(command, "expire-keys", KEY_HOURS="23")

    assert (outcome.code, outcome.printed, len(outcome.told)) == (1, "", 1)
    assert outcome.told[0].startswith("samples: KEY_HOURS ")


async def test_who_never_sends_the_body_of_a_keyed_request_takes_no_connection(
    breakable_url: URL,
) -> None:
    async def slow() -> AsyncIterator[bytes]:
        began.set()
        yield b"{"
        await asyncio.Event().wait()

    began = asyncio.Event()
    async with SAMPLES.on(breakable_url, pool_size=1, pool_timeout=0.1) as (client, _):
        headers = {"Idempotency-Key": "slow", "Content-Length": "10"}
        restoring = asyncio.create_task(
            client.post("/notes/1/restore", content=slow(), headers=headers)
        )
        await began.wait()
        for _ in range(10):
            assert (await client.get("/books")).status_code == 200
        restoring.cancel()
        with suppress(asyncio.CancelledError):
            await restoring
