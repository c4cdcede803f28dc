"""Imports of rows that refer to other records: those without a parent are told by their lines."""

import asyncio
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy.engine import URL

from songbook.bulk.copy import copy_in, discard_orphans, stage
from songbook.db import Database, Use
from songbook.errors import MAX_REFUSALS
from songbook.models import table_of
from tests.samples.resources.novels import Novel
from tests.support.asserts import assert_problem
from tests.support.databases import execute, spelled, waiting
from tests.support.processes import Outcome
from tests.support.references import NO_SUCH
from tests.support.reports import written

CSV, NDJSON = "text/csv", "application/x-ndjson"

each_format = pytest.mark.parametrize("media_type", [CSV, NDJSON])


def row(title: str, publisher: int = 1, town: int | None = None, **more: Any) -> dict[str, Any]:
    """Return a row of an import."""
    return {"title": title, "price": None, "publisher_id": publisher, "town_id": town, **more}


async def send(
    client: AsyncClient, rows: list[dict[str, Any]], query: str = "", media_type: str = NDJSON
) -> Response:
    """Import novels."""
    headers = {"Content-Type": media_type}
    content = written(rows, media_type)
    return await client.post(f"/novels{query}", content=content, headers=headers)


async def titles(client: AsyncClient) -> dict[str, int]:
    """Return the publishers of the stored novels by their titles."""
    answer = await client.get("/novels?limit=1000")
    return {each["title"]: each["publisher_id"] for each in answer.json()}


@pytest.fixture
async def shelf(client: AsyncClient) -> AsyncClient:
    """Give a client of a service with the publishers 1, 2, and 3, which is deleted, and a town."""
    for name in "abc":
        answer = await client.post("/publishers", json={"name": name})
        assert answer.status_code == 201
    await client.post("/towns", json={"name": "Bath", "population": 1})
    assert (await client.delete("/publishers/3")).status_code == 204
    return client


def refusal(line: int, field: str = "publisher_id") -> dict[str, Any]:
    """Return how a report refuses a row without a parent."""
    return {"line": line, "pointer": f"/{field}", "detail": NO_SUCH, "type": "foreign_key"}


@each_format
@pytest.mark.parametrize("missing", [99, 3], ids=["missing", "deleted"])
@pytest.mark.parametrize("query", ["", "?on_conflict=skip", "?on_conflict=update"])
async def test_a_row_without_a_parent_is_told_by_its_line_and_nothing_is_stored(
    shelf: AsyncClient, media_type: str, missing: int, query: str
) -> None:
    rows = [row("a"), row("b", 2), row("c", missing), row("d"), row("e", missing)]

    problem = assert_problem(await send(shelf, rows, query, media_type), 409, "conflict")

    line = 4 if media_type == CSV else 3
    assert problem["detail"] == f"Line {line}: {NO_SUCH}, so nothing was stored."
    assert [each["pointer"] for each in problem["errors"]] == ["/publisher_id"]
    assert problem["report"] == {
        "read": 5,
        "stored": 0,
        "skipped": 0,
        "refused": 2,
        "refusals": [refusal(line), refusal(line + 2)],
    }
    assert await titles(shelf) == {}


@each_format
@pytest.mark.parametrize("query", ["", "&on_conflict=skip", "&on_conflict=update"])
async def test_rows_without_a_parent_are_skipped_and_reported(
    shelf: AsyncClient, media_type: str, query: str
) -> None:
    rows = [row("a"), row("b", 99), row("c", 2, 1), row("d", 2, 99), row("e", 3), row("f", 2)]
    first = 2 if media_type == CSV else 1

    answer = await send(shelf, rows, f"?on_error=skip{query}", media_type)

    assert answer.status_code == 201, answer.text
    report = answer.json()
    assert (report["read"], report["stored"], report["skipped"]) == (6, 3, 0)
    assert report["refused"] == 3
    by_line = sorted(report["refusals"], key=lambda each: int(each["line"]))
    assert by_line == [
        refusal(first + 1),
        refusal(first + 3, "town_id"),
        refusal(first + 4),
    ]
    assert report["refusals"] == by_line
    assert await titles(shelf) == {"a": 1, "c": 2, "f": 2}


async def test_a_row_without_both_of_its_parents_is_refused_once(shelf: AsyncClient) -> None:
    rows = [row("a"), row("b", 99, 99), row("c", 1, 99)]

    report = (await send(shelf, rows, "?on_error=skip")).json()

    assert (report["read"], report["stored"], report["refused"]) == (3, 1, 2)
    assert {each["line"] for each in report["refusals"]} == {2, 3}


async def test_the_first_line_without_a_parent_is_told_whichever_reference_it_is(
    shelf: AsyncClient,
) -> None:
    rows = [row("a"), row("b", 1, 99), row("c", 99)]

    problem = assert_problem(await send(shelf, rows), 409, "conflict")

    assert problem["detail"].startswith("Line 2: ")
    assert [each["pointer"] for each in problem["errors"]] == ["/town_id"]
    assert problem["report"]["refusals"] == [refusal(2, "town_id"), refusal(3)]


async def test_invalid_rows_and_rows_without_a_parent_are_reported_together(
    shelf: AsyncClient,
) -> None:
    rows = [row("a"), row("b", price="x"), row("c", 99), row("d", price="y")]

    report = (await send(shelf, rows, "?on_error=skip")).json()
    assert (report["stored"], report["refused"]) == (1, 3)
    assert [each["line"] for each in report["refusals"]] == [2, 3, 4]

    problem = assert_problem(await send(shelf, rows[1:], "?on_error=skip"), 409, "conflict")
    assert problem["detail"] == f"Line 2: {NO_SUCH}, so nothing was stored."
    assert (problem["report"]["stored"], problem["report"]["refused"]) == (0, 3)


@pytest.mark.parametrize("good", [0, 1])
async def test_thousands_of_rows_without_a_parent_are_counted_and_the_first_reported(
    shelf: AsyncClient, good: int
) -> None:
    rows = [row(f"{nth}", 99 if nth % 2 else 3) for nth in range(3000)]
    rows += [row("good")] * good

    answer = await send(shelf, rows, "?on_error=skip")

    report = answer.json() if good else assert_problem(answer, 409, "conflict")["report"]
    assert (report["read"], report["stored"], report["refused"]) == (3000 + good, good, 3000)
    assert report["refusals"] == [refusal(line) for line in range(1, MAX_REFUSALS + 1)]
    assert await titles(shelf) == ({"good": 1} if good else {})


async def test_what_exists_is_skipped_or_updated_among_rows_without_a_parent(
    shelf: AsyncClient,
) -> None:
    await send(shelf, [row("a"), row("b")])
    rows = [row("a", 2), row("b", 99), row("c", 2)]

    report = (await send(shelf, rows, "?on_error=skip&on_conflict=skip")).json()
    assert (report["stored"], report["skipped"], report["refused"]) == (1, 1, 1)
    assert await titles(shelf) == {"a": 1, "b": 1, "c": 2}

    report = (await send(shelf, rows, "?on_error=skip&on_conflict=update")).json()
    assert (report["stored"], report["skipped"], report["refused"]) == (1, 1, 1)
    assert await titles(shelf) == {"a": 2, "b": 1, "c": 2}


async def test_a_row_that_exists_is_told_by_its_line_behind_skipped_rows(
    shelf: AsyncClient,
) -> None:
    await send(shelf, [row("a")])
    rows = [row("x", 99), row("b"), row("y", 3), row("a")]

    problem = assert_problem(await send(shelf, rows, "?on_error=skip"), 409, "conflict")

    assert problem["detail"].startswith("Line 4: ")
    assert [each["pointer"] for each in problem["errors"]] == ["/title"]


async def test_a_dry_run_tells_what_an_import_would(shelf: AsyncClient) -> None:
    rows = [row("a"), row("b", 99)]

    assert_problem(await send(shelf, rows, "?dry_run=true"), 409, "conflict")
    tried = await send(shelf, rows, "?dry_run=true&on_error=skip")

    assert (tried.status_code, tried.json()["stored"], tried.json()["refused"]) == (200, 1, 1)
    assert await titles(shelf) == {}


async def test_rows_of_an_export_come_back_without_what_is_computed(shelf: AsyncClient) -> None:
    await send(shelf, [row("a", 2), row("b", 1, 1, price="9.90")])
    exported = await shelf.get("/novels", headers={"Accept": CSV})
    parents = await shelf.get("/publishers", headers={"Accept": CSV})
    for path in ("/novels/1", "/novels/2"):
        await shelf.delete(path)

    headers = {"Content-Type": CSV}
    again = await shelf.post("/novels?ignore=id", content=exported.content, headers=headers)
    assert (again.status_code, again.json()["stored"]) == (201, 2)
    assert await titles(shelf) == {"a": 2, "b": 1}
    query = "?ignore=id&ignore=novel_count&on_conflict=skip"
    kept = await shelf.post(f"/publishers{query}", content=parents.content, headers=headers)
    assert (kept.status_code, kept.json()["skipped"]) == (200, 2)


async def test_rows_of_an_import_refer_to_records_that_exist_already(related: AsyncClient) -> None:
    rows = [{"name": "root", "parent_id": None}, {"name": "leaf", "parent_id": 1}]
    content, headers = "\n".join(map(json.dumps, rows)), {"Content-Type": NDJSON}

    refused = await related.post("/categories", content=content, headers=headers)
    skipped = await related.post("/categories?on_error=skip", content=content, headers=headers)

    assert assert_problem(refused, 409)["report"]["refusals"][0]["line"] == 2
    assert (skipped.json()["stored"], skipped.json()["refused"]) == (1, 1)


async def test_parents_may_be_changed_but_not_deleted_while_rows_are_stored(
    shelf: AsyncClient, app: FastAPI
) -> None:
    database: Database = app.state.service.database
    columns, rows = ["title", "publisher_id"], BytesIO(b"a\t1\n")

    async with database.bulk(1, Use.WRITE) as connection:
        await connection.execute("BEGIN")
        await stage(database, connection, Novel, columns, rows)
        assert not await discard_orphans(database, connection, Novel, columns, "publisher_id")
        changing = shelf.patch("/publishers/1", json={"country": "GB"})
        assert (await asyncio.wait_for(changing, 20)).status_code == 200
        deleting = asyncio.create_task(shelf.delete("/publishers/1"))
        async with database.engine.connect() as other:
            await waiting(other, 1)
        rows.seek(0)
        await copy_in(database, connection, table_of(Novel), columns, rows)
        await connection.execute("COMMIT")

    assert_problem(await deleting, 409, "conflict")
    assert await titles(shelf) == {"a": 1}


def test_the_command_line_tells_the_lines_without_a_parent(
    command: Callable[..., Outcome], migrated_url: URL, tmp_path: Path
) -> None:
    execute(migrated_url, "INSERT INTO publisher (name) VALUES ('a')")
    file = tmp_path / "novels.csv"
    file.write_text("title,publisher_id\na,1\nb,99\nc,98\n")
    url = spelled(migrated_url)

    refused = command("import", "novels", str(file), DATABASE_URL=url)
    assert refused.code == 1
    assert refused.told[:2] == [f"line {line}: publisher_id: {NO_SUCH}" for line in (3, 4)]
    assert refused.told[-1].startswith(f"samples: Line 3: {NO_SUCH}, so nothing was stored.")
    assert "--on-error skip" in refused.told[-1]
    assert "--on-conflict" not in refused.told[-1]
    assert execute(migrated_url, "SELECT title FROM novel") == []

    skipped = command("import", "novels", str(file), "--on-error", "skip", DATABASE_URL=url)
    assert skipped.code == 0
    assert "1 novel stored" in skipped.printed
    assert "2 refused" in skipped.printed
    assert execute(migrated_url, "SELECT title, publisher_id FROM novel") == [("a", 1)]
