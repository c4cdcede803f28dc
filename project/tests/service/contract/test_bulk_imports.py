"""Many rows in one body: each checked as a body of its own, all of them stored or none."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import AsyncClient

from songbook.bulk.imports import CHUNK
from songbook.http.media_types import CSV, NDJSON
from tests.support.asserts import assert_problem
from tests.support.bulk import IMPORTABLE_TEXTS, each_importable
from tests.support.reports import (
    FILES,
    counts,
    each_format,
    refusals,
    report_of,
    send_rows,
    stored_songs,
    written,
)
from tests.support.resources import Resource
from tests.support.strategies import without_repetition
from tests.support.texts import NAUGHTY

pytestmark = pytest.mark.long

FAULTY = (
    b"name,artist,year\r\n"
    b"Hurt,Johnny Cash,2002\r\n"
    b'"Bullfrog\nBlues",Rory Gallagher,SONGFACTS.COM\r\n'
    b" ,Afrissippi,\r\n"
    b"\r\n"
    b"Levon,Elton John,1071\r\n"
    b"Loser,Beck\r\n"
    b"N\0L,\xff,0\r\n"
)
REFUSALS = [
    (3, "/year", "int_parsing"),
    (5, "/name", "string_too_short"),
    (8, "", "columns"),
    (9, "/name", "string_nul"),
    (9, "/artist", "string_unicode"),
    (9, "/year", "greater_than_equal"),
]


@each_importable
@each_format
async def test_many_rows_are_stored_in_their_order(
    client: AsyncClient, resource: Resource, kind: str
) -> None:
    rows = [resource.body() for _ in range(7)]

    answer = await send_rows(client, written(rows, kind), path=resource.path, kind=kind)
    listed = resource.rows(await resource.page(client))

    assert counts(report_of(answer)) == (7, 7, 0, 0)
    assert [row["id"] for row in listed] == list(range(1, 8))
    assert [{name: row[name] for name in resource.fields} for row in listed] == rows
    read = await client.get(f"{resource.path}/1")
    assert (read.status_code, read.json()) == (200, listed[0])


@each_importable
@each_format
async def test_a_field_left_out_of_many_rows_has_its_default(
    client: AsyncClient, resource: Resource, kind: str
) -> None:
    rows = [{name: resource.value(name) for name in resource.required} for _ in range(2)]

    answer = await send_rows(client, written(rows, kind), path=resource.path, kind=kind)

    report_of(answer)
    for row, found in zip(rows, resource.rows(await resource.page(client)), strict=True):
        assert {**row, **resource.defaults}.items() <= found.items()


@each_format
@pytest.mark.parametrize(("resource", "name"), IMPORTABLE_TEXTS)
async def test_a_text_among_many_comes_back_as_it_was_sent(
    client: AsyncClient, resource: Resource, name: str, kind: str
) -> None:
    longest = getattr(resource.fields[name].type, "max_length", 0)
    of_copy = ["\\.", "\\N", "\\b\\t", "a\\\nb", "a\tb\\", "\\x41", "NULL", "a\vb", '"",""', "#,"]
    texts = [text[:longest] for text in (*NAUGHTY, *of_copy)]
    texts = without_repetition(resource, name, texts)
    rows = [resource.body(**{name: text}) for text in texts]

    report_of(await send_rows(client, written(rows, kind), path=resource.path, kind=kind))

    listed = resource.rows(await resource.page(client, limit=1000))
    assert [row[name] for row in listed] == texts


JUDGED: list[Any] = [
    *(None, True, False, 1, 1.5, 2021.0, 1e400, -1, 0, 2**31, 2**63, [], {}, ["a"], "", " ", "a"),
    *("1_000", " 5 ", "+5", "2021", "true", "True", "null", "a\0b", " b ", "\ud800", "x" * 10_001),
    *("9.90", "2026-01-31", "2026-01-31T12:00:00+01:00", "12:00:00", {"a": 1e-31}, {"a": [None]}),
    *("0190163D-8694-739b-aea5-966c26f8ad91", ["a", "\0"], ["a"] * 101, [" a ", "NULL", '{"\\']),
]


@each_importable
async def test_a_value_is_judged_as_in_a_body_of_its_own(
    client: AsyncClient, resource: Resource
) -> None:
    for name in (*resource.fields, "unknown"):
        values = without_repetition(resource, name, JUDGED)
        rows = [resource.body(**{name: value}) for value in values]
        content = written(rows, NDJSON)
        tried = await send_rows(
            client, content, "?on_error=skip&dry_run=true", path=resource.path, kind=NDJSON
        )
        alone = [
            await client.post(
                f"{resource.path}?dry_run=true",
                content=line,
                headers={"Content-Type": "application/json"},
            )
            for line in content.splitlines()
        ]

        expected = [
            (line, error["pointer"], error["type"])
            for line, answer in enumerate(alone, 1)
            if answer.status_code in {409, 422}
            for error in answer.json()["errors"]
        ]
        found = refusals(report_of(tried, tried.status_code))
        infinite = {line for line, answer in enumerate(alone, 1) if answer.status_code == 400}
        assert [each for each in found if each[0] not in infinite] == expected
        assert infinite <= {line for line, _, _ in found}
        assert {answer.status_code for answer in alone} <= {200, 400, 409, 422}


async def test_rows_that_do_not_fit_are_told_by_line_and_nothing_is_stored(
    client: AsyncClient,
) -> None:
    answer = await send_rows(client, FAULTY)

    report = report_of(answer, 422)
    assert counts(report) == (6, 0, 0, 4)
    assert refusals(report) == REFUSALS
    assert answer.json()["type"] == "/problems/validation"
    detail = answer.json()["detail"]
    assert detail.startswith("4 of 6 rows failed validation, and nothing was stored: ")
    assert await stored_songs(client) == []


async def test_rows_that_fit_are_stored_when_that_is_asked_for(client: AsyncClient) -> None:
    report = report_of(await send_rows(client, FAULTY, "?on_error=skip"))

    assert counts(report) == (6, 2, 0, 4)
    assert refusals(report) == REFUSALS
    assert [song["name"] for song in await stored_songs(client)] == ["Hurt", "Levon"]


@each_format
async def test_no_row_that_fits_is_a_refusal_whatever_is_asked_for(
    client: AsyncClient, kind: str
) -> None:
    content = written([{"name": "", "artist": ""}] * 3, kind)

    report = report_of(await send_rows(client, content, "?on_error=skip", kind=kind), 422)

    assert counts(report) == (3, 0, 0, 3)


LINES = [
    (b'{"name":"a","artist":"b"}', None),
    (b'{"name":"a","artist":"b"', ("", "json")),
    (b'{"name":"a","artist":"b"} x', ("", "json")),
    (b'{"name":"a","artist":"b"}{}', ("", "json")),
    (b"name,artist", ("", "json")),
    (b'{"name":"a","name":"a","artist":"b"}', ("", "json")),
    (b'{"name":"a","artist":"b","year":NaN}', ("", "json")),
    (b'{"name":"a","artist":"b","year":-Infinity}', ("", "json")),
    (b'{"name":"a","artist":"b","year":' + b"9" * 5000 + b"}", ("", "json")),
    (b"[" * 60_000, ("", "json")),
    (b"\xff", ("", "json")),
    (b"[]", ("", "object")),
    (b'["a","b"]', ("", "object")),
    (b'"a"', ("", "object")),
    (b"null", ("", "object")),
    (b'{"name":"a","artist":"b","yaer":1}', ("/yaer", "extra_forbidden")),
    (b'{"name":"a","artist":"b","id":1}', ("/id", "extra_forbidden")),
    (b'{"name":"a"}', ("/artist", "missing")),
    (b'{"name":"\\ud800","artist":"b"}', ("/name", "string_unicode")),
    (b'{"name":"a","artist":"\\udc00\\ud83d"}', ("/artist", "string_unicode")),
    (b'{"name":"a","artist":"\xff"}', ("/artist", "string_unicode")),
    (b'{"name":"a","artist":"\xed\xa0\x80"}', ("/artist", "string_unicode")),
    (b'{"name":"a","artist":"b","\xff":1}', ("", "string_unicode")),
    (b'{"name":"a","artist":"b","\\ud800":1}', ("", "string_unicode")),
    (b'{"name":"a\\u0000","artist":"b"}', ("/name", "string_nul")),
    (b' \t{"artist":"b","name":"\\ud83c\\udfb8"}\t', None),
]


async def test_each_line_of_ndjson_is_an_object_on_its_own(client: AsyncClient) -> None:
    content = b"\n\r\n".join(line for line, _ in LINES)

    report = report_of(await send_rows(client, content, "?on_error=skip", kind=NDJSON))

    assert refusals(report) == [
        (2 * nth + 1, *fault) for nth, (_, fault) in enumerate(LINES) if fault
    ]
    assert counts(report) == (len(LINES), 2, 0, len(LINES) - 2)
    assert [song["name"] for song in await stored_songs(client)] == ["a", "🎸"]


async def test_only_the_first_hundred_refusals_are_told(client: AsyncClient) -> None:
    rows = b"a,b,c\n" * 99 + b" , ,\n" + b"a,b,c\n" * 900

    report = report_of(await send_rows(client, b"name,artist,year\n" + rows), 422)

    assert counts(report) == (1000, 0, 0, 1000)
    assert refusals(report) == [
        *((line, "/year", "int_parsing") for line in range(2, 101)),
        (101, "/name", "string_too_short"),
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_a_body_may_come_in_pieces_of_any_size(client: AsyncClient, size: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(FAULTY), size):
            yield FAULTY[at : at + size]

    report = report_of(await send_rows(client, pieces(), "?on_error=skip"))

    assert refusals(report) == REFUSALS


@pytest.mark.parametrize("size", [CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK])
async def test_a_body_of_many_pieces_is_one_text(client: AsyncClient, size: int) -> None:
    rows = b"".join(b'"n\n%d",\xc3\xa9,%d\r\n' % (at, at) for at in range(10_100))
    content = b"name,artist,year\n" + rows

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(content), size):
            yield content[at : at + size]

    report = report_of(await send_rows(client, pieces(), "?on_error=skip&dry_run=true"), 200)

    assert counts(report) == (10_100, 9_999, 0, 101)
    assert refusals(report) == [
        (2, "/year", "greater_than_equal"),
        *((2 * year + 2, "/year", "less_than_equal") for year in range(10_000, 10_099)),
    ]


HEADERS = [
    (b"", {"/name", "/artist"}),
    (b"\n\r\n\r", {"/name", "/artist"}),
    (b"\n\na,artist\n", {"/a", "/name"}),
    (b"a,b,1\n", {"/a", "/b", "/1", "/name", "/artist"}),
    (b"name\na\n", {"/artist"}),
    (b"name|artist\na|b\n", {"/name|artist", "/name", "/artist"}),
    (b"name,artist,nmae\na,b,c\n", {"/nmae"}),
    (b"Name,artist\na,b\n", {"/Name", "/name"}),
    (b"name, artist\na,b\n", {"/ artist", "/artist"}),
    (b"name,artist,id\na,b,7\n", {"/id"}),
    (b"name,artist,version\na,b,7\n", {"/version"}),
    (b"name,artist,\na,b,\n", {"/"}),
    (b"name,artist,name\na,b,c\n", {"/name"}),
    (b"name,artist,x,x\na,b,c,d\n", {"/x"}),
    (b"name,artist," + b"x" * 1000 + b"\na,b,c\n", {"/" + "x" * 64}),
]


@pytest.mark.parametrize(("content", "pointers"), HEADERS)
async def test_a_header_that_does_not_fit_is_refused(
    client: AsyncClient, content: bytes, pointers: set[str]
) -> None:
    for query in ("", "?on_error=skip"):
        problem = assert_problem(await send_rows(client, content, query), 422, "validation")

        assert {error["pointer"] for error in problem["errors"]} == pointers
        assert {(error["location"], error["type"]) for error in problem["errors"]} == {
            ("body", "column")
        }
    assert await stored_songs(client) == []


async def test_a_column_whose_name_is_no_utf_8_is_refused(client: AsyncClient) -> None:
    for query in ("", "?ignore=%FF"):
        problem = assert_problem(await send_rows(client, b"name,artist,\xff\na,b,c\n", query), 400)
        assert problem["detail"] == "The header is not valid UTF-8."


async def test_a_column_that_is_misspelt_is_told_what_was_meant(client: AsyncClient) -> None:
    answer = await send_rows(client, b"name,artist,yaer\na,b,1\n")

    [error] = assert_problem(answer, 422)["errors"]
    assert error["detail"] == "Unknown column, did you mean `year`?"


async def test_columns_are_left_out_on_request_and_have_to_be_there(client: AsyncClient) -> None:
    content = b"id,name,artist,,source\n7,a,b,c,d\n"

    kept = await send_rows(client, content, "?ignore=source&ignore=id&ignore=")
    absent = await send_rows(client, content, "?ignore=source&ignore=id&ignore=&ignore=year")
    lines = b'{"id":7,"name":"c","artist":"d"}\n{"name":"e","artist":"f","x":1}\n'
    of_lines = await send_rows(client, lines, "?ignore=id&ignore=x", kind=NDJSON)

    assert counts(report_of(kept)) == (1, 1, 0, 0)
    assert [error["pointer"] for error in assert_problem(absent, 422)["errors"]] == ["/year"]
    assert counts(report_of(of_lines)) == (2, 2, 0, 0)
    assert [(song["id"], song["name"]) for song in await stored_songs(client)] == [
        (1, "a"),
        (2, "c"),
        (3, "e"),
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'name,artist\na,b\n"c,d\ne,f\n', 3),
        (b'name,artist\n"a"b,c\n', 2),
        (b'name,artist\n"a\n\n",b\n\n"c" ,d\n', 6),
        (b'"name,artist\n', 1),
    ],
)
async def test_quotes_that_make_no_sense_are_malformed(
    client: AsyncClient, content: bytes, line: int
) -> None:
    for query in ("", "?on_error=skip"):
        problem = assert_problem(await send_rows(client, content, query), 400, "malformed")
        assert problem["detail"].startswith(f"Invalid CSV at line {line}: ")
    assert await stored_songs(client) == []


async def test_utf_16_is_refused_by_its_mark(client: AsyncClient) -> None:
    for encoding in ("utf-16", "utf-32"):
        for kind in (CSV, NDJSON):
            problem = assert_problem(
                await send_rows(client, FILES[kind].decode().encode(encoding), kind=kind), 400
            )
            assert "UTF-16" in problem["detail"]
