"""Queries of a service's own: joins and aggregates, whose rows PostgreSQL writes as JSON."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

import pytest
from fastapi import FastAPI, Query, Request, Response
from httpx import AsyncClient
from pydantic import BaseModel, TypeAdapter
from sqlalchemy import Double, Integer, Numeric, and_, bindparam, cast, func, literal, select
from sqlmodel import col

from songbook.crud import IfNoneMatch, ReadDep, TransactionDep
from songbook.http import Route, Router
from songbook.lists import json_rows, rows_response
from tests.samples.resources.books import Book
from tests.samples.resources.towns import Town, towns
from tests.support.asserts import assert_headers, assert_problem
from tests.support.routes import asking, lent, open_router


class Shelf(BaseModel):
    """A town and the books that it wrote since a year."""

    name: str
    books: int
    average: str | None
    exact: float | None
    latest: int | None


SHELVES = json_rows(
    select(
        col(Town.name),
        func.count(col(Book.id)).label("books"),
        cast(func.avg(col(Book.year)), Numeric(10, 3)).label("average"),
        cast(func.avg(col(Book.year)), Double).label("exact"),
        func.max(col(Book.year)).label("latest"),
    )
    .join(
        Book,
        and_(col(Book.author) == col(Town.name), col(Book.year) >= bindparam("since")),
        isouter=True,
    )
    .where(col(Town.population) >= bindparam("population"))
    .group_by(col(Town.id))
    .order_by(func.count(col(Book.id)).desc(), col(Town.id).desc())
    .limit(20)
)
COUNT = json_rows(select(func.count(col(Town.id)).label("towns"), literal("ü\n\"'").label("text")))


@pytest.fixture
def router() -> Router:
    """Give the routes of the queries."""
    router = open_router()

    @router.get("/shelves", response_model=list[Shelf])
    async def list_shelves(
        if_none_match: IfNoneMatch,
        db: ReadDep,
        since: Annotated[int, Query(ge=1, le=9999)] = 1900,
        population: int = 0,
    ) -> Response:
        """List the twenty towns with the most books since a year."""
        row = await db.fetch(SHELVES.bind({"since": since, "population": population}))
        return rows_response(row, if_none_match)

    @router.get("/shelves-here")
    async def list_shelves_here(request: Request, db: ReadDep) -> Response:
        """List the towns, and say where."""
        response = rows_response(await db.fetch(SHELVES.bind({"since": 1, "population": 0})))
        response.headers["X-Path"] = request.url.path
        return response

    @router.post("/counted")
    async def count_towns(db: TransactionDep) -> Response:
        """Store a town, and count all."""
        await db.fetch(towns.insert({"name": "new", "population": 0}))
        return rows_response(await db.fetch(COUNT.bind({})))

    return router


@pytest.fixture
async def other(app: FastAPI, client: AsyncClient, router: Router) -> AsyncIterator[AsyncClient]:
    """Give a client of the routes; there are three towns, and books of two."""
    for name in ("Bergen", "Ålesund", "Oslo"):
        await client.post("/towns", json={"name": name, "population": len(name)})
    for author, year in (("Oslo", 1999), ("Oslo", 2000), ("Oslo", 1800), ("Bergen", None)):
        await client.post("/books", json={"name": "a", "author": author, "year": year})
    before = lent(app)
    async with asking(router, app) as other:
        yield other
    assert lent(app) == before


def test_a_handler_with_a_query_parameter_or_the_request_is_called_directly(router: Router) -> None:
    routes = [route for route in router.routes if isinstance(route, Route)]

    assert [route.direct is not None for route in routes] == [True, True, True]


async def test_a_join_is_answered_as_postgresql_writes_it(other: AsyncClient) -> None:
    answer = await other.get("/shelves")

    assert answer.json() == [
        {"name": "Oslo", "books": 2, "average": "1999.500", "exact": 1999.5, "latest": 2000},
        {"name": "Ålesund", "books": 0, "average": None, "exact": None, "latest": None},
        {"name": "Bergen", "books": 0, "average": None, "exact": None, "latest": None},
    ]
    shelves = TypeAdapter(list[Shelf]).validate_python(answer.json())
    assert [[*row] for row in answer.json()] == [[*Shelf.model_fields] for _ in shelves]
    assert answer.headers["content-type"] == "application/json"
    assert_headers(answer)


async def test_values_are_bound_by_their_names(other: AsyncClient) -> None:
    async def asked(query: str) -> list[tuple[str, int]]:
        return [(row["name"], row["books"]) for row in (await other.get(f"/shelves{query}")).json()]

    assert await asked("?since=1") == [("Oslo", 3), ("Ålesund", 0), ("Bergen", 0)]
    assert await asked("?since=2000&population=6") == [("Ålesund", 0), ("Bergen", 0)]
    assert await asked("?population=7") == [("Ålesund", 0)]
    several = await asyncio.gather(*(asked(f"?since={year}") for year in (1, 1999, 2000, 2001)))
    assert [dict(found)["Oslo"] for found in several] == [3, 2, 1, 0]


async def test_no_rows_are_an_empty_array(other: AsyncClient) -> None:
    answer = await other.get("/shelves?population=100")

    assert (answer.status_code, answer.content) == (200, b"[]")
    assert_headers(answer)
    again = await other.get(
        "/shelves?population=100", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304


async def test_rows_that_the_client_has_already_are_not_sent_again(
    client: AsyncClient, other: AsyncClient
) -> None:
    first = await other.get("/shelves")
    tag = first.headers["etag"]

    for condition in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = await other.get("/shelves", headers={"If-None-Match": condition})
        assert (answer.status_code, answer.content) == (304, b"")
        assert (answer.headers["etag"], "content-type" in answer.headers) == (tag, False)
        assert_headers(answer)
    assert (
        await other.get("/shelves?since=1901", headers={"If-None-Match": tag})
    ).status_code == 304
    assert (await other.get("/shelves?since=1", headers={"If-None-Match": tag})).status_code == 200
    await client.delete("/books/1")
    changed = await other.get("/shelves", headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()[0]["books"]) == (200, 1)
    head = await other.head("/shelves")
    assert (head.content, head.headers["etag"]) == (b"", changed.headers["etag"])


async def test_a_handler_may_have_the_request_as_well(other: AsyncClient) -> None:
    answer = await other.get("/shelves-here")

    assert (answer.json()[0]["books"], answer.headers["x-path"]) == (3, "/shelves-here")
    [error] = assert_problem(await other.get("/shelves-here?since=1"), 422)["errors"]
    assert error["pointer"] == "/since"


async def test_a_query_in_a_transaction_sees_what_was_written_before(
    client: AsyncClient, other: AsyncClient
) -> None:
    answer = await other.post("/counted?dry_run=true")

    assert json.loads(answer.content) == [{"towns": 4, "text": "ü\n\"'"}]
    assert len((await client.get("/towns")).json()) == 3


async def test_a_query_may_ask_for_one_of_several_values(app: FastAPI, client: AsyncClient) -> None:
    names = select(col(Town.name)).where(col(Town.name).in_(["a", "c"]), col(Town.population) > 1)
    statement = json_rows(names.where(col(Town.name) != bindparam("other")).limit(5))
    router = open_router()

    @router.get("/names")
    async def list_names(db: ReadDep) -> Response:
        return rows_response(await db.fetch(statement.bind({"other": "b"})))

    for name in "abc":
        await client.post("/towns", json={"name": name, "population": 2})
    async with asking(router, app) as other:
        answer = await other.get("/names")
    assert (answer.status_code, answer.json()) == (200, [{"name": "a"}, {"name": "c"}])


async def test_a_value_of_a_query_may_be_null(app: FastAPI, client: AsyncClient) -> None:
    nothing = bindparam("nothing", None, type_=Integer)
    statement = json_rows(select(col(Town.name), nothing.label("nothing")).limit(5))
    router = open_router()

    @router.get("/names")
    async def list_names(db: ReadDep, nothing: int | None = None) -> Response:
        values = {} if nothing is None else {"nothing": nothing}
        return rows_response(await db.fetch(statement.bind(values)))

    await client.post("/towns", json={"name": "a", "population": 2})
    async with asking(router, app) as other:
        answers = [await other.get("/names"), await other.get("/names?nothing=1")]
    assert [answer.json() for answer in answers] == [
        [{"name": "a", "nothing": None}],
        [{"name": "a", "nothing": 1}],
    ]


def test_a_value_without_a_default_has_to_be_given() -> None:
    with pytest.raises(KeyError, match="since"):
        SHELVES.bind({"population": 1})
