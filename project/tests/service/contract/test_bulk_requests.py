"""Many rows in one body, as they are asked for: media types, options, limits, failures."""

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy import text
from sqlalchemy.engine import URL

from songbook.db.statements import Use
from songbook.http.media_types import CSV, NDJSON
from tests.support.asserts import assert_headers, assert_problem
from tests.support.bulk import each_importable
from tests.support.marks import slow
from tests.support.openapi import parameters_of
from tests.support.reports import FILES, counts, each_format, report_of, send_rows, stored_songs
from tests.support.resources import Resource
from tests.support.services import SERVICE
from tests.support.waiting import PATIENCE

SONG = {"name": "a", "artist": "b"}


@each_format
async def test_nothing_to_store_is_no_failure(client: AsyncClient, kind: str) -> None:
    for content in (b"name,artist\n", b"name,artist", b'"artist","name"\r\n\r\n\r\n'):
        sent = content if kind == CSV else content[len(content) :]
        assert counts(report_of(await send_rows(client, sent, kind=kind), 200)) == (0, 0, 0, 0)


@each_format
@pytest.mark.parametrize("query", ["?dry_run=true", "?dry_run=true&on_error=skip"])
async def test_what_is_tried_dry_is_told_and_not_stored(
    client: AsyncClient, kind: str, query: str
) -> None:
    tried = report_of(await send_rows(client, FILES[kind], query, kind=kind), 200)
    refused = await send_rows(client, b"name,artist\n,b\n", query)

    assert counts(tried) == (2, 2, 0, 0)
    assert counts(report_of(refused, 422)) == (1, 0, 0, 1)
    assert await stored_songs(client) == []


@pytest.mark.parametrize(
    ("query", "pointer", "kind"),
    [
        ("on_eror=skip", "/on_eror", "unknown_parameter"),
        ("on_conflict=skip", "/on_conflict", "unknown_parameter"),
        ("limit=1", "/limit", "unknown_parameter"),
        ("on_error=skp", "/on_error", "choice"),
        ("on_error=", "/on_error", "choice"),
        ("dry_run=1", "/dry_run", "choice"),
        ("on_error=skip&on_error=skip", "/on_error", "repeated_parameter"),
    ],
)
async def test_an_option_that_is_none_is_refused(
    client: AsyncClient, query: str, pointer: str, kind: str
) -> None:
    [error] = assert_problem(await send_rows(client, FILES[CSV], f"?{query}"), 422)["errors"]

    assert (error["pointer"], error["location"], error["type"]) == (pointer, "query", kind)
    assert ("did you mean `on_error`?" in error["detail"]) is (pointer == "/on_eror")
    assert await stored_songs(client) == []


@each_importable
@pytest.mark.parametrize("query", ["on_error=skip", "ignore=id", "on_conflict=skip"])
async def test_the_options_of_many_rows_are_not_those_of_one(
    client: AsyncClient, resource: Resource, query: str
) -> None:
    answer = await client.post(f"{resource.path}?{query}", json=resource.body())

    [error] = assert_problem(answer, 422)["errors"]
    assert error["type"] == "unknown_parameter"
    assert resource.rows(await resource.page(client)) == []


@each_importable
async def test_an_option_of_many_rows_is_taken_with_one_if_it_says_what_is_done_anyway(
    app: FastAPI, client: AsyncClient, resource: Resource
) -> None:
    parameters = parameters_of(app.openapi(), f"{resource.path}.csv", "post")
    schemas = {each["name"]: each["schema"] for each in parameters}
    defaults = {name: each["default"] for name, each in schemas.items() if "default" in each}

    answer = await client.post(resource.path, params=defaults, json=resource.body())

    assert defaults.keys() >= {"dry_run", "on_error"}
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("kind", "headers", "status"),
    [
        ("TEXT/Csv", {}, 201),
        ("text/csv;charset=utf-8", {}, 201),
        ('text/csv; Charset="UTF-8"; header=present', {}, 201),
        ("text/csv", {"Content-Encoding": "identity"}, 201),
        ("text/csv; charset=latin-1", {}, 415),
        ("text/csv; charset=utf-16", {}, 415),
        ("text/csv; header=absent", {}, 415),
        ("text/csv", {"Content-Encoding": "gzip"}, 415),
        ("text/csv", {"Content-Encoding": "deflate, gzip"}, 415),
        ("text/tab-separated-values", {}, 415),
        ("text/plain", {}, 415),
        ("text/*", {}, 415),
        ("application/csv", {}, 415),
        ("application/ndjson", {}, 415),
        ("application/json", {}, 400),
    ],
)
async def test_only_the_two_formats_are_taken(
    client: AsyncClient, kind: str, headers: dict[str, str], status: int
) -> None:
    answer = await send_rows(client, FILES[CSV], kind=kind, **headers)

    assert answer.status_code == status, answer.text
    assert len(await stored_songs(client)) == (2 if status == 201 else 0)


async def test_ndjson_is_taken_in_utf_8_alone(client: AsyncClient) -> None:
    for suffix, status in (("; charset=UTF-8", 201), ("; charset=utf-16", 415)):
        answer = await send_rows(client, FILES[NDJSON], kind=NDJSON.upper() + suffix)
        assert answer.status_code == status


async def test_many_rows_are_neither_put_nor_patched(client: AsyncClient) -> None:
    await client.post("/songs", json=SONG)

    for method in ("PUT", "PATCH"):
        answer = await client.request(
            method, "/songs/1", content=FILES[CSV], headers={"Content-Type": CSV}
        )
        assert_problem(answer, 415)


async def test_users_are_not_imported(superuser: AsyncClient) -> None:
    answer = await send_rows(superuser, b"username,email,password\na,a@b.org,c\n", path="/users")

    problem = assert_problem(answer, 415)
    assert problem["detail"] == "Send the body in UTF-8, with Content-Type application/json."


async def test_who_may_not_write_one_row_may_not_write_many(database_url: URL) -> None:
    async with SERVICE.on(database_url, closed_writes=True) as (client, _):
        answer = await send_rows(client, FILES[CSV])

    assert_problem(answer, 401, "unauthenticated")


@each_format
async def test_a_row_that_is_too_long_is_too_large(
    client: AsyncClient, database_url: URL, kind: str
) -> None:
    long = FILES[kind].replace(b"c", b"c" * 1100)
    async with SERVICE.on(database_url, import_line=1024) as (small, _):
        for query in ("", "?on_error=skip"):
            answer = await send_rows(small, long, query, kind=kind)
            problem = assert_problem(answer, 413, "too-large")
            line = 3 if kind == CSV else 2
            assert problem["detail"] == f"Line {line} is longer than 1024 characters."
            assert answer.headers["connection"] == "close"
    assert_problem(await send_rows(client, long, kind=kind), 422)
    assert await stored_songs(client) == []


@each_format
async def test_a_body_that_is_too_large_is_refused_declared_or_not(
    client: AsyncClient, database_url: URL, kind: str
) -> None:
    content = FILES[kind] + FILES[kind].splitlines(keepends=True)[-1] * 200

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(content), 100):
            yield content[at : at + 100]

    async with SERVICE.on(database_url, import_bytes=1024) as (small, _):
        for sent in (content, pieces()):
            answer = await send_rows(small, sent, kind=kind)
            problem = assert_problem(answer, 413, "too-large")
            assert problem["detail"] == "The body is larger than 1024 bytes."
            assert answer.headers["connection"] == "close"
        assert await stored_songs(client) == []
        report_of(
            await send_rows(small, content[: 900 if kind == NDJSON else 1024], kind=kind), 422
        )


async def test_the_limits_of_one_row_are_not_those_of_many(client: AsyncClient) -> None:
    rows = 10_000
    content = b"name,artist\n" + b"a row,of some length\n" * rows

    assert len(content) > 200_000
    report = report_of(await send_rows(client, content))
    assert counts(report) == (rows, rows, 0, 0)


@slow
@pytest.mark.parametrize(
    "settings", [pytest.param({"bulk_seconds": 1}, marks=slow), {"body_seconds": 1}]
)
async def test_a_body_that_does_not_come_in_time_is_given_up(
    client: AsyncClient, database_url: URL, settings: dict[str, Any]
) -> None:

    async def stopping() -> AsyncIterator[bytes]:
        yield FILES[CSV]
        await asyncio.Event().wait()

    async with SERVICE.on(database_url, **settings) as (hasty, _), asyncio.timeout(PATIENCE):
        answer = await send_rows(hasty, stopping())

    assert_problem(answer, 408, "too-slow")
    assert answer.headers["connection"] == "close"
    assert_headers(answer)
    assert await stored_songs(client) == []


async def test_an_import_waits_for_its_turn_but_not_for_ever(
    client: AsyncClient, database_url: URL
) -> None:
    async with SERVICE.on(database_url, pool_size=6, pool_timeout=60) as (busy, database):
        async with database.bulk(1, Use.WRITE):
            waiting = asyncio.create_task(send_rows(busy, FILES[CSV]))
            assert (await busy.get("/songs")).json() == []
            assert not waiting.done()
        served = await waiting

        database.pool_timeout = 0.1
        async with database.bulk(1, Use.WRITE):
            refused = await send_rows(busy, FILES[CSV])
            created = await busy.post("/songs", json=SONG)

    assert counts(report_of(served)) == (2, 2, 0, 0)
    assert assert_problem(refused, 503)["detail"].startswith("Too many imports and exports")
    assert (refused.headers["retry-after"], created.status_code) == ("1", 201)
    assert len(await stored_songs(client)) == 3


@pytest.mark.parametrize(
    ("holder", "status", "seconds"), [("127.0.0.1", 503, 0.1), ("192.0.2.1", 200, 60)]
)
async def test_a_client_has_at_most_half_of_the_places(
    database_url: URL, holder: str, status: int, seconds: float
) -> None:
    async with (
        SERVICE.on(database_url, pool_timeout=seconds) as (busy, database),
        database.bulk(1, Use.LIST, holder),
    ):
        export = await busy.get("/songs", headers={"Accept": CSV})
        report = await send_rows(busy, FILES[CSV])

    assert export.status_code == status
    assert report.status_code == (503 if status == 503 else 201)


@pytest.fixture
async def refusing(app: FastAPI) -> AsyncIterator[None]:
    """Let PostgreSQL refuse the songs of an artist who is called after an SQLSTATE."""
    function = (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.artist ~ '^[0-9A-Z]{5}$' THEN RAISE 'canary' USING ERRCODE = NEW.artist; END IF;"
        " RETURN NEW; END $$"
    )
    trigger = "CREATE TRIGGER refuse BEFORE INSERT ON song FOR EACH ROW EXECUTE FUNCTION refuse()"
    async with app.state.service.database.engine.begin() as connection:
        await connection.execute(text(function))
        await connection.execute(text(trigger))
    yield
    async with app.state.service.database.engine.begin() as connection:
        await connection.execute(text("DROP FUNCTION refuse CASCADE"))


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize(
    ("state", "status", "slug"),
    [
        ("53100", 503, "unavailable"),  # the disk of PostgreSQL is full
        ("57014", 503, "unavailable"),
        ("40P01", 503, "unavailable"),
        ("23514", 422, "validation"),
        ("23000", 409, "conflict"),
        ("23505", 409, "conflict"),
        ("23503", 409, "conflict"),
        ("XX000", 500, "internal"),
    ],
)
async def test_what_postgresql_refuses_amid_many_rows_stores_none_of_them(
    client: AsyncClient, state: str, status: int, slug: str
) -> None:
    content = f"name,artist\na,b\n\na,b\na,{state}\na,b\n".encode()

    answer = await send_rows(client, content, "?on_error=skip")

    assert_problem(answer, status, slug)
    assert_headers(answer)
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
    assert await stored_songs(client) == []
    assert counts(report_of(await send_rows(client, FILES[CSV]))) == (2, 2, 0, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a disk of 64 KB, which has to be left empty; only root can mount one."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "songbook", str(tmp_path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk that is soon full takes the right to mount one")
    yield tmp_path
    left = [*tmp_path.iterdir()]
    subprocess.run(["umount", str(tmp_path)], check=True)
    assert left == []


async def test_a_disk_that_is_full_is_told_and_nothing_is_stored(
    client: AsyncClient,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    content = b"name,artist\n" + b"a,b\n" * 50_000

    answers = [await send_rows(client, content, query) for query in ("", "?on_error=skip")]
    after = await send_rows(client, FILES[CSV])

    for answer in answers:
        problem = assert_problem(answer, 507, "insufficient-storage")
        assert problem["detail"].endswith("nothing was stored.")
        assert_headers(answer)
    assert "No space left on device" in caplog.text
    assert counts(report_of(after)) == (2, 2, 0, 0)
    assert len(await stored_songs(client)) == 2


async def test_where_no_file_can_be_written_clients_are_told_to_come_back(
    client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    answer = await send_rows(client, FILES[CSV])

    assert_problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_a_media_type_that_is_none_is_not_repeated(client: AsyncClient) -> None:
    for declared in ("<script>", "<script>; charset=latin-1", "text/csv; charset=<script>"):
        answer = await client.post("/songs", content=b"{}", headers={"Content-Type": declared})

        assert "script" not in assert_problem(answer, 415)["detail"]


async def test_of_thousands_of_columns_that_are_none_the_first_are_told(
    client: AsyncClient,
) -> None:
    header = ",".join(f"x{nth}" for nth in range(9000))

    answer = await client.post("/songs", content=header, headers={"Content-Type": "text/csv"})

    errors = assert_problem(answer, 422)["errors"]
    assert [error["pointer"] for error in errors] == [f"/x{nth}" for nth in range(20)]
