"""Fields: responses show those that are asked for, and cost no others."""

import asyncio
import json
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from songbook.models.tables import table_of
from tests.samples.resources.books import Book, BookPublic
from tests.support.asserts import assert_problem
from tests.support.lists import page_statement_of

CSV, NDJSON = "text/csv", "application/x-ndjson"
BOOK = {"id": 1, "name": "Emma", "author": "Austen", "year": 1815}


@pytest.fixture
async def stored(client: AsyncClient) -> AsyncClient:
    """Give a client of a service with a book, a publisher and its two novels."""
    await client.post("/books", json={key: BOOK[key] for key in ("name", "author", "year")})
    await client.post("/publishers", json={"name": "Faber", "country": "GB"})
    for title, price in (("Emma", "9.90"), ("Pan", "8.50")):
        await client.post("/novels", json={"title": title, "price": price, "publisher_id": 1})
    return client


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("/books?fields=year,id", [{"id": 1, "year": 1815}]),
        ("/books/1?fields=year,id", {"id": 1, "year": 1815}),
        ("/books/1?fields=author", {"author": "Austen"}),
        ("/books/1?fields=year,author,id,name", BOOK),
        ("/notes?fields=id", {"count": 0, "items": []}),
        ("/novels?fields=price,title&limit=1", [{"title": "Emma", "price": "9.90"}]),
        ("/publishers?fields=novel_count", [{"novel_count": 2}]),
        ("/publishers/1?fields=novel_count,name", {"name": "Faber", "novel_count": 2}),
        ("/publishers/1/novels?fields=title", [{"title": "Emma"}, {"title": "Pan"}]),
        ("/novels?fields=title&q=pan&publisher.country=GB", [{"title": "Pan"}]),
    ],
)
async def test_a_response_has_the_fields_that_are_asked_for_in_their_order(
    stored: AsyncClient, query: str, body: Any
) -> None:
    answer = await stored.get(query)

    assert answer.text.replace(",\n", ",") == json.dumps(body, separators=(",", ":"))


async def test_related_records_are_whole_beside_some_fields(stored: AsyncClient) -> None:
    faber = (await stored.get("/publishers/1")).json()

    for url in ("/novels?limit=1&", "/novels/1?"):
        found = (await stored.get(f"{url}fields=price&expand=publisher")).json()
        assert (found[0] if isinstance(found, list) else found) == {
            "price": "9.90",
            "publisher": faber,
        }
    children = await stored.get("/publishers/1?expand=novels&fields=name")
    assert [*children.json()] == ["name", "novels"]
    lines = await stored.get("/novels?fields=title&expand=publisher", headers={"Accept": NDJSON})
    assert json.loads(lines.text.splitlines()[1]) == {"title": "Pan", "publisher": faber}
    csv = await stored.get("/novels?fields=price,id&sort=-title", headers={"Accept": CSV})
    assert csv.text == "id,price\n2,8.50\n1,9.90\n"


async def test_some_fields_have_a_tag_of_their_own_that_is_as_good(stored: AsyncClient) -> None:
    whole = await stored.get("/books/1")
    some = await stored.get("/books/1?fields=name")
    tag, etag = whole.headers["ETag"], some.headers["ETag"]

    assert etag.startswith(f"{tag[:-1]}.")
    assert (await stored.get("/books/1?fields=name,id")).headers["ETag"] != etag
    assert (await stored.get("/books/1?fields=year,author,name,id")).headers["ETag"] == tag
    for given, status in ((etag, 304), (tag, 200)):
        again = await stored.get("/books/1?fields=name", headers={"If-None-Match": given})
        assert again.status_code == status
    changed = await stored.patch("/books/1", json={"year": 1816}, headers={"If-Match": etag})
    assert changed.status_code == 200
    assert (await stored.get("/books/1?fields=name")).headers["ETag"] != etag
    refused = await stored.patch("/books/1", json={"year": 1817}, headers={"If-Match": etag})
    assert refused.status_code == 412
    lists = [await stored.get(f"/books{query}") for query in ("", "?fields=id", "?fields=name")]
    assert len({each.headers["ETag"] for each in lists}) == 3


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("fields=nmae", "did you mean `name`?"),
        ("fields=name,versoin", "separated by commas"),
        ("fields=name,version", "separated by commas"),
        ("fields=", "separated by commas"),
        ("fields=name,", "separated by commas"),
        ("fields=name, id", "separated by commas"),
        ("fields=name,id,name", "only once"),
        ("fields=name&fields=id", "only once"),
    ],
)
async def test_other_fields_are_refused(client: AsyncClient, query: str, says: str) -> None:
    for path in ("/books", "/books/1"):
        problem = assert_problem(await client.get(f"{path}?{query}"), 422, "validation")
        [error] = problem["errors"]
        assert (error["pointer"], error["location"]) == ("/fields", "query")
        assert says in error["detail"]
    several = await client.get("/novels/1?fields=x&expand=y")
    assert {each["pointer"] for each in several.json()["errors"]} == {"/fields", "/expand"}


def test_a_statement_reads_the_fields_that_it_shows_and_orders_by() -> None:
    sql = page_statement_of(Book, BookPublic, "fields=name&sort=-year").sql

    assert "author" not in sql
    same = page_statement_of(Book, BookPublic, "fields=id,author,name,year").sql
    assert same == page_statement_of(Book, BookPublic, "").sql


async def test_a_cursor_is_good_with_other_fields(stored: AsyncClient) -> None:
    first = await stored.get("/novels?sort=-title&limit=1&fields=price")
    assert first.json() == [{"price": "8.50"}]

    following = first.links["next"]["url"]
    assert "fields=price" in following
    assert (await stored.get(following)).json() == [{"price": "9.90"}]
    whole = await stored.get(following.replace("fields=price", "fields=title,id"))
    assert whole.json() == [{"id": 1, "title": "Emma"}]


async def test_reads_of_different_fields_at_once_get_their_own(stored: AsyncClient) -> None:
    names = ("id", "name", "author", "year")
    urls = [f"/books{record}?fields={name}" for record in ("/1", "") for name in names] * 8

    answers = await asyncio.gather(*(stored.get(url) for url in urls))

    for url, answer in zip(urls, answers, strict=True):
        name, found = url.rpartition("=")[2], answer.json()
        assert (found[0] if isinstance(found, list) else found) == {name: BOOK[name]}


@pytest.fixture
async def long_keys(session: AsyncSession) -> None:
    """Store books that are long in the field by which they are sorted."""
    rows = [
        {"name": f"{number:0100}", "author": f"{'𝄞' * 250}{number:05}", "year": None}
        for number in range(1001)
    ]
    await session.exec(insert(table_of(Book)), params=rows)
    await session.commit()


@pytest.mark.usefixtures("long_keys")
async def test_a_page_is_as_long_as_what_it_shows(client: AsyncClient) -> None:
    page = await client.get("/books?sort=author&fields=name&limit=1000")
    rest = await client.get(page.links["next"]["url"])

    assert [int(row["name"]) for row in page.json() + rest.json()] == [*range(1001)]
