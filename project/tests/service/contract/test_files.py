"""The addresses of files: `/songs.csv` and `/songs.ndjson`, to read and to write."""

from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from app.main import ALIASES
from songbook.http.media_types import CSV, FILE_SUFFIXES, NDJSON
from tests.support.asserts import assert_headers, assert_problem
from tests.support.bulk import each_importable
from tests.support.clients import PRINCIPAL
from tests.support.openapi import parameters_of
from tests.support.replays import assert_again, assert_first
from tests.support.reports import (
    FILES,
    counts,
    each_format,
    report_of,
    send_rows,
    stored_songs,
    written,
)
from tests.support.resources import Resource

ALIASED = {path: alias for alias, path in ALIASES.items()}


def file_at(path: str, kind: str) -> str:
    """Return the address of the file of a list."""
    return f"{path}.{FILE_SUFFIXES[kind]}"


@each_format
async def test_a_file_is_the_export_whatever_the_client_would_rather_have(
    client: AsyncClient, resource: Resource, kind: str
) -> None:
    for _ in range(3):
        await resource.add(client)
    asked: dict[str, Any] = {"sort": "-id", "id_lt": PRINCIPAL, "limit": 2}
    alias = ALIASED.get(resource.path, resource.path)
    export = await client.get(resource.path, params=asked, headers={"Accept": kind})

    for path in (resource.path, f"{alias}"):
        address = file_at(path, kind)
        for accept in (None, "application/json", CSV, "text/html,*/*;q=0.1"):
            headers = {} if accept is None else {"Accept": accept}
            answer = await client.get(address, params=asked, headers=headers)
            assert (answer.status_code, answer.content) == (200, export.content)
            assert answer.headers["content-type"] == export.headers["content-type"]
            assert "Accept" not in answer.headers.get("vary", "")
            name = f'attachment; filename="{address.rpartition("/")[2]}"'
            assert answer.headers["content-disposition"] == name
            assert_headers(answer)
        head = await client.head(f"{address}/", params=asked)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-disposition"] == name


@each_importable
@each_format
async def test_rows_are_stored_at_the_address_of_a_file(
    client: AsyncClient, resource: Resource, kind: str
) -> None:
    address = file_at(resource.path, kind)
    alias = file_at(ALIASED.get(resource.path, resource.path), kind)
    content = written([resource.body(), resource.body()], kind)
    sent: dict[str, Any] = {"kind": kind, "Idempotency-Key": "once"}

    tried = await send_rows(client, content, "?dry_run=true", path=address, kind=kind)
    first = await send_rows(client, content, path=address, **sent)
    again = await send_rows(client, content, path=alias, **sent)

    assert counts(report_of(tried, 200)) == (2, 2, 0, 0)
    assert_first(first)
    assert counts(report_of(first)) == (2, 2, 0, 0)
    assert_again(again, first)
    assert len(resource.rows(await resource.page(client))) == 2


OF_FORMS = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"]


@pytest.mark.parametrize(
    ("address", "kind", "content", "status"),
    [
        ("/songs.csv", "text/csv; header=present", CSV, 201),
        ("/songs.csv", "application/octet-stream", CSV, 201),
        ("/songs.ndjson", "application/octet-stream", NDJSON, 201),
        ("/songs.ndjson", "application/jsonl", NDJSON, 201),
        ("/songs", "application/jsonl", NDJSON, 201),
        ("/songs", "application/octet-stream", CSV, 415),
        ("/songs.csv", NDJSON, CSV, 415),
        ("/songs.csv", "application/jsonl", NDJSON, 415),
        ("/songs.ndjson", CSV, NDJSON, 415),
        ("/songs.csv", "application/json", CSV, 415),
        *(("/songs.csv", kind, CSV, 415) for kind in OF_FORMS),
        *(("/songs.ndjson", kind, NDJSON, 415) for kind in OF_FORMS),
    ],
)
async def test_a_file_may_be_sent_as_what_no_form_of_another_site_can_send(
    client: AsyncClient, address: str, kind: str, content: str, status: int
) -> None:
    answer = await send_rows(client, FILES[content], path=address, kind=kind)

    assert answer.status_code == status, answer.text
    assert len(await stored_songs(client)) == (2 if status == 201 else 0)


@each_format
async def test_a_file_that_nobody_says_what_it_is_is_refused(
    client: AsyncClient, kind: str
) -> None:
    answer = await client.post(file_at("/songs", kind), content=FILES[kind])

    problem = assert_problem(answer, 415)
    assert "application/octet-stream" in problem["detail"]
    assert "application/json " not in problem["detail"]


@each_format
async def test_a_file_has_only_the_methods_that_its_list_has(
    client: AsyncClient, kind: str
) -> None:
    for path, allowed in (("/songs", "GET, HEAD, OPTIONS, POST"), ("/users", "GET, HEAD, OPTIONS")):
        address = file_at(path, kind)
        options, deleted = await client.options(address), await client.delete(address)

        assert (options.status_code, options.headers["allow"]) == (204, allowed)
        assert_problem(deleted, 405)
        assert deleted.headers["allow"] == allowed
    assert_problem(await client.get("/songs.json"), 404)
    assert_problem(await client.get("/songs/.csv"), 422)
    assert_problem(await client.get("/.csv"), 404)


@each_format
async def test_what_a_file_cannot_be_asked_is_refused(client: AsyncClient, kind: str) -> None:
    address = file_at("/songs", kind)

    for query, name in (("count=exact", "/count"), ("on_error=skip", "/on_error"), ("x=1", "/x")):
        [error] = assert_problem(await client.get(f"{address}?{query}"), 422)["errors"]
        assert error["pointer"] == name
    answer = await client.get(address, headers={"If-None-Match": "x"})
    assert_problem(answer, 400)


def test_the_document_tells_of_files_at_their_own_addresses_only(
    app: FastAPI, resource: Resource
) -> None:
    document = app.openapi()
    paths = document["paths"]

    for method, operation in paths[resource.path].items():
        names = {each["name"] for each in parameters_of(document, resource.path, method)}
        assert not names & {"escape", "on_error", "on_conflict", "ignore"}
        contents = [each.get("content", {}) for each in operation["responses"].values()]
        contents.append(operation.get("requestBody", {}).get("content", {}))
        kinds = {kind for content in contents for kind in content}
        assert kinds <= {"application/json", "application/problem+json"}, method
    for kind, suffix in FILE_SUFFIXES.items():
        operations = paths[file_at(resource.path, kind)]
        assert operations["get"]["operationId"] == f"export_{resource.name}_{suffix}"
        content = operations["get"]["responses"]["200"]["content"]
        assert content[kind]["schema"]["type"] == "string"
        names = {each["name"] for each in parameters_of(document, file_at(resource.path, kind))}
        assert names & {"limit", "count", "escape", "expand", "If-None-Match"} <= {
            *("limit", "escape" if kind == CSV else "expand")
        }
        if "post" in operations:
            assert operations["post"]["operationId"] == f"import_{resource.name}_{suffix}"
            schema = operations["post"]["requestBody"]["content"][kind]["schema"]
            assert (schema["type"], schema["format"]) == ("string", "binary")
