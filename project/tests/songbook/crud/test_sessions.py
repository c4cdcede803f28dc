"""SQLAlchemy's sessions in the transaction of a request: kept whole, with the response, or not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, FastAPI, Header, Response
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from songbook.crud import SessionDep
from songbook.errors import NotFound
from songbook.http import Router
from tests.samples.resources.books import Book
from tests.samples.resources.towns import Town
from tests.support.asserts import assert_problem, assert_unavailable
from tests.support.databases import all_rows
from tests.support.replays import DRY, assert_again, assert_first, assert_reused, assert_tried
from tests.support.routes import add_both_ways, asking, each_way, lent, open_router
from tests.support.writes import KEY, TOWN, Bug, Founding, done_and_tried, with_and_without_key

Use = Callable[[AsyncSession], Awaitable[object]]


async def found_town(body: Founding, session: SessionDep) -> Response:
    """Add a year to each book and store a town; commit nothing."""
    for book in await session.exec(select(Book)):
        book.year = (book.year or 0) + 1
    session.add(Town(name=body.name, population=body.population))
    return Response(body.model_dump_json(), 201, {"Location": "/here"}, "application/json")


def using(use: Use) -> Router:
    """Return the routes of a handler that uses its session in this way."""
    router = open_router()

    async def use_session(session: SessionDep) -> Response:
        """Use the session."""
        return Response(f"{await use(session)}")

    add_both_ways(router, "/used", use_session)
    return router


@pytest.fixture
def router() -> Router:
    """Give the routes of the handler that changes two tables."""
    router = open_router()
    add_both_ways(router, "/towns", found_town, status_code=201)
    return router


@pytest.fixture
async def other(app: FastAPI, client: AsyncClient, router: Router) -> AsyncIterator[AsyncClient]:
    """Give a client of the routes; there is a book of the year 2000, and a town."""
    await client.post("/books", json={"name": "a", "author": "b", "year": 2000})
    await client.post("/towns", json={"name": "taken", "population": 1})
    before = lent(app)
    async with asking(router, app) as other:
        yield other
    assert lent(app) == before


async def towns_of(client: AsyncClient) -> list[str]:
    """Return the names of the towns that are stored."""
    return [town["name"] for town in (await client.get("/towns")).json()]


@each_way
@with_and_without_key
async def test_what_is_in_the_session_is_stored_without_a_commit(
    client: AsyncClient, other: AsyncClient, way: str, headers: dict[str, str]
) -> None:
    answer = await other.post(f"{way}/towns", json=TOWN, headers=headers)

    assert_first(answer)
    assert (answer.status_code, answer.json()) == (201, TOWN)
    assert (await client.get("/books/1")).json()["year"] == 2001
    assert await towns_of(client) == ["taken", "Reykjavík"]


@each_way
@with_and_without_key
async def test_what_is_in_the_session_on_a_dry_run_is_not_stored(
    app: FastAPI, other: AsyncClient, way: str, headers: dict[str, str]
) -> None:
    before = await all_rows(app)

    answer = await other.post(f"{way}/towns{DRY}", json=TOWN, headers=headers)

    assert_tried(answer)
    assert answer.json() == TOWN
    assert await all_rows(app) == before


@each_way
@with_and_without_key
@done_and_tried
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "taken"}, (409, "/name")),
        ({"population": -1}, (422, "/population")),
        ({"population": "many"}, (422, "/population")),
    ],
)
async def test_what_is_refused_when_the_session_is_flushed_at_the_end_leaves_nothing(
    app: FastAPI,
    other: AsyncClient,
    way: str,
    headers: dict[str, str],
    query: str,
    change: dict[str, Any],
    expected: tuple[int, str],
) -> None:
    before = await all_rows(app)

    answer = await other.post(f"{way}/towns{query}", json=TOWN | change, headers=headers)

    status, pointer = expected
    [error] = assert_problem(answer, status)["errors"]
    assert error["pointer"] == pointer
    assert await all_rows(app) == before
    assert_first(await other.post(f"{way}/towns", json=TOWN, headers=headers))


@each_way
async def test_a_session_of_a_request_that_is_sent_again_does_nothing(
    app: FastAPI, client: AsyncClient, other: AsyncClient, way: str
) -> None:
    first = await other.post(f"{way}/towns", json=TOWN, headers=KEY)
    assert_first(first)
    await client.delete("/towns/2")
    before = await all_rows(app)

    again = await other.post(f"{way}/towns", json=TOWN, headers=KEY)

    assert_again(again, first)
    assert_reused(await other.post(f"{way}/towns", json=TOWN | {"name": "b"}, headers=KEY))
    assert await all_rows(app) == before


@each_way
async def test_a_session_that_is_first_flushed_at_the_end_is_answered_again_as_well(
    app: FastAPI, client: AsyncClient, way: str
) -> None:
    async def add(session: AsyncSession) -> int:
        session.add(Town(**TOWN))
        return 1

    before = lent(app)
    async with asking(using(add), app) as other:
        first = await other.post(f"{way}/used", headers=KEY)
        assert_first(first)
        assert_again(await other.post(f"{way}/used", headers=KEY), first)
        other_way = way.replace("direct", "x").replace("solved", "direct").replace("x", "solved")
        assert_reused(await other.post(f"{other_way}/used", headers=KEY))

    assert (await towns_of(client), lent(app)) == (["Reykjavík"], before)


@each_way
@with_and_without_key
@pytest.mark.usefixtures("other")
async def test_a_failure_that_a_handler_passes_over_is_a_failure_of_the_request(
    app: FastAPI, client: AsyncClient, way: str, headers: dict[str, str]
) -> None:
    async def pass_over(session: AsyncSession) -> int:
        session.add(Town(**TOWN))
        await session.flush()
        with suppress(DBAPIError):
            await (await session.connection()).execute(text("SELECT 1 / 0"))
        return 1

    before = await all_rows(app), lent(app)
    async with asking(using(pass_over), app) as careless:
        assert_problem(await careless.post(f"{way}/used", headers=headers), 500)

    assert (await all_rows(app), lent(app)) == before
    assert await towns_of(client) == ["taken"]


@each_way
@with_and_without_key
@done_and_tried
async def test_a_connection_that_breaks_leaves_nothing_and_is_replaced(
    app: FastAPI, client: AsyncClient, way: str, headers: dict[str, str], query: str
) -> None:
    async def break_off(session: AsyncSession) -> None:
        session.add(Town(**TOWN))
        await session.commit()
        await (await session.connection()).execute(
            text("SELECT pg_terminate_backend(pg_backend_pid())")
        )

    before = lent(app)
    async with asking(using(break_off), app) as other:
        assert_unavailable(await other.post(f"{way}/used{query}", headers=headers))

    assert (await towns_of(client), lent(app)) == ([], before)


@each_way
@with_and_without_key
@pytest.mark.parametrize(
    ("query", "pointer"), [("?dryrun=true", "/dryrun"), ("?dry_run=1", "/dry_run"), ("?x", "/x")]
)
async def test_a_parameter_that_is_unknown_or_malformed_is_refused_and_nothing_is_done(
    app: FastAPI, other: AsyncClient, way: str, headers: dict[str, str], query: str, pointer: str
) -> None:
    before = await all_rows(app)

    answer = await other.post(f"{way}/towns{query}", json=TOWN, headers=headers)

    [error] = assert_problem(answer, 422)["errors"]
    assert (error["location"], error["pointer"]) == ("query", pointer)
    assert await all_rows(app) == before


@each_way
@with_and_without_key
@done_and_tried
@pytest.mark.parametrize(("error", "status"), [(NotFound(), 404), (Bug(), 500)], ids=["404", "500"])
async def test_what_was_committed_before_a_failure_is_not_stored(
    app: FastAPI,
    client: AsyncClient,
    way: str,
    headers: dict[str, str],
    query: str,
    error: Exception,
    status: int,
) -> None:
    async def commit_and_fail(session: AsyncSession) -> None:
        session.add(Town(**TOWN))
        await session.commit()
        session.add(Town(name="another", population=1))
        await session.commit()
        raise error

    await client.post("/towns", json={"name": "taken", "population": 1})
    before = await all_rows(app), lent(app)
    async with asking(using(commit_and_fail), app) as other:
        assert_problem(await other.post(f"{way}/used{query}", headers=headers), status)

    assert (await all_rows(app), lent(app)) == before


@each_way
async def test_a_key_that_a_handler_commits_by_itself_stays_in_use(
    app: FastAPI, client: AsyncClient, way: str
) -> None:
    async def commit_the_connection(session: AsyncSession) -> None:
        await (await session.connection()).commit()

    async with asking(using(commit_the_connection), app) as other:
        assert_problem(await other.post(f"{way}/used", headers=KEY), 500)
        again = await other.post(f"{way}/used", headers=KEY)
    assert_problem(again, 409, "idempotency-key-in-use")
    assert (await client.get("/books")).status_code == 200


@each_way
@with_and_without_key
async def test_what_is_committed_is_not_seen_before_the_response_is_made(
    app: FastAPI, client: AsyncClient, way: str, headers: dict[str, str]
) -> None:
    async def commit_and_look(session: AsyncSession) -> list[str]:
        session.add(Town(**TOWN))
        await session.commit()
        return await towns_of(client)

    async with asking(using(commit_and_look), app) as other:
        answer = await other.post(f"{way}/used", headers=headers)

    assert answer.text == "[]"
    assert await towns_of(client) == ["Reykjavík"]


@each_way
@with_and_without_key
@done_and_tried
async def test_what_is_committed_on_a_dry_run_is_not_stored(
    app: FastAPI, client: AsyncClient, way: str, headers: dict[str, str], query: str
) -> None:
    async def commit(session: AsyncSession) -> int:
        session.add(Town(**TOWN))
        await session.commit()
        return 1

    async with asking(using(commit), app) as other:
        answer = await other.post(f"{way}/used{query}", headers=headers)

    assert (answer.status_code, answer.text) == (200, "1")
    assert await towns_of(client) == ([] if query else ["Reykjavík"])


@each_way
@with_and_without_key
async def test_a_rollback_undoes_what_came_before_it_and_nothing_else(
    app: FastAPI, client: AsyncClient, way: str, headers: dict[str, str]
) -> None:
    async def change_ones_mind(session: AsyncSession) -> int:
        session.add(Town(**TOWN))
        await session.flush()
        await session.rollback()
        session.add(Town(name="another", population=1))
        return 1

    async with asking(using(change_ones_mind), app) as other:
        answer = await other.post(f"{way}/used", headers=headers)

    assert_first(answer)
    assert await towns_of(client) == ["another"]


@each_way
@with_and_without_key
@pytest.mark.parametrize("query", ["", DRY], ids=["done", "tried"])
@pytest.mark.parametrize(
    "same", [{"id": 1, "name": "another"}, {"name": "taken"}], ids=["id", "name"]
)
@pytest.mark.usefixtures("other")
async def test_a_duplicate_is_a_conflict_where_the_handler_flushes_or_commits(
    app: FastAPI,
    way: str,
    headers: dict[str, str],
    query: str,
    same: dict[str, Any],
) -> None:

    async def commit(session: AsyncSession) -> None:
        session.add(Town(**TOWN))
        await session.flush()
        session.add(Town(**{"population": 1, **same}))
        await session.commit()

    before = await all_rows(app), lent(app)
    async with asking(using(commit), app) as duplicating:
        answer = await duplicating.post(f"{way}/used{query}", headers=headers)

    assert_problem(answer, 409, "conflict")
    assert (await all_rows(app), lent(app)) == before


@each_way
@with_and_without_key
@pytest.mark.usefixtures("other")
async def test_a_handler_may_go_on_behind_a_savepoint_that_failed(
    app: FastAPI, client: AsyncClient, way: str, headers: dict[str, str]
) -> None:

    async def store_or_count(session: AsyncSession) -> int:
        session.add(Town(**TOWN))
        try:
            async with session.begin_nested():
                session.add(Town(name="taken", population=5))
        except IntegrityError:
            return await session.scalar(select(func.count(col(Town.id)))) or 0
        return 0

    async with asking(using(store_or_count), app) as storing:
        answer = await storing.post(f"{way}/used", headers=headers)

    assert_first(answer)
    assert answer.text == "2"
    assert await towns_of(client) == ["taken", "Reykjavík"]


@each_way
@with_and_without_key
@done_and_tried
async def test_a_handler_that_does_not_use_its_session_takes_no_connection(
    app: FastAPI, way: str, headers: dict[str, str], query: str
) -> None:
    before = lent(app)

    async def idle(_: AsyncSession) -> int:
        return lent(app)

    async with asking(using(idle), app) as other:
        answer = await other.post(f"{way}/used{query}", headers=headers)

    assert (answer.status_code, answer.text, lent(app)) == (200, f"{before}", before)


@each_way
@with_and_without_key
async def test_a_body_is_read_and_validated_before_a_connection_is_taken(
    app: FastAPI, other: AsyncClient, way: str, headers: dict[str, str]
) -> None:
    before, seen = lent(app), list[int]()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"name": "a",'
        seen.append(lent(app))
        yield b'"population": 1}'

    json = {"Content-Type": "application/json", **headers}
    answer = await other.post(f"{way}/towns", content=body(), headers=json)

    assert_first(answer)
    assert seen == [before]


@each_way
@with_and_without_key
@done_and_tried
async def test_a_handler_that_is_cancelled_leaves_nothing(
    app: FastAPI, client: AsyncClient, way: str, headers: dict[str, str], query: str
) -> None:
    begun = asyncio.Event()

    async def stay(session: AsyncSession) -> None:
        session.add(Town(**TOWN))
        await session.commit()
        begun.set()
        await asyncio.Event().wait()

    before = await all_rows(app), lent(app)
    async with asking(using(stay), app) as other:
        asked = asyncio.create_task(other.post(f"{way}/used{query}", headers=headers))
        await begun.wait()
        assert lent(app) == before[1] + 1
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    assert (await all_rows(app), lent(app)) == before
    assert_first(await client.post("/towns", json=TOWN, headers=headers))


@pytest.mark.usefixtures("other")
async def test_background_tasks_run_once_and_only_for_a_write_that_is_stored(
    app: FastAPI, router: Router
) -> None:
    ran: list[str] = []

    @router.post("/told")
    async def found_and_tell(
        body: Founding,
        session: SessionDep,
        tasks: BackgroundTasks,
        x_flag: Annotated[str, Header()],
    ) -> Response:
        """Store a town, and tell."""
        tasks.add_task(ran.append, x_flag)
        return await found_town(body, session)

    async with asking(router, app) as telling:

        async def found(flag: str, query: str = "", **change: Any) -> int:
            headers = {"X-Flag": flag, "Idempotency-Key": flag}
            body = TOWN | change
            return (await telling.post(f"/told{query}", json=body, headers=headers)).status_code

        statuses = [await found("tried", DRY), await found("refused", name="taken")]
        assert (statuses, ran) == ([200, 409], [])
        assert await found("done") == 201
        assert await found("done") == 201
    assert ran == ["done"]
