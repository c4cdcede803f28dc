"""A write that fails changes nothing and keeps no key; and what is deleted stays so."""

import asyncio
import json

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from songbook.http.media_types import CSV
from tests.support.asserts import assert_problem
from tests.support.databases import all_rows
from tests.support.replays import assert_again, assert_first, was_replayed
from tests.support.resources import Resource
from tests.support.waiting import PATIENCE
from tests.support.ways import BULK, ROWS, SINGLE, Sent, Way, each

pytestmark = pytest.mark.long

KEY = {"Idempotency-Key": "k"}
Attempt = tuple[Sent, dict[str, str]]


def failing(way: Way) -> dict[str, Attempt]:
    """Return requests that fail, each with what else is in its head, by the status they get."""
    request = way.request()
    attempts: dict[str, Attempt] = {
        "422-parameter": (request.at(f"{request.url}?x=1"), {}),
        "422-dry-run": (request.at(f"{request.url}?dry_run=maybe"), {}),
    }
    if way.media_type:
        attempts |= {
            "400-no-json": (request._replace(content=b"{"), {}),
            "400-nothing": (request._replace(content=b" "), {}),
            "400-no-utf-8": (request._replace(content=b'"\xff"'), {}),
            "413-": (request._replace(content=b" " * 65_537), {}),
            "415-type": (request, {"Content-Type": "text/plain"}),
            "415-charset": (request, {"Content-Type": f"{way.media_type}; charset=latin-1"}),
            "415-encoding": (request, {"Content-Encoding": "gzip"}),
            "422-no-field": (request._replace(content=b'{"no such": 1}'), {}),
            "422-no-object": (request._replace(content=b"[]"), {}),
            "422-null": (request._replace(content=_with_null(way, request)), {}),
        }
    if "{id}" in way.path:
        attempts |= {
            "404-": (way.request(id=99), {}),
            "404-zero": (way.request(id=0), {}),
            "404-huge": (way.request(id=10**30), {}),
            "422-id": (request.at(request.url.replace("/1", "/x")), {}),
        }
    if way.method in {"PUT", "PATCH", "DELETE"}:
        attempts |= {
            "400-tags": (request, {"If-Match": "x"}),
            "412-": (request, {"If-Match": '"x"'}),
        }
    return attempts


def _with_null(way: Way, request: Sent) -> bytes:
    body = json.loads(request.content) | {way.resource.required[0]: None}
    return json.dumps(body).encode()


def failing_imports(way: Way) -> dict[str, Attempt]:
    """Return imports that fail, as `failing` does."""
    request = way.request()
    good, [empty] = request.content, way.rows(1)

    def of(content: bytes) -> Sent:
        return request._replace(content=content)

    return {
        "400-utf-16": (of(good.decode().encode("utf-16")), {}),
        "413-": (of(good + b'"' + b"x" * 70_000), {}),
        "415-charset": (request, {"Content-Type": f"{way.media_type}; charset=latin-1"}),
        "415-encoding": (request, {"Content-Encoding": "gzip"}),
        "422-last-row": (of(good + b"\xff\n"), {}),
        "422-nulls": (way.request(dict.fromkeys(empty), *way.rows()), {}),
        "422-nothing-good": (way.request(dict.fromkeys(empty), query="?on_error=skip"), {}),
        "422-option": (request.at(f"{way.path}?on_error=perhaps"), {}),
        "422-ignored": (request.at(f"{way.path}?ignor=x"), {}),
        "422-dry-run": (request.at(f"{way.path}?dry_run=maybe"), {}),
    }


@each(SINGLE)
async def test_a_write_that_fails_changes_nothing_and_may_be_mended_under_its_key(
    app: FastAPI, writer: AsyncClient, way: Way
) -> None:
    await way.prepare(writer)
    attempts, before = failing(way), await all_rows(app)

    for name, (request, headers) in attempts.items():
        answer = await request.by(writer, f'"{name}"', **headers)
        assert (name, answer.status_code) == (name, int(name[:3]))
        assert not was_replayed(answer)
        assert await all_rows(app) == before
    if way.takes_key:
        for nth, name in enumerate(attempts, 1):
            assert_first(await way.request().by(writer, name))
            assert len((await all_rows(app))["idempotency"]) == nth


@each(BULK)
async def test_an_import_that_fails_stores_nothing_and_may_be_mended_under_its_key(
    app: FastAPI, writer: AsyncClient, way: Way
) -> None:
    attempts, before = failing_imports(way), await all_rows(app)

    for name, (request, headers) in attempts.items():
        answer = await request.by(writer, name, **headers)
        assert (name, answer.status_code) == (name, int(name[:3]))
        assert not was_replayed(answer)
        assert await all_rows(app) == before
    for nth, name in enumerate(attempts, 1):
        assert_first(await way.request().by(writer, name))
        rows = await all_rows(app)
        assert (len(rows[way.table]), len(rows["idempotency"])) == (nth * ROWS, nth)


@pytest.mark.parametrize("rest", ["", "a,b\n" * 50_000], ids=["in one piece", "in several"])
async def test_an_import_that_cannot_be_read_is_refused_though_its_key_is_taken(
    client: AsyncClient, rest: str
) -> None:
    headers = {**KEY, "Content-Type": CSV}
    assert_first(await client.post("/songs", content="name,artist\na,b\n", headers=headers))

    async with asyncio.timeout(PATIENCE):
        answer = await client.post("/songs", content=f"neither,nor\n{rest}", headers=headers)

    assert_problem(answer, 422)
    assert not was_replayed(answer)


async def test_what_is_deleted_is_gone_whoever_asks_and_with_whatever_key(
    app: FastAPI, client: AsyncClient, resource: Resource
) -> None:
    await resource.add(client)
    path, body = f"{resource.path}/1", resource.body()
    part = {resource.required[0]: body[resource.required[0]]}
    patched = await client.patch(path, json=part, headers=KEY)
    assert (await client.delete(path)).status_code == 204
    gone = await all_rows(app)

    for method in ("GET", "PUT", "PATCH", "DELETE"):
        for headers in ({}, {"Idempotency-Key": "another"}, {"If-Match": "*"}):
            sent = None if method in {"GET", "DELETE"} else part if method == "PATCH" else body
            answer = await client.request(method, path, json=sent, headers=headers)
            assert_problem(answer, 404, "not-found")
    assert resource.rows(await resource.page(client)) == []
    # what was done before is told again, and done no more
    assert_again(await client.patch(path, json=part, headers=KEY), patched)
    assert await all_rows(app) == gone
