"""Lists as CSV and NDJSON: all the rows that were asked for, spelt as in the JSON of a page."""

import csv
import io
import json
import time
from functools import partial
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert
from sqlalchemy.engine import URL
from sqlmodel.ext.asyncio.session import AsyncSession

from app.resources.songs import Song, SongPublic
from songbook.bulk.copy import copy_out
from songbook.db.database import Database
from songbook.http.media_types import CSV, NDJSON
from songbook.lists.statements import export_query, page_query
from songbook.models.tables import table_of
from tests.support.asserts import assert_headers, assert_problem
from tests.support.bulk import IMPORTABLE
from tests.support.clients import PRINCIPAL, add_user, signed_in
from tests.support.databases import locked
from tests.support.listed import FILTERS, Filter, Row, in_order
from tests.support.lists import params_of
from tests.support.reports import counts, each_format, report_of, send_rows
from tests.support.resources import RESOURCES, Resource
from tests.support.samples import SAMPLES, Sample, SamplePublic
from tests.support.services import SERVICE
from tests.support.songs import FIELDS, ORDERS, SOME_SONGS, lay_out, only
from tests.support.stored import array_of, replace_rows, stored_rows
from tests.support.strategies import ROWS, as_indexed, bodies, is_unique

pytestmark = pytest.mark.long

JSON = "application/json"
SOFT_DELETED = [each for each in RESOURCES if "deleted_at" in table_of(each.table).c]


async def export(client: AsyncClient, path: str, kind: str = CSV, **asked: Any) -> Response:
    """Ask for all rows of a list."""
    return await client.get(path, params=asked, headers={"Accept": kind})


def table_in(answer: Response) -> list[list[str]]:
    """Return the records of an answer in CSV, the names of the columns first."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    records = csv.reader(io.StringIO(answer.content.decode(), newline=""), strict=True)
    return [record or [""] for record in records]  # an empty line is a record of one empty value


def assert_spelt(records: list[list[str]], array: str) -> None:
    """Assert that a table has the rows of a JSON array: nothing for null, else JSON's spelling."""
    rows = rows_in(array)
    assert len(records) == len(rows)
    for record, row in zip(records, rows, strict=True):
        for cell, value in zip(record, row.values(), strict=True):
            if isinstance(value, list | dict):
                assert rows_in(cell) == value
            else:
                unquoted = {None: "", True: "true", False: "false"}
                assert cell == (value if isinstance(value, str) else unquoted[value])


def rows_in(array: str) -> Any:
    """Return the value of a JSON text, its numbers as they are spelt."""
    return json.loads(array, parse_int=str, parse_float=str)


@pytest.mark.long
@settings(max_examples=15)
@given(drawn=ROWS)
async def test_an_export_has_the_rows_of_the_list_as_json_spells_them(
    client: AsyncClient,
    session: AsyncSession,
    resource: Resource,
    drawn: dict[str, list[dict[str, Any]]],
) -> None:
    await replace_rows(session, resource, drawn[resource.name])
    asked: dict[str, Any] = {"sort": "id", "id_lt": PRINCIPAL}

    array = array_of(await resource.page(client))
    names, *records = table_in(await export(client, resource.path, **asked))
    lines = await export(client, resource.path, NDJSON, **asked)

    assert names == list(resource.public.model_fields)
    assert_spelt(records, array)
    assert lines.headers["content-type"] == NDJSON
    assert lines.content.decode() == "".join(f"{row}\n" for row in array[1:-1].split(",\n") if row)


@settings(max_examples=20)
@given(
    songs=SOME_SONGS,
    order=ORDERS,
    filtered=FILTERS,
    fields=FIELDS,
    limit=st.none() | st.integers(1, 6),
)
async def test_an_export_is_filtered_and_ordered_as_a_list_is(
    app: FastAPI,
    client: AsyncClient,
    songs: list[Row],
    order: list[str],
    filtered: Filter,
    fields: list[str],
    limit: int | None,
) -> None:
    stored = await lay_out(app, songs)
    asked = [("sort", ",".join(order)), ("fields", ",".join(fields)), *filtered.parameters]
    asked += [("limit", str(limit))] if limit else []

    lines = await client.get(httpx.URL("/songs", params=asked), headers={"Accept": NDJSON})
    names, *records = table_in(
        await client.get(httpx.URL("/songs", params=asked), headers={"Accept": CSV})
    )

    wanted = in_order([row for row in stored if filtered.asks(row)], order)[:limit]
    shown = only(wanted, fields)
    assert [[*json.loads(line).items()] for line in lines.content.splitlines()] == shown
    assert names == [name for name in SongPublic.model_fields if name in fields]
    spelt = [["" if value is None else str(value) for _, value in row] for row in shown]
    assert records == spelt


@each_format
async def test_an_export_has_all_rows_however_many_a_page_has(
    app: FastAPI, client: AsyncClient, kind: str
) -> None:
    await lay_out(app, [{"name": f"n{number}", "artist": "b", "year": 1} for number in range(2500)])

    answer = await export(client, "/songs", kind)

    lines = answer.content.splitlines()[kind == CSV :]
    assert len(lines) == 2500
    assert b"n0" in lines[0]
    assert b"n2499" in lines[-1]


async def test_an_export_goes_on_behind_a_page(app: FastAPI, client: AsyncClient) -> None:
    await lay_out(app, [{"name": f"{year}", "artist": "b", "year": year} for year in range(1, 10)])
    page = await client.get("/songs?sort=-year&limit=3&year_lt=9")
    following = httpx.URL(page.links["next"]["url"])

    rest = table_in(await client.get(following.copy_remove_param("limit"), headers={"Accept": CSV}))
    some = table_in(await client.get(following, headers={"Accept": CSV}))

    assert [record[3] for record in rest[1:]] == ["5", "4", "3", "2", "1"]
    assert some == rest[:4]


async def test_words_are_looked_for_in_an_export(app: FastAPI, client: AsyncClient) -> None:
    names = ["Hurt", "hurts", "the HURT"]
    await lay_out(app, [{"name": name, "artist": "b", "year": None} for name in names])

    assert [row[1] for row in table_in(await export(client, "/songs", q="hurt b"))] == [
        *("name", "Hurt", "the HURT")
    ]


@each_format
async def test_an_export_of_no_row_is_complete(
    client: AsyncClient, resource: Resource, kind: str
) -> None:
    answer = await export(client, resource.path, kind, id=0)

    names = ",".join(resource.public.model_fields)
    assert answer.content.decode() == (f"{names}\n" if kind == CSV else "")


@pytest.mark.parametrize("resource", SOFT_DELETED, ids=lambda resource: resource.name)
async def test_what_is_deleted_is_not_exported(client: AsyncClient, resource: Resource) -> None:
    for _ in range(3):
        await resource.add(client)
    await client.delete(f"{resource.path}/2")

    exported = table_in(await export(client, resource.path, sort="id", id_lt=PRINCIPAL))
    assert [record[0] for record in exported] == ["id", "1", "3"]


@each_format
async def test_users_are_exported_for_superusers_alone(
    app: FastAPI, client: AsyncClient, superuser: AsyncClient, kind: str
) -> None:
    await add_user(superuser, "ada")
    ada = await signed_in(app, "ada")
    assert_problem(await export(client, "/users", kind), 401)
    assert_problem(await export(ada, "/users", kind), 403)
    answer = await export(superuser, "/users", kind)

    assert answer.status_code == 200
    shown = ["id", "username", "slug", "email", "first_name", "last_name", "is_superuser"]
    first = answer.content.decode().splitlines()[0]
    assert (first.split(",") if kind == CSV else list(json.loads(first))) == shown
    assert b"argon2" not in answer.content


ACCEPTED = [
    (None, JSON),
    ("*/*", JSON),
    ("", JSON),
    (JSON, JSON),
    (CSV, CSV),
    (NDJSON, NDJSON),
    ("application/jsonl", NDJSON),
    ("Text/CSV", CSV),
    ("text/*", CSV),
    ("application/*", JSON),
    ("text/csv;charset=utf-8;header=present", CSV),
    ("text/csv, application/json", JSON),
    ("text/csv, application/x-ndjson", CSV),
    ("text/csv, */*", JSON),
    ("text/csv, */*;q=0.5", CSV),
    ("application/json;q=0.4, text/csv;q=0.5", CSV),
    ("text/csv;q=0.5,application/json;q=0.500", JSON),
    ("text/csv; q=0.001, application/x-ndjson; q=0.002", NDJSON),
    ("text/csv;q=0.9, text/*;q=0.1, application/x-ndjson;q=0.2", CSV),
    ("text/csv;q=0.1, text/*;q=0.9, application/x-ndjson;q=0.2", NDJSON),
    ("application/json;q=0, */*", CSV),
    ("text/csv;q=0", JSON),
    ("text/csv;Q=0, application/x-ndjson", NDJSON),
    ("text/csv;q=2", CSV),
    (", ,text/csv,,", CSV),
    ("image/png", JSON),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
    ("text/csv" + "x" * 2000, JSON),
    (";;q=1,/,*,text/", JSON),
]


@pytest.mark.parametrize(("accept", "kind"), ACCEPTED)
async def test_the_format_is_the_one_that_the_client_would_rather_have(
    client: AsyncClient, accept: str | None, kind: str
) -> None:
    client.headers.pop("Accept")
    answer = await client.get("/songs", headers={} if accept is None else {"Accept": accept})

    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.headers["vary"] == "Accept"
    assert_headers(answer)


async def test_what_is_accepted_may_stand_in_several_lines(client: AsyncClient) -> None:
    for first in ("application/json;q=0.5", "application/xml"):
        answer = await client.get("/songs", headers=[("Accept", first), ("Accept", "text/csv")])

        assert answer.headers["content-type"] == "text/csv; charset=utf-8"


async def test_every_answer_of_a_list_says_that_it_varies(
    client: AsyncClient, resource: Resource
) -> None:
    page = await client.get(resource.path)
    same = await client.get(resource.path, headers={"If-None-Match": page.headers["etag"]})

    assert (page.status_code, same.status_code) == (200, 304)
    for answer in (page, same, await export(client, resource.path)):
        assert answer.headers["vary"] == "Accept"


@each_format
async def test_an_export_is_a_file_of_a_name(
    client: AsyncClient, resource: Resource, kind: str
) -> None:
    ending = {CSV: "csv", NDJSON: "ndjson"}[kind]
    answer = await export(client, f"{resource.path}/", kind)

    disposition = f'attachment; filename="{resource.name}.{ending}"'
    assert answer.headers["content-disposition"] == disposition
    assert "content-length" not in answer.headers
    assert "etag" not in answer.headers
    assert_headers(answer)


@each_format
async def test_head_tells_of_an_export_without_reading_the_table(
    client: AsyncClient, database_url: URL, kind: str
) -> None:
    read = await export(client, "/songs", kind)
    async with locked(database_url, "song"):
        head = await client.head("/songs", headers={"Accept": kind})

    assert (head.status_code, head.content) == (200, b"")
    for answer in (read, head):
        del answer.headers["x-request-id"], answer.headers["server-timing"]
    assert head.headers == read.headers


@each_format
async def test_what_is_refused_is_refused_in_the_one_shape(client: AsyncClient, kind: str) -> None:
    for query, status in (
        ("limit=0", 422),
        ("limit=1001", 422),
        ("yaer=1", 422),
        ("sort=nowhere", 422),
        ("count=exact", 422),
        ("escape=all", 422),
        ("after=x", 400),
    ):
        answer = await client.get(f"/songs?{query}", headers={"Accept": kind})
        problem = assert_problem(answer, status)
        assert "content-disposition" not in answer.headers
        if status == 422:
            assert problem["errors"][0]["pointer"] == f"/{query.partition('=')[0]}"


async def test_formulas_are_escaped_in_csv_alone(client: AsyncClient) -> None:
    for kind in (JSON, NDJSON):
        [error] = assert_problem(await export(client, "/songs", kind, escape="formulas"), 422)[
            "errors"
        ]
        assert (error["pointer"], error["type"]) == ("/escape", "format")


FULL_WIDTH = ["\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20a"]  # some spreadsheets run these, too
FORMULAS = ["=1+1", "+1", "-1", "@a", "=", "\ta", "\ra", *FULL_WIDTH]
PLAIN = ["a=1", "a\uff1d1", "\u2212a", "'=1", "1", " =1", "a\n=1", "é", "\n=1"]


async def test_cells_that_a_spreadsheet_would_run_are_marked_on_request(
    app: FastAPI, client: AsyncClient
) -> None:
    texts = [*FORMULAS, *PLAIN]
    await lay_out(app, [{"name": text, "artist": text, "year": 1} for text in texts])

    answers = [await export(client, "/songs"), await export(client, "/songs", escape="formulas")]
    (_, *plain), (_, *escaped) = map(table_in, answers)

    # Excel reads UTF-8 as such only behind a byte order mark
    assert [answer.content.startswith(b"\xef\xbb\xbfid,") for answer in answers] == [False, True]
    assert [record[1] for record in plain] == texts
    assert [record[1] for record in escaped] == [*(f"'{text}" for text in FORMULAS), *PLAIN]
    assert [record[2] for record in escaped] == [record[1] for record in escaped]
    assert [record[3] for record in escaped] == ["1"] * len(texts)


def importable_rows(resource: Resource) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return rows as clients store them, which unique indexes let stand beside each other."""
    names = [name for name in resource.fields if is_unique(resource, name)]
    keys = tuple(partial(as_indexed, resource, name) for name in names)
    return st.lists(bodies(resource, stripped=True), max_size=6, unique_by=keys or None)


IMPORTABLE_ROWS = st.fixed_dictionaries({each.name: importable_rows(each) for each in IMPORTABLE})


@settings(max_examples=12)
@given(drawn=IMPORTABLE_ROWS)
@pytest.mark.parametrize("resource", IMPORTABLE, ids=lambda resource: resource.name)
@each_format
async def test_what_was_exported_is_imported_to_the_same_rows(
    client: AsyncClient,
    session: AsyncSession,
    resource: Resource,
    drawn: dict[str, list[dict[str, Any]]],
    kind: str,
) -> None:
    table = table_of(resource.table)
    await replace_rows(session, resource, drawn[resource.name])
    before = await stored_rows(session, table)

    answer = await export(client, resource.path, kind, sort="id")
    await replace_rows(session, resource)
    others = [name for name in resource.public.model_fields if name not in resource.fields]
    query = urlencode([("ignore", name) for name in others])
    again = await send_rows(client, answer.content, f"?{query}", path=resource.path, kind=kind)

    assert counts(report_of(again, 201 if before else 200)) == (len(before), len(before), 0, 0)
    after = await stored_rows(session, table)
    for row, found in zip(before, after, strict=True):
        assert {name: found[name] for name in resource.fields} == {
            name: row[name] for name in resource.fields
        }


async def copied(database: Database, media_type: str) -> str:
    """Return the export of all samples."""
    pieces: list[bytes] = []

    async def sink(piece: bytes) -> None:
        pieces.append(piece)

    query = export_query(params_of(Sample, SamplePublic, "sort=id"), media_type)
    number = await copy_out(database, query, media_type, sink)
    content = b"".join(pieces).decode()
    if media_type == NDJSON:
        assert number == content.count("\n")
    return content


@settings(max_examples=15)
@given(samples=st.lists(SAMPLES, max_size=4))
async def test_every_kind_of_value_is_spelt_as_in_json(
    sample_database: Database, samples: list[dict[str, Any]]
) -> None:
    async with sample_database.engine.begin() as connection:
        await connection.execute(delete(table_of(Sample)))
        for sample in samples:
            await connection.execute(insert(table_of(Sample)).values(**sample))
    row = await sample_database.fetch(
        page_query(params_of(Sample, SamplePublic, "sort=id"), with_total=True)
    )
    assert row

    lines, table = await copied(sample_database, NDJSON), await copied(sample_database, CSV)

    assert lines == "".join(f"{each}\n" for each in (row[0] or "").split(",\n") if each)
    names, *records = csv.reader(io.StringIO(table, newline=""), strict=True)
    assert names == list(SamplePublic.model_fields)
    assert_spelt(records, f"[{row[0] or ''}]")


@each_format
async def test_an_export_that_finds_the_table_locked_is_told_to_come_back(
    client: AsyncClient, database_url: URL, kind: str
) -> None:
    await client.post("/songs", json={"name": "a", "artist": "b"})
    async with SERVICE.on(database_url, pool_size=1) as (other, database):
        async with database.connection() as driver:
            await driver.execute("SET lock_timeout = '20ms'")
        async with locked(database_url, "song"):
            answer = await export(other, "/songs", kind)
        after = await export(other, "/songs", kind)

    assert_problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert "content-disposition" not in answer.headers
    assert_headers(answer)
    assert after.status_code == 200


async def test_a_table_that_is_missing_says_nothing_of_itself(scratch_url: URL) -> None:
    async with SERVICE.on(scratch_url) as (client, _):
        answer = await export(client, "/songs")

    assert assert_problem(answer, 503)
    assert "relation" not in answer.text


async def test_who_takes_no_more_rows_keeps_no_connection_waiting(
    client: AsyncClient, database_url: URL
) -> None:
    await client.post("/songs", json={"name": "a", "artist": "b"})

    async def sink(_: bytes) -> None:
        raise BrokenPipeError

    async with SERVICE.on(database_url, pool_size=1, pool_timeout=5) as (other, database):
        query = export_query(params_of(Song, SongPublic), CSV)
        with pytest.raises(BrokenPipeError):
            await copy_out(database, query, CSV, sink)
        assert (await other.get("/songs")).status_code == 200
        with pytest.raises(BrokenPipeError):
            await copy_out(database, query, CSV, sink)
        ending = time.monotonic()
    assert time.monotonic() - ending < 30
