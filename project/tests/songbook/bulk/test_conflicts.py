"""Many rows, some of which are there already: refused, passed over or replaced, as is asked."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import pytest
from fastapi import FastAPI, Response
from httpx import ASGITransport, AsyncClient
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select
from sqlalchemy.engine import URL
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from songbook.auth.permissions import PUBLIC
from songbook.bulk.imports import imports_of
from songbook.crud.records import Records
from songbook.http.media_types import CSV, NDJSON
from songbook.http.routing import Router
from songbook.models.bases import Record, Schema, SoftDelete, Timestamps
from songbook.models.fields import CaseInsensitive
from songbook.models.tables import table_of
from tests.samples.resources.towns import Town
from tests.support.asserts import assert_problem
from tests.support.databases import spelled, waiting
from tests.support.reports import counts, refusals, report_of, send_rows, written
from tests.support.services import SAMPLES

TOWNS = b"name,population\nOslo,700000\nRome,2800000\n"
Towns = list[tuple[str, int]]


async def towns(session: AsyncSession) -> list[tuple[Any, ...]]:
    """Return the names, the populations and the versions of the stored towns, oldest first."""
    table = table_of(Town)
    connection = await session.connection()
    columns = (table.c.name, table.c.population, table.c.version)
    rows = [tuple(row) for row in await connection.execute(select(*columns).order_by(table.c.id))]
    await session.rollback()
    return rows


async def test_a_duplicate_is_told_by_its_line_and_nothing_is_stored(
    client: AsyncClient, session: AsyncSession
) -> None:
    await send_rows(client, TOWNS, path="/towns")
    again = b'name,population\n"a\nb",1\n\nc,2\n"Ro\xc3\xa9\n",3\nRome,4\n'
    within = b"population,name\n1,a\n2,b\n\n3,a\n"
    lines = b'{"name":"a","population":1}\n\n{"population":3,"name":"Oslo"}\n'

    for content, kind, line, read in (
        (again, CSV, 8, 4),
        (within, CSV, 5, 3),
        (lines, NDJSON, 3, 2),
    ):
        for query in ("", "?dry_run=true", "?on_error=skip", "?on_conflict=abort"):
            answer = await send_rows(client, content, query, path="/towns", kind=kind)
            problem = assert_problem(answer, 409, "conflict")
            [error] = problem["errors"]
            assert (error["pointer"], error["type"]) == ("/name", "unique")
            assert problem["detail"].startswith(f"Line {line}: The town is already stored")
            assert counts(problem["report"]) == (read, 0, 0, 1)
            assert refusals(problem["report"]) == [(line, "/name", "unique")]
    assert await towns(session) == [("Oslo", 700_000, 1), ("Rome", 2_800_000, 1)]


async def test_a_duplicate_behind_rows_that_do_not_fit_is_told_by_its_own_line(
    client: AsyncClient,
) -> None:
    rows = [*({"name": "", "population": 1} for _ in range(3)), {"name": "Oslo", "population": 1}]
    content = written([*rows * 2], CSV)

    answer = await send_rows(client, content, "?on_error=skip", path="/towns")

    report = report_of(answer, 409)
    assert counts(report) == (8, 0, 0, 7)
    assert refusals(report)[-1] == (9, "/name", "unique")


async def test_a_text_that_is_stripped_is_a_duplicate(client: AsyncClient) -> None:
    await send_rows(client, TOWNS, path="/towns")

    answer = await send_rows(client, b"name,population\n Oslo ,1\n", path="/towns")

    assert_problem(answer, 409, "conflict")


async def test_what_is_there_already_is_skipped_on_request(
    client: AsyncClient, session: AsyncSession
) -> None:
    await send_rows(client, TOWNS, path="/towns")
    content = b"name,population\nRome,1\nLima,2\nOslo,3\nLima,4\n"

    tried = await send_rows(client, content, "?on_conflict=skip&dry_run=true", path="/towns")
    report = report_of(await send_rows(client, content, "?on_conflict=skip", path="/towns"))
    again = report_of(await send_rows(client, content, "?on_conflict=skip", path="/towns"), 200)

    assert counts(report_of(tried, 200)) == counts(report) == (4, 1, 3, 0)
    assert counts(again) == (4, 0, 4, 0)
    assert await towns(session) == [("Oslo", 700_000, 1), ("Rome", 2_800_000, 1), ("Lima", 2, 1)]


async def test_what_is_there_already_is_replaced_on_request(
    client: AsyncClient, session: AsyncSession
) -> None:
    await send_rows(client, TOWNS, path="/towns")
    tags = [(await client.get(f"/towns/{number}")).headers["etag"] for number in (1, 2)]
    content = b"name,population\nRome,2800000\nLima,2\nOslo,3\nLima,4\nOslo,5\n"

    tried = await send_rows(client, content, "?on_conflict=update&dry_run=true", path="/towns")
    report = report_of(await send_rows(client, content, "?on_conflict=update", path="/towns"))
    again = report_of(await send_rows(client, content, "?on_conflict=update", path="/towns"), 200)

    assert counts(report_of(tried, 200)) == counts(report) == (5, 2, 3, 0)
    assert counts(again) == (5, 0, 5, 0)
    assert await towns(session) == [("Oslo", 5, 2), ("Rome", 2_800_000, 1), ("Lima", 4, 1)]
    now = [(await client.get(f"/towns/{number}")).headers["etag"] for number in (1, 2)]
    assert (now[0] != tags[0], now[1] == tags[1]) == (True, True)


NAMES = st.sampled_from(["a", "b", "B", "é", "x y"])
ROWS = st.lists(st.tuples(NAMES, st.integers(0, 3)), max_size=8)


@pytest.mark.long
@settings(max_examples=20)
@given(before=st.dictionaries(NAMES, st.integers(0, 3)), rows=ROWS)
@pytest.mark.parametrize("on_conflict", ["skip", "update"])
async def test_skipping_keeps_the_first_and_replacing_the_last(
    client: AsyncClient,
    session: AsyncSession,
    before: dict[str, int],
    rows: Towns,
    on_conflict: str,
) -> None:
    connection = await session.connection()
    await connection.execute(delete(table_of(Town)))
    for name, population in before.items():
        await connection.execute(insert(table_of(Town)).values(name=name, population=population))
    await session.commit()
    content = [{"name": name, "population": population} for name, population in rows]

    query = f"?on_conflict={on_conflict}"
    answer = await send_rows(client, written(content, NDJSON), query, path="/towns", kind=NDJSON)

    wanted = dict(rows) if on_conflict == "update" else dict(reversed(rows))
    wanted = wanted if on_conflict == "update" else wanted | before
    changed = {name for name, population in wanted.items() if before.get(name) != population}
    expected = {
        name: (population, 2 if name in before and name in changed else 1)
        for name, population in {**before, **wanted}.items()
    }
    assert {name: rest for name, *rest in await towns(session)} == {
        name: [*rest] for name, rest in expected.items()
    }
    report = report_of(answer, 201 if changed else 200)
    assert counts(report) == (len(rows), len(changed), len(rows) - len(changed), 0)


async def test_rows_that_do_not_fit_and_rows_that_are_there_are_counted_apart(
    client: AsyncClient,
) -> None:
    await send_rows(client, TOWNS, path="/towns")
    content = b"name,population\nOslo,x\nOslo,1\nLima,2\n"

    report = report_of(
        await send_rows(client, content, "?on_conflict=skip&on_error=skip", path="/towns")
    )

    assert counts(report) == (3, 1, 1, 1)
    assert refusals(report) == [(2, "/population", "int_parsing")]


async def test_of_imports_of_the_same_at_once_one_is_stored(
    client: AsyncClient, session: AsyncSession
) -> None:
    files = [
        b"name,population\n" + b"".join(b"c%d,%d\n" % (name, turn) for name in range(200))
        for turn in range(6)
    ]

    answers = await asyncio.gather(*(send_rows(client, file, path="/towns") for file in files))

    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 5]
    rows = await towns(session)
    [winner] = [turn for turn, answer in enumerate(answers) if answer.status_code == 201]
    assert rows == [(f"c{name}", winner, 1) for name in range(200)]


@pytest.mark.parametrize("on_conflict", ["skip", "update"])
async def test_imports_at_once_that_mind_each_other_are_all_stored(
    client: AsyncClient, session: AsyncSession, on_conflict: str
) -> None:
    files = [
        written([{"name": f"c{name}", "population": turn} for name in range(200)], CSV)
        for turn in range(6)
    ]

    query = f"?on_conflict={on_conflict}"
    answers = await asyncio.gather(
        *(send_rows(client, file, query, path="/towns") for file in files)
    )

    reports = [report_of(answer, answer.status_code) for answer in answers]
    rows = await towns(session)
    assert [name for name, _, _ in rows] == sorted(f"c{name}" for name in range(200))
    assert len({population for _, population, _ in rows}) == 1, "one was stored in part"
    assert {version for _, _, version in rows} == {1 if on_conflict == "skip" else 6}
    assert sum(report["stored"] for report in reports) == (200 if on_conflict == "skip" else 1200)


@pytest.mark.long
async def test_imports_in_opposite_orders_do_not_lock_each_other_out(
    client: AsyncClient, session: AsyncSession
) -> None:
    names = [f"c{number}" for number in range(1000)]
    files = [
        written([{"name": name, "population": turn} for name in names[:: (-1) ** turn]], CSV)
        for turn in range(2)
    ]

    query = "?on_conflict=update"
    answers = await asyncio.gather(
        *(send_rows(client, file, query, path="/towns") for file in files)
    )

    assert [answer.status_code for answer in answers] == [201, 201]
    rows = await towns(session)
    assert [name for name, _, _ in rows] == sorted(names)
    assert len({population for _, population, _ in rows}) == 1
    assert {version for _, _, version in rows} == {2}


async def test_an_import_waits_for_who_stores_the_same(
    client: AsyncClient, session: AsyncSession, app: FastAPI
) -> None:
    connection = await session.connection()
    await connection.execute(insert(table_of(Town)).values(name="Oslo", population=1))

    sending = asyncio.create_task(send_rows(client, TOWNS, "?on_conflict=update", path="/towns"))
    async with app.state.service.database.engine.connect() as other:
        await waiting(other, 1)
    await session.commit()

    assert counts(report_of(await sending)) == (2, 2, 0, 0)
    assert await towns(session) == [("Oslo", 700_000, 2), ("Rome", 2_800_000, 1)]


class Apart(SQLModel, registry=registry()):
    """Keeps the table of this file out of the service's own."""


class AlbumBase(Schema):
    """Schema of all kinds, whose key ignores case."""

    title: Annotated[str, CaseInsensitive()] = Field(unique=True, max_length=100)
    tracks: int = Field(default=10, ge=1, le=500)
    label: str | None = None
    live: bool = False


class Album(AlbumBase, Timestamps, SoftDelete, Record, Apart, table=True):
    """The table; a deleted one is in nobody's way."""


class AlbumCreate(AlbumBase):
    """The body of a POST."""


@pytest.fixture
async def albums(app: FastAPI, database_url: URL) -> AsyncIterator[AsyncClient]:
    """Give a client of a service that has albums as well."""
    router = Router(prefix="/albums", dependencies=[PUBLIC])

    @router.post("", bulk=imports_of(Records(Album, AlbumCreate), AlbumCreate))
    async def create_album(body: AlbumCreate) -> Response:
        """Store nothing: albums come in many rows."""
        return Response(body.model_dump_json())

    async with app.state.service.database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.create_all)
    other = SAMPLES.app(database_url=spelled(database_url))
    other.router.routes.extend(router.routes)
    async with (
        other.router.lifespan_context(other),
        AsyncClient(transport=ASGITransport(other), base_url="http://songbook") as client,
    ):
        yield client
    async with app.state.service.database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.drop_all)


class Row(NamedTuple):
    """The table of albums."""

    title: str
    tracks: int
    label: str | None
    live: bool
    version: int
    created_at: datetime
    updated_at: datetime
    is_deleted: bool


async def stored(session: AsyncSession) -> list[Row]:
    """Return the albums, oldest first."""
    table = table_of(Album)
    names = [name for name in Row._fields if name != "is_deleted"]
    columns = [*(table.c[name] for name in names), table.c.deleted_at.is_not(None)]
    connection = await session.connection()
    rows = [Row(*row) for row in await connection.execute(select(*columns).order_by(table.c.id))]
    await session.rollback()
    return rows


OLD = datetime.fromisoformat("2001-02-03T04:05:06+00:00")


@pytest.fixture
async def old(session: AsyncSession, albums: AsyncClient) -> list[Row]:  # noqa: ARG001 - its table
    """Store two albums, and a third that is deleted."""
    connection = await session.connection()
    for title, tracks, label, live, deleted_at in (
        ("Ágætis", 7, "Smekkleysa", True, None),
        ("Loveless", 11, None, False, None),
        ("Gone", 1, None, False, OLD),
    ):
        values = {"title": title, "tracks": tracks, "label": label, "live": live}
        times = {"created_at": OLD, "updated_at": OLD, "deleted_at": deleted_at}
        await connection.execute(insert(table_of(Album)).values(**values, **times))
    await session.commit()
    return await stored(session)


async def test_a_key_that_ignores_case_is_found_in_another_and_a_deleted_one_is_not(
    albums: AsyncClient, session: AsyncSession, old: list[Row]
) -> None:
    content = "title,tracks\nÁGÆTIS,1\ngone,2\nGONE,3\nloveLESS,4\nNew,5\n".encode()

    report = report_of(await send_rows(albums, content, "?on_conflict=skip", path="/albums"))

    rows = await stored(session)
    assert counts(report) == (5, 2, 3, 0)
    assert rows[:3] == old
    assert [row[:5] for row in rows[3:]] == [
        ("gone", 2, None, False, 1),
        ("New", 5, None, False, 1),
    ]


async def test_what_is_replaced_moves_on_and_what_is_equal_stays(
    albums: AsyncClient, session: AsyncSession, old: list[Row]
) -> None:
    content = (
        '{"title":"ágætis","tracks":8,"live":true}\n'
        '{"title":"Loveless","tracks":11}\n'
        '{"title":"GONE","tracks":2,"label":"\\\\N"}\n'
        '{"title":"Gone","tracks":3,"label":"a\\tb"}\n'
        '{"title":"Ágætis","tracks":9}\n'
    ).encode()
    query = "?on_conflict=update"

    report = report_of(await send_rows(albums, content, query, path="/albums", kind=NDJSON))

    rows = await stored(session)
    assert counts(report) == (5, 2, 3, 0)
    assert rows[0][:6] == ("Ágætis", 9, None, False, 2, OLD)
    assert rows[0].updated_at > OLD
    assert rows[1:3] == old[1:]
    assert [row[:5] for row in rows[3:]] == [("Gone", 3, "a\tb", False, 1)]
    assert rows[3].created_at == rows[3].updated_at > OLD

    again = report_of(await send_rows(albums, content, query, path="/albums", kind=NDJSON), 200)
    assert counts(again) == (5, 0, 5, 0)
    assert await stored(session) == rows


async def test_a_title_in_another_case_alone_is_a_change(
    albums: AsyncClient, session: AsyncSession, old: list[Row]
) -> None:
    content = b"title,tracks,label,live\nLOVELESS,11,,false\n"

    report = report_of(await send_rows(albums, content, "?on_conflict=update", path="/albums"))

    rows = await stored(session)
    assert counts(report) == (1, 1, 0, 0)
    assert rows[1][:5] == ("LOVELESS", 11, None, False, 2)
    assert [rows[0], rows[2]] == [old[0], old[2]]
