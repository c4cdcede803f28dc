"""Pages: a walk along the links sees every row once, in order, whatever happens meanwhile."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import URL, ASGITransport, AsyncClient
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, text
from sqlmodel import SQLModel

from songbook.crud.preconditions import schema_fingerprint
from songbook.db.database import Database
from songbook.db.statements import BoundStatement
from songbook.errors.problems import BadCursor
from songbook.http.media_types import JSON
from songbook.lists.cursors import decode_cursor, encode_cursor
from songbook.lists.pages import Page
from songbook.models.bases import Record
from songbook.models.tables import table_of
from tests.samples.resources.books import Book, BookPublic
from tests.samples.resources.notes import Note, NotePublic
from tests.support.asserts import assert_problem
from tests.support.books import BOOKS, FIELDS, ORDERS, SOME_BOOKS, lay_out, only
from tests.support.databases import nodes_of, waiting
from tests.support.listed import FILTERS, Filter, Row, in_order, orders
from tests.support.lists import page_statement_of, params_of
from tests.support.marks import slow
from tests.support.samples import SAMPLES, TYPES, Sample, SamplePublic

LIMITS = st.lists(st.integers(1, 5), min_size=1, max_size=4)


async def walk(
    client: AsyncClient, url: str, limits: Sequence[int] = ()
) -> AsyncIterator[list[Row]]:
    """Give the pages of a list, along the links, each asked for with the next of the limits."""
    following: str | None = url
    for limit in itertools.cycle(limits or [0]):
        if following is None:
            return
        address = URL(following)
        answer = await client.get(address.copy_set_param("limit", limit) if limit else address)
        assert answer.status_code == 200, answer.text
        following = answer.links.get("next", {}).get("url")
        assert not limit or len(answer.json()) == limit or following is None
        yield answer.json()


async def gathered(pages: AsyncIterator[list[Row]]) -> list[Row]:
    return [row async for page in pages for row in page]


@pytest.mark.long
@settings(max_examples=75)
@given(books=SOME_BOOKS, order=ORDERS, filtered=FILTERS, fields=FIELDS, limits=LIMITS)
async def test_a_walk_sees_every_row_that_was_asked_for_once_and_in_order(
    app: FastAPI,
    client: AsyncClient,
    books: list[Row],
    order: list[str],
    filtered: Filter,
    fields: list[str],
    limits: list[int],
) -> None:
    rows = await lay_out(app, books)
    asked = [("sort", ",".join(order)), ("fields", ",".join(fields)), *filtered.parameters]

    seen = await gathered(walk(client, str(URL("/books", params=asked)), limits))

    wanted = in_order([row for row in rows if filtered.asks(row)], order)
    assert [[*row.items()] for row in seen] == only(wanted, fields)


@slow
@pytest.mark.long
@settings(max_examples=30)
@given(
    books=SOME_BOOKS,
    others=SOME_BOOKS,
    order=ORDERS,
    limit=st.integers(1, 3),
    arriving=st.lists(BOOKS, max_size=20),
)
async def test_a_walk_sees_every_row_that_stays_once_though_others_come_and_go(
    app: FastAPI,
    client: AsyncClient,
    books: list[Row],
    others: list[Row],
    order: list[str],
    limit: int,
    arriving: list[Row],
) -> None:
    rows = await lay_out(app, [*books, *others])
    staying = rows[: len(books)]
    table = table_of(Book)
    seen: list[Row] = []

    async for page in walk(client, f"/books?sort={','.join(order)}", [limit]):
        seen += page
        async with app.state.service.database.engine.begin() as connection:
            # even the row that the cursor names may go
            gone = [row["id"] for row in page if row not in staying]
            await connection.execute(delete(table).where(table.c.id.in_(gone)))
            for number, book in enumerate(arriving[:2], 1000 + len(seen) * 10):
                await connection.execute(insert(table).values(id=number, **book))
        arriving = arriving[2:]

    assert [row for row in seen if row in staying] == in_order(staying, order)
    assert seen == in_order(seen, order)
    assert len({row["id"] for row in seen}) == len(seen)


# As close to each other as PostgreSQL's moments can be, and as far apart.
MOMENTS = [
    datetime(1, 1, 1, microsecond=1, tzinfo=UTC),
    datetime(2024, 2, 29, 23, 59, 59, 999_998, tzinfo=UTC),
    datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2024, 3, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_990, tzinfo=UTC),
]
NOTES = st.fixed_dictionaries(
    {
        "content": st.sampled_from(["a", "b"]),
        "created_at": st.sampled_from(MOMENTS),
        "updated_at": st.sampled_from(MOMENTS),
        "deleted_at": st.none() | st.sampled_from(MOMENTS),
    }
)


@pytest.mark.long
@settings(max_examples=40)
@given(
    notes=st.lists(NOTES, min_size=2, max_size=12),
    order=st.just([]) | orders(["created_at", "updated_at"]),
    limit=st.integers(1, 3),
)
async def test_a_walk_among_moments_sees_every_row_that_is_not_deleted_once_and_in_order(
    app: FastAPI, client: AsyncClient, notes: list[Row], order: list[str], limit: int
) -> None:
    rows = [{"id": number, **note} for number, note in enumerate(notes, 1)]
    async with app.state.service.database.engine.begin() as connection:
        await connection.execute(delete(table_of(Note)))
        await connection.execute(insert(table_of(Note)), rows[1::2] + rows[::2])
    there = [row for row in rows if row["deleted_at"] is None]
    asked = [("limit", f"{limit}"), *([("sort", ",".join(order))] if order else [])]

    seen: list[int] = []
    url: str | None = str(URL("/notes", params=asked))
    while url:
        answer = await client.get(url)
        seen += [note["id"] for note in answer.json()["items"]]
        assert answer.json()["count"] == len(there)
        url = answer.links.get("next", {}).get("url")

    assert seen == [row["id"] for row in in_order(there, order or ["-created_at"])]


async def test_what_arrives_during_a_walk_from_the_newest_on_is_not_seen(
    client: AsyncClient,
) -> None:
    for number in range(5):
        await client.post("/notes", json={"content": f"{number}"})

    seen: list[int] = []
    url: str | None = "/notes?limit=2"
    while url:
        answer = await client.get(url)
        seen += [note["id"] for note in answer.json()["items"]]
        url = answer.links.get("next", {}).get("url")
        await client.post("/notes", json={"content": "new"})

    assert seen == [5, 4, 3, 2, 1]
    assert answer.json()["count"] == 7


@pytest.mark.parametrize("order", ["id", "year", "-year,name", "author,-year"])
async def test_a_walk_beside_four_writers_sees_every_row_that_stays_once(
    app: FastAPI, client: AsyncClient, order: str
) -> None:
    def book(number: int) -> Row:
        year = number % 5 or None
        return {"name": f"{number % 7}", "author": f"{number % 3}", "year": year}

    staying = await lay_out(app, [book(number) for number in range(60)])
    async with app.state.service.database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE book ALTER id RESTART WITH 1000"))
    turns = asyncio.Semaphore(8)  # a walk by id would never catch up with more

    async def come_and_go(first: int) -> None:
        for number in itertools.count(first):
            await turns.acquire()
            added = (await client.post("/books", json=book(number))).headers["location"]
            if number % 4:
                await client.delete(added)
            else:
                has_come.set()

    seen: list[Row] = []
    has_come = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(come_and_go(first)) for first in range(4)]
        async for page in walk(client, f"/books?sort={order}", [7]):
            seen += page
            for _ in range(8):
                turns.release()
        await has_come.wait()
        for writer in writers:
            writer.cancel()

    assert [row for row in seen if row in staying] == in_order(staying, order.split(","))
    assert len({row["id"] for row in seen}) == len(seen)
    assert len((await client.get("/books?limit=1000")).json()) > len(staying)


@pytest.mark.parametrize("order", ["id,name", "id,author", "id,year", "-id,name", "-id,author"])
async def test_a_reader_who_leaves_keeps_nobody_waiting(
    app: FastAPI, client: AsyncClient, order: str
) -> None:
    engine = app.state.service.database.engine
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as writer, autocommit.connect() as watcher:
        await writer.execute(text("LOCK TABLE book"))
        reading = asyncio.create_task(client.get(f"/books?sort={order}"))  # a new statement
        await waiting(watcher, 1)
        reading.cancel()
        await writer.rollback()
        await asyncio.wait([reading])

        await writer.execute(text("LOCK TABLE book"))


@pytest.mark.parametrize(("stored", "sizes"), [(0, [0]), (3, [3]), (4, [3, 1]), (6, [3, 3])])
async def test_only_a_page_that_is_followed_by_rows_links_to_the_next(
    app: FastAPI, client: AsyncClient, stored: int, sizes: list[int]
) -> None:
    await lay_out(app, [{"name": "a", "author": "b", "year": None}] * stored)

    pages = [page async for page in walk(client, "/books?limit=3")]

    assert [len(page) for page in pages] == sizes


@pytest.mark.parametrize(("query", "size"), [("", 100), ("?limit=1000", 1000), ("?limit=1", 1)])
async def test_a_page_has_a_hundred_rows_or_as_many_as_asked_for(
    app: FastAPI, client: AsyncClient, query: str, size: int
) -> None:
    await lay_out(app, [{"name": "a", "author": "b", "year": None}] * 1001)

    answer = await client.get(f"/books{query}")

    assert [row["id"] for row in answer.json()] == list(range(1, size + 1))
    assert "next" in answer.links


@pytest.mark.parametrize("path", ["/books", "/books/", "/prefix/books"])
async def test_a_link_keeps_the_path_and_the_terms_of_the_client(app: FastAPI, path: str) -> None:
    await lay_out(app, [{"name": "a&b=c", "author": "é +%", "year": None}] * 2)
    root = "/prefix" if path.startswith("/prefix") else ""
    transport = ASGITransport(app, root_path=root)
    async with AsyncClient(transport=transport, base_url="http://evil.example") as client:
        asked = {"name": "a&b=c", "author": "é +%", "limit": "1", "sort": "-year,id"}
        answer = await client.get(path, params=asked)

        following = URL(answer.links["next"]["url"])
        assert following.is_relative_url
        assert following.path == path.rstrip("/")
        assert dict(following.params.remove("after")) == asked
        [row] = (await client.get(following)).json()
    assert row["id"] == 2


SPOILED: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "cut at its end": lambda cursor: cursor[:-1],
    "cut at its beginning": lambda cursor: cursor[1:],
    "longer": lambda cursor: cursor + "A",
    "padded": lambda cursor: cursor + "=",
    "doubled": lambda cursor: cursor * 2,
    "in white space": lambda cursor: f" {cursor}\n",
    "in capitals": str.upper,
    "reversed": lambda cursor: cursor[::-1],
    "huge": lambda cursor: cursor + "A" * 50_000,
    "of no alphabet": lambda cursor: "é" + cursor,
    "with NUL": lambda cursor: cursor + "\0",
    "a number": lambda _: "1",
    "JSON": lambda _: '["1"]',
}


async def cursor_of(client: AsyncClient, **asked: str) -> str:
    """Return the cursor of the second page of a list."""
    answer = await client.get("/books", params={"limit": 1, **asked})
    return URL(answer.links["next"]["url"]).params["after"]


@pytest.fixture
async def books(client: AsyncClient) -> None:
    """Store five books of one author and one year."""
    for number in range(5):
        await client.post("/books", json={"name": f"{number}", "author": "x", "year": 1})


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
async def test_a_spoiled_cursor_is_refused(
    client: AsyncClient, spoil: Callable[[str], str]
) -> None:
    spoiled = spoil(await cursor_of(client))

    assert_problem(await client.get("/books", params={"after": spoiled}), 400, "bad-cursor")


@pytest.mark.usefixtures("books")
async def test_a_cursor_with_any_other_letter_in_it_is_refused(client: AsyncClient) -> None:
    cursor = await cursor_of(client, sort="name")

    for place in range(len(cursor)):
        for letter in "A_-9+/":
            other = cursor[:place] + letter + cursor[place + 1 :]
            answer = await client.get("/books", params={"sort": "name", "after": other})
            assert answer.status_code == (200 if other == cursor else 400)


@pytest.mark.usefixtures("books")
@given(given_as=st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=25)
async def test_no_text_of_ones_own_is_a_cursor(client: AsyncClient, given_as: str) -> None:
    assert_problem(await client.get("/books", params={"after": given_as}), 400, "bad-cursor")


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"sort": "-id", "author": "x"},
        {"sort": "id,name", "author": "x"},
        {"author": "y"},
        {"author_contains": "x"},
        {"author": "x", "year": "1"},
        {"author": "x", "q": "x"},
    ],
)
async def test_a_cursor_of_other_filters_or_another_order_is_refused(
    client: AsyncClient, asked: dict[str, str]
) -> None:
    after = await cursor_of(client, author="x")

    answer = await client.get("/books", params={**asked, "after": after})

    assert_problem(answer, 400, "bad-cursor")


@pytest.mark.usefixtures("books")
@pytest.mark.parametrize(
    "asked",
    [
        "?author=x&year=1&limit=3",
        "?year=1&author=x",
        "?author=x&year=1&count=exact",
        "?author=x&year=1&sort=id",
        "?%61uthor=%78&year=1",
    ],
)
async def test_a_cursor_serves_other_spellings_and_sizes_of_its_list(
    client: AsyncClient, asked: str
) -> None:
    after = await cursor_of(client, author="x", year="1")

    answer = await client.get(f"/books{asked}&after={after}")

    assert answer.status_code == 200
    assert answer.json()[0]["id"] == 2


def test_a_cursor_of_another_list_is_refused() -> None:
    cursor = encode_cursor(["1", None, "é\0"], "books")

    assert decode_cursor(cursor, "books") == ["1", None, "é\0"]
    with pytest.raises(BadCursor):
        decode_cursor(cursor, "towns")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "1",
        "{}",
        "[]",
        "[1]",
        "[[]]",
        '["x"]',
        '["1","2"]',
        '["9223372036854775808"]',
        '{"1":"1"}',
        '["\\ud800"]',
        "[" * 40_000,
        "9" * 5000,
        b"\xff",
    ],
)
async def test_a_cursor_that_somebody_made_himself_never_breaks_the_service(
    client: AsyncClient, content: str | bytes
) -> None:
    bound_to = json.dumps(["book", schema_fingerprint(BookPublic), [["id", False]], []])
    raw = content if isinstance(content, bytes) else content.encode()
    digest = sha256(bound_to.encode() + b"\0" + raw).digest()[:9]
    after = base64.urlsafe_b64encode(digest + raw).decode().rstrip("=")

    answer = await client.get("/books", params={"after": after})

    assert_problem(answer, 400, "bad-cursor")


def page_of_samples(query: str) -> Page:
    return Page(
        params_of(Sample, SamplePublic, query), JSON, "/samples", None, counted=False, client=""
    )


# Few values and many nulls, so that a page ends in any of the ranges behind a cursor.
FEW = st.fixed_dictionaries(
    {
        **dict.fromkeys(TYPES, st.none()),
        "yes": st.none() | st.booleans(),
        "number": st.none() | st.integers(1, 2),
    }
)


@slow
@pytest.mark.long
@settings(max_examples=60)
@given(
    samples=st.lists(SAMPLES, max_size=8) | st.lists(FEW, min_size=8, max_size=16),
    order=orders([name for name, type_ in TYPES.items() if type_.is_sortable])
    | orders(["yes", "number"]),
    fields=st.sampled_from(["", "&fields=id"]),
    limit=st.integers(1, 5),
)
async def test_every_kind_of_field_can_be_walked_along(
    sample_database: Database, samples: list[Row], order: list[str], fields: str, limit: int
) -> None:
    table = table_of(Sample)
    async with sample_database.engine.begin() as connection:
        await connection.execute(delete(table))
        for number, sample in enumerate(samples, 1):
            await connection.execute(insert(table).values(id=number, **sample))

    seen: list[int] = []
    following: str | None = f"sort={','.join(order)}&limit={limit}{fields}"
    while following:
        answer = await page_of_samples(following).response(sample_database)
        seen += [row["id"] for row in json.loads(bytes(answer.body))]
        link = answer.headers.get("link", "")
        following = link.removeprefix("</samples?").partition(">")[0]

    rows = [{"id": number, **sample} for number, sample in enumerate(samples, 1)]
    assert seen == [row["id"] for row in in_order(rows, order)]


# The order, the index that serves it, the year of the cursor, and how many ranges lie behind it.
DEEP = [
    ("year", "year, id", "50", 2),
    ("-year", "year, id", "50", 1),
    ("year", "year, id", None, 1),
    ("-year", "year, id", None, 2),
    ("-year,id", "year DESC, id", "50", 2),
    ("year,name", "year, name, id", "50", 2),
]


@slow
@pytest.mark.long
@pytest.mark.usefixtures("client")
async def test_a_page_deep_in_a_table_reads_only_the_index_ranges_behind_the_cursor(
    app: FastAPI,
) -> None:
    database: Database = app.state.service.database
    async with database.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute(
            "INSERT INTO book (name, author, year)"
            " SELECT 'n' || i % 1000, 'a', CASE WHEN i % 9 > 0 THEN i * 7919 % 100 + 1 END"
            " FROM generate_series(1, 50000) AS i"
        )
        for order, indexed, year, ranges in DEEP:
            await driver.execute(f"CREATE INDEX ix_deep ON book ({indexed}); ANALYZE book")
            page = page_at(order, {"year": year, "name": "n500", "id": "25000"})
            [plan] = await driver.fetchval(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {page.sql}", *page.arguments
            )
            await driver.execute("DROP INDEX ix_deep")
            top = plan["Plan"]
            scans = [node for node in nodes_of(top) if "Relation Name" in node]
            assert [node["Node Type"] for node in scans] == ["Index Scan"] * ranges, order
            for scan in scans:
                assert scan["Index Name"] == "ix_deep"
                assert "Index Cond" in scan, order
                assert "Filter" not in scan
                assert scan["Actual Rows"] <= 11  # what is sorted above is no more than that
            assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 60, order


def page_at(
    order: str,
    row: dict[str, str | None],
    table: type[Record] = Book,
    public: type[SQLModel] = BookPublic,
) -> BoundStatement:
    """Return the query of the ten rows behind a row, or of the first, as a client would ask."""
    query = f"sort={order}&limit=10"
    if not row:
        return page_statement_of(table, public, query)
    first = params_of(table, public, query)
    values = [row[key.field] for key in first.order]
    after = f"{query}&after={encode_cursor(values, first.cursor_scope)}"
    return page_statement_of(table, public, after)


MANY_BOOKS = """
    INSERT INTO book (name, author, year)
    SELECT 'n' || i % 1000, 'a', CASE WHEN i % 9 > 0 THEN i * 7919 % 10 + 1 END
    FROM generate_series(1, 20000) AS i
"""
MANY_NOTES = """
    INSERT INTO note (content, created_at, deleted_at)
    SELECT 'n', '2024-01-01T00:00Z'::timestamptz + i / 2000 * '1 day'::interval,
        CASE WHEN i % 2 > 0 THEN now() END
    FROM generate_series(1, 20000) AS i
"""


async def scans_of(driver: Any, page: BoundStatement) -> tuple[list[Any], set[str]]:
    """Run a page; return the nodes of its plan that read a table, and the types of all."""
    [plan] = await driver.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {page.sql}", *page.arguments)
    nodes = list(nodes_of(plan["Plan"]))
    return [node for node in nodes if "Relation Name" in node], {
        node["Node Type"] for node in nodes
    }


@pytest.mark.usefixtures("client")
async def test_an_index_serves_the_start_of_a_text_and_of_a_word(app: FastAPI) -> None:
    async with app.state.service.database.engine.begin() as connection:
        await connection.execute(text("CREATE INDEX ix_start ON book (name, id)"))
        await connection.execute(
            text(
                "INSERT INTO book (name, author)"
                " SELECT md5(n::text), 'word' || n FROM generate_series(1, 5000) AS n"
            )
        )
        await connection.execute(text("ANALYZE book"))
        driver = (await connection.get_raw_connection()).driver_connection
        for query, index, condition in (
            ("name_starts=ab_", "ix_start", "'ab_'"),
            ("q=word499*", "ix_book_words", "@@"),
        ):
            page = page_statement_of(Book, BookPublic, query)
            [plan] = await driver.fetchval(f"EXPLAIN (FORMAT JSON) {page.sql}", *page.arguments)
            [scan] = [node for node in nodes_of(plan["Plan"]) if node.get("Index Name") == index]
            assert condition in scan["Index Cond"]
        await connection.rollback()


# A row of each part of the list, and of none: what is behind it is asked for.
PLACES: dict[str, tuple[type[Record], type[SQLModel], list[dict[str, str | None]]]] = {
    "year": (
        Book,
        BookPublic,
        [{}, *({"year": year, "id": "9000"} for year in ("1", "5", "10", None))],
    ),
    "created_at": (Note, NotePublic, [{}, {"created_at": "2024-01-05T00:00:00Z", "id": "9000"}]),
}


@pytest.mark.parametrize("field", PLACES)
@pytest.mark.parametrize("direction", ["", "-"])
@pytest.mark.usefixtures("client")
async def test_the_index_of_a_field_serves_its_order_without_sorting(
    app: FastAPI, field: str, direction: str
) -> None:
    table, public, rows = PLACES[field]
    async with app.state.service.database.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute(f"{MANY_BOOKS}; {MANY_NOTES}; ANALYZE book; ANALYZE note")
        for row in rows:
            page = page_at(f"{direction}{field}", row, table, public)
            scans, types = await scans_of(driver, page)

            index = f"ix_{table_of(table).name}_{field}"
            assert {scan.get("Index Name") for scan in scans} == {index}, row
            assert not {"Sort", "Incremental Sort"} & types, row
            assert sum(scan["Actual Rows"] for scan in scans) == 11, row


@pytest.mark.usefixtures("client")
async def test_what_a_page_does_not_reach_is_not_read(app: FastAPI) -> None:
    """Without an index of its own, the order of names has to be made of all rows of a year."""
    async with app.state.service.database.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute(f"{MANY_BOOKS}; ANALYZE book")
        for order, year in (("year,name", "5"), ("-year,name", "5"), ("-year,name", None)):
            row = {"year": year, "name": "n500", "id": "9000"}
            scans, _ = await scans_of(driver, page_at(order, row))

            nearest, *others = scans
            assert nearest["Actual Rows"] > 0, order
            assert others, order
            assert all(scan["Actual Loops"] == 0 for scan in others), order
