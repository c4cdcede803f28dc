"""Writes of several statements: all is kept, with the response, or nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Request, Response
from httpx import AsyncClient
from sqlmodel import col

from songbook.crud import Id, SessionDep, TransactionDep, WriteDep
from songbook.db.statements import NO_ROW, BoundStatement
from songbook.errors import Forbidden, Problem
from songbook.http import Router
from tests.samples.resources.books import Book, books
from tests.samples.resources.towns import TownPublic, towns
from tests.support.asserts import assert_problem, assert_unavailable
from tests.support.databases import all_rows
from tests.support.replays import DRY, assert_again, assert_first, assert_reused, assert_tried
from tests.support.routes import add_both_ways, asking, each_way, lent, open_router
from tests.support.writes import KEY, TOWN, Bug, Founding, done_and_tried, with_and_without_key


async def found_town(id: Id, body: Founding, request: Request, db: TransactionDep) -> Response:
    """Add a year to a book, and store a town."""
    books.updated(await db.fetch(books.update(id, {"year": col(Book.year) + 1})))
    return towns.created(await db.fetch(towns.insert(body.model_dump())), request)


@pytest.fixture
def router() -> Router:
    """Give the routes of the handler that changes two tables."""
    router = open_router()
    add_both_ways(router, "/{id}", found_town, response_model=TownPublic, status_code=201)
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


@each_way
@with_and_without_key
async def test_what_a_handler_writes_to_two_tables_is_stored(
    client: AsyncClient, other: AsyncClient, way: str, headers: dict[str, str]
) -> None:
    answer = await other.post(f"{way}/1", json=TOWN, headers=headers)

    assert_first(answer)
    assert (answer.status_code, answer.json()) == (201, {**TOWN, "id": 2})
    assert answer.headers["location"] == f"{way}/1/2"
    book, town = await client.get("/books/1"), await client.get("/towns/2")
    assert (book.json()["year"], town.json()) == (2001, {**TOWN, "id": 2})
    assert town.headers["etag"] == answer.headers["etag"]


@each_way
@with_and_without_key
async def test_what_a_handler_writes_to_two_tables_on_a_dry_run_is_not_stored(
    app: FastAPI, other: AsyncClient, way: str, headers: dict[str, str]
) -> None:
    before = await all_rows(app)

    answer = await other.post(f"{way}/1{DRY}", json=TOWN, headers=headers)

    assert_tried(answer)
    assert answer.json()["name"] == "Reykjavík"
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
        ({"name": None}, (422, "/name")),
    ],
)
async def test_a_second_statement_that_is_refused_leaves_nothing_of_the_first(
    app: FastAPI,
    other: AsyncClient,
    way: str,
    headers: dict[str, str],
    query: str,
    change: dict[str, Any],
    expected: tuple[int, str],
) -> None:
    before = await all_rows(app)

    answer = await other.post(f"{way}/1{query}", json=TOWN | change, headers=headers)

    status, pointer = expected
    [error] = assert_problem(answer, status)["errors"]
    assert error["pointer"] == pointer
    assert await all_rows(app) == before
    assert_first(await other.post(f"{way}/1", json=TOWN, headers=headers))  # the key is free


@each_way
@with_and_without_key
@done_and_tried
@pytest.mark.usefixtures("other")
async def test_a_record_that_is_not_found_leaves_nothing_of_what_was_done_before(
    app: FastAPI, router: Router, way: str, headers: dict[str, str], query: str
) -> None:
    async def rename_towns(id: Id, db: TransactionDep) -> Response:
        """Change two towns."""
        towns.updated(await db.fetch(towns.update(1, {"name": "changed"})))
        return towns.updated(await db.fetch(towns.update(id, {"population": 0})))

    add_both_ways(router, "/towns/{id}", rename_towns, "PATCH")
    before = await all_rows(app)

    async with asking(router, app) as renaming:
        for absent in (2, 10**30):
            answer = await renaming.patch(f"{way}/towns/{absent}{query}", headers=headers)
            assert assert_problem(answer, 404)["detail"] == "Town not found"
    assert await all_rows(app) == before


@each_way
async def test_a_request_that_is_sent_again_with_its_key_gets_the_same_and_is_not_done_again(
    app: FastAPI, client: AsyncClient, other: AsyncClient, way: str
) -> None:
    first = await other.post(f"{way}/1", json=TOWN, headers=KEY)
    assert_first(first)
    await client.delete("/towns/2")
    before = await all_rows(app)

    again = await other.post(f"{way}/1", json=TOWN, headers=KEY)

    assert_again(again, first)
    assert again.headers["idempotency-replayed"] == "true"
    assert shared_headers(again) == shared_headers(first)
    assert_reused(await other.post(f"{way}/1", json=TOWN | {"population": 1}, headers=KEY))
    assert_reused(await other.post(f"{way}/2", json=TOWN, headers=KEY))
    assert await all_rows(app) == before


def shared_headers(answer: Any) -> list[tuple[str, str]]:
    """Return the headers that an answer has in common with its replay."""
    own = {"x-request-id", "idempotency-replayed", "server-timing"}
    return sorted(header for header in answer.headers.multi_items() if header[0] not in own)


@each_way
@with_and_without_key
@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("?dryrun=true", "/dryrun"),
        ("?dry_run=yes", "/dry_run"),
        ("?dry_run=true&dry_run=true", "/dry_run"),
        ("?x", "/x"),
    ],
)
async def test_a_parameter_that_is_unknown_or_malformed_is_refused_and_nothing_is_done(
    app: FastAPI, other: AsyncClient, way: str, headers: dict[str, str], query: str, pointer: str
) -> None:
    before = await all_rows(app)

    answer = await other.post(f"{way}/1{query}", json=TOWN, headers=headers)

    [error] = assert_problem(answer, 422)["errors"]
    assert (error["location"], error["pointer"]) == ("query", pointer)
    assert await all_rows(app) == before


@each_way
@with_and_without_key
@done_and_tried
async def test_a_bug_of_a_handler_leaves_nothing(
    app: FastAPI,
    other: AsyncClient,
    router: Router,
    way: str,
    headers: dict[str, str],
    query: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(db: TransactionDep) -> Response:
        """Store a town and fail."""
        await db.fetch(towns.insert(TOWN))
        raise Bug

    add_both_ways(router, "/bug/here", fail)
    before = await all_rows(app), lent(app)

    async with asking(router, app) as failing:
        for _ in range(2):
            assert_problem(await failing.post(f"{way}/bug/here{query}", headers=headers), 500)

    assert (await all_rows(app), lent(app)) == before
    raised = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [type(error) for error in raised] == [Bug, Bug]
    assert_first(await other.post(f"{way}/1", json=TOWN, headers=headers))


@each_way
@with_and_without_key
@done_and_tried
async def test_a_connection_that_breaks_leaves_nothing_and_is_replaced(
    app: FastAPI, other: AsyncClient, router: Router, way: str, headers: dict[str, str], query: str
) -> None:
    async def break_off(db: TransactionDep) -> Response:
        """Store a town and lose the connection."""
        await db.fetch(towns.insert(TOWN))
        await db.fetch(BoundStatement("SELECT pg_terminate_backend(pg_backend_pid())", []))
        return Response()

    add_both_ways(router, "/broken/off", break_off)
    before = await all_rows(app), lent(app)

    async with asking(router, app) as broken:
        assert_unavailable(await broken.post(f"{way}/broken/off{query}", headers=headers))

    assert (await all_rows(app), lent(app)) == before
    assert_first(await other.post(f"{way}/1", json=TOWN, headers=headers))


@each_way
@with_and_without_key
@done_and_tried
async def test_a_handler_that_is_cancelled_leaves_nothing(
    app: FastAPI, other: AsyncClient, router: Router, way: str, headers: dict[str, str], query: str
) -> None:
    begun = asyncio.Event()

    async def stay(db: TransactionDep) -> Response:
        """Store a town and never end."""
        await db.fetch(towns.insert(TOWN))
        begun.set()
        await asyncio.Event().wait()
        return Response()

    add_both_ways(router, "/stay/here", stay)
    before = await all_rows(app), lent(app)

    async with asking(router, app) as leaving:
        asked = asyncio.create_task(leaving.post(f"{way}/stay/here{query}", headers=headers))
        await begun.wait()
        assert lent(app) == before[1] + 1
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    assert (await all_rows(app), lent(app)) == before
    assert_first(await other.post(f"{way}/1", json=TOWN, headers=headers))


@each_way
@done_and_tried
@pytest.mark.parametrize("dependency", [TransactionDep, WriteDep], ids=["several", "one"])
async def test_a_handler_without_a_statement_takes_no_connection(
    app: FastAPI, router: Router, way: str, query: str, dependency: Any
) -> None:
    async def idle(db: dependency) -> Response:
        """Return how many connections are in use."""
        assert await db.fetch(NO_ROW) is None
        return Response(f"{lent(app)}")

    add_both_ways(router, "/idle/here", idle)
    before = lent(app)

    async with asking(router, app) as other:
        answer = await other.post(f"{way}/idle/here{query}", headers=KEY)

    assert (answer.status_code, answer.text) == (200, f"{before}")


@each_way
async def test_a_body_is_read_and_validated_before_a_connection_is_taken(
    app: FastAPI, other: AsyncClient, way: str
) -> None:
    before, seen = lent(app), list[int]()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"name": "a",'
        seen.append(lent(app))
        yield b'"population": 1}'

    json = {"Content-Type": "application/json", **KEY}
    answer = await other.post(f"{way}/1", content=body(), headers=json)

    assert_first(answer)
    assert seen == [before]


@pytest.mark.usefixtures("other")
async def test_background_tasks_run_once_and_only_for_a_write_that_is_stored(
    app: FastAPI, router: Router
) -> None:
    ran: list[str] = []

    @router.post("/told/{id}")
    async def found_and_tell(
        id: Id,
        body: Founding,
        request: Request,
        db: TransactionDep,
        tasks: BackgroundTasks,
        x_flag: Annotated[str, Header()],
    ) -> Response:
        """Change a book, store a town, and tell."""
        tasks.add_task(ran.append, x_flag)
        return await found_town(id, body, request, db)

    async with asking(router, app) as telling:

        async def found(flag: str, query: str = "", **change: Any) -> int:
            headers = {"X-Flag": flag, "Idempotency-Key": flag}
            body = TOWN | change
            return (await telling.post(f"/told/1{query}", json=body, headers=headers)).status_code

        statuses = [
            await found("tried", DRY),
            await found("refused", name="taken"),
            await found("unknown", "?x"),
        ]
        assert (statuses, ran) == ([200, 409, 422], [])
        assert await found("done") == 201
        assert await found("done") == 201
    assert ran == ["done"]


# One statement


@each_way
@pytest.mark.parametrize(
    ("headers", "query", "stored"),
    [({}, "", 1), (KEY, "", 0), ({}, DRY, 0), (KEY, DRY, 0)],
    ids=["no key", "key", "tried", "tried with a key"],
)
async def test_a_second_statement_of_what_runs_one_is_a_bug_of_the_handler(
    app: FastAPI,
    client: AsyncClient,
    way: str,
    headers: dict[str, str],
    query: str,
    stored: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without a key the first is committed by itself, so that it is there by then."""
    router = open_router()

    async def store_two(db: WriteDep) -> Response:
        """Store a town, and another."""
        await db.fetch(towns.insert(TOWN))
        await db.fetch(towns.insert(TOWN | {"name": "another"}))
        return Response()

    add_both_ways(router, "/two", store_two)
    before = lent(app)
    async with asking(router, app) as other:
        assert_problem(await other.post(f"{way}/two{query}", headers=headers), 500)

    [error] = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert isinstance(error, RuntimeError)
    assert "use TransactionDep" in str(error)
    rows = await all_rows(app)
    assert (len(rows["towns"]), rows["idempotency"], lent(app)) == (stored, [], before)
    assert (await client.get("/towns")).status_code == 200


async def test_a_second_statement_is_refused_behind_one_that_nothing_was_asked_for(
    app: FastAPI,
    client: AsyncClient,  # noqa: ARG001 - it empties the tables
) -> None:
    router = open_router()

    @router.post("/two")
    async def store_second(db: WriteDep) -> Response:
        """Change no town, and store one."""
        await db.fetch(towns.update(0, {"name": "a"}))
        await db.fetch(towns.insert(TOWN))
        return Response()

    async with asking(router, app) as other:
        assert_problem(await other.post("/two"), 500)

    assert (await all_rows(app))["towns"] == []


@pytest.mark.parametrize(
    "dependencies",
    [(WriteDep, TransactionDep), (TransactionDep, SessionDep), (SessionDep, WriteDep)],
    ids=["statement and transaction", "transaction and session", "session and statement"],
)
def test_a_handler_cannot_ask_for_two_transactions(dependencies: tuple[Any, Any]) -> None:
    """Only one of them would end with the response."""
    first, second = dependencies

    async def of_first(db: first) -> Any:  # type: ignore[valid-type] # a parameter of the test
        """Return what a dependency has."""
        return db

    async def store(
        db: second,  # type: ignore[valid-type]
        more: Annotated[Any, Depends(of_first)],
    ) -> Response:
        """Store twice."""
        return Response(f"{db, more}")

    async def store_both(
        db: first,  # type: ignore[valid-type]
        more: second,  # type: ignore[valid-type]
    ) -> Response:
        """Store twice."""
        return Response(f"{db, more}")

    for handler in (store, store_both):
        with pytest.raises(TypeError, match="/two depends on more than one transaction"):
            open_router().post("/two")(handler)


async def test_a_handler_and_its_dependencies_share_a_transaction(
    app: FastAPI, client: AsyncClient
) -> None:
    router = open_router()

    async def stored_town(db: TransactionDep) -> Any:
        """Store a town."""
        return await db.fetch(towns.insert(TOWN))

    @router.post("/shared/{more}")
    async def store_another(
        more: str, first: Annotated[Any, Depends(stored_town)], db: TransactionDep
    ) -> Response:
        """Store another town."""
        await db.fetch(towns.insert({"name": more, "population": first["id"]}))
        return Response()

    @router.post("/twice")
    async def store_both(first: TransactionDep, second: TransactionDep) -> Response:
        """Store two towns."""
        await first.fetch(towns.insert({"name": "first", "population": 1}))
        await second.fetch(towns.insert({"name": "second", "population": 1}))
        return Response()

    before = lent(app)
    async with asking(router, app) as other:
        assert_problem(await other.post("/shared/Reykjavík"), 409)
        assert (await client.get("/towns")).json() == []
        assert_first(await other.post("/shared/another"))
        assert_first(await other.post("/twice"))
    assert len((await client.get("/towns")).json()) == 4
    assert lent(app) == before


async def test_a_field_may_become_what_another_column_has(
    app: FastAPI, client: AsyncClient
) -> None:
    router = open_router()

    @router.patch("/copied/{id}")
    async def copy_author(id: Id, db: WriteDep) -> Response:
        return books.updated(await db.fetch(books.update(id, {"name": Book.author})))

    await client.post("/books", json={"name": "a", "author": "b", "year": 2000})
    async with asking(router, app) as another:
        answer = await another.patch("/copied/1")
    assert (answer.status_code, answer.json()["name"]) == (200, "b")


@pytest.mark.parametrize("path", ["/statements", "/session"])
async def test_a_handler_that_passes_over_a_key_that_was_used_does_nothing(
    app: FastAPI, client: AsyncClient, path: str
) -> None:
    router = open_router()

    @router.post("/statements/{id}")
    async def change_by_statements(id: Id, body: Founding, db: TransactionDep) -> Response:
        with suppress(Problem):
            await db.fetch(books.update(id, {"name": body.name}))
        return books.updated(await db.fetch(books.update(id, {"name": body.name})))

    @router.post("/session/{id}")
    async def change_by_session(id: Id, body: Founding, session: SessionDep) -> Response:
        with suppress(Problem):
            await session.get(Book, id)
        book = await session.get_one(Book, id)
        book.name = body.name
        return Response(book.name)

    await client.post("/books", json={"name": "a", "author": "b", "year": 2000})
    async with asking(router, app) as other:
        first = await other.post(f"{path}/1", json=TOWN, headers=KEY)
        reused = await other.post(f"{path}/1", json={**TOWN, "name": "b"}, headers=KEY)
        again = await other.post(f"{path}/1", json=TOWN, headers=KEY)
    assert_first(first)
    assert_reused(reused)
    assert_again(again, first)
    assert (await client.get("/books/1")).json()["name"] == TOWN["name"]


@pytest.mark.parametrize("refusal", [Forbidden(), HTTPException(403)], ids=["own", "FastAPI's"])
@pytest.mark.parametrize("body", [None, TOWN], ids=["no body", "body"])
@each_way
async def test_what_was_done_is_answered_again_though_the_handler_refuses_it_now(
    app: FastAPI, client: AsyncClient, way: str, refusal: Exception, body: Any
) -> None:
    done: list[int] = []

    async def add_year(id: Id, db: TransactionDep) -> Response:
        if done:
            raise refusal
        done.append(id)
        return books.updated(await db.fetch(books.update(id, {"year": col(Book.year) + 1})))

    async def add_year_by(id: Id, body: Founding, db: TransactionDep) -> Response:
        assert body.name == TOWN["name"]
        return await add_year(id, db)

    router = open_router()
    add_both_ways(router, "/{id}", add_year_by if body else add_year)
    await client.post("/books", json={"name": "a", "author": "b", "year": 2000})
    async with asking(router, app) as other:
        first = await other.post(f"{way}/1", json=body, headers=KEY)
        assert_first(first)
        assert_again(await other.post(f"{way}/1", json=body, headers=KEY), first)
        assert_problem(await other.post(f"{way}/1", json=body), 403, "forbidden")


@pytest.mark.parametrize(("status", "tried"), [(204, 200), (303, 200), (409, 409), (500, 500)])
@each_way
async def test_a_failure_that_a_handler_returns_is_one_on_a_dry_run_too(
    app: FastAPI, client: AsyncClient, way: str, status: int, tried: int
) -> None:
    async def change(db: TransactionDep) -> Response:
        await db.fetch(towns.insert(TOWN))
        return Response(status_code=status)

    router = open_router()
    add_both_ways(router, "/towns", change)
    async with asking(router, app) as other:
        answer = await other.post(f"{way}/towns{DRY}")
    assert answer.status_code == tried
    assert (await client.get("/towns")).json() == []
