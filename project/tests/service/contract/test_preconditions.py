"""Conditional requests (RFC 9110, section 13): what a client has seen, and who wrote first."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from app.main import create_app
from app.settings import Settings
from songbook.db.database import Database
from songbook.models.field_types import TextType
from tests.support.asserts import assert_headers, assert_problem
from tests.support.clients import lines_of
from tests.support.databases import spelled, waiting
from tests.support.resources import Resource

WRITES = ["PUT", "PATCH", "DELETE"]
MALFORMED = [
    "", "x", '"', '"a', 'a"', "'a'", '"a" "b"', '"a"x', 'x"a"', 'w/"a"', "W/", "W/a", 'W/ "a"',
    "**", '*, "a"', '"a", *', '"a b"', '"a";q=1', ",", " ", '"\x7f"', '"a"\t"b"',
]  # fmt: skip

Writer = Callable[..., Coroutine[Any, Any, Response]]


@pytest.fixture
def write(client: AsyncClient, resource: Resource) -> Writer:
    """Give what writes the first record by a method, under the conditions given as headers."""

    async def request(method: str, *conditions: str, name: str = "If-Match") -> Response:
        body = None if method == "DELETE" else resource.body()
        url, headers = f"{resource.path}/1", lines_of(name, *conditions)
        return await client.request(method, url, json=body, headers=headers)

    return request


def plain(tag: str) -> str:
    """Return a tag without the hash that it has where a record shows more than its own fields."""
    return re.sub(r"\.[0-9a-f]+", "", tag)


def version(answer: Response) -> int:
    """Return the version of a record that its tag tells."""
    return int(plain(answer.headers["etag"]).strip('"').rpartition("-")[2])


def spellings(tag: str) -> dict[str, list[str]]:
    """Return the ways to name a tag in the lines of a condition, alone and among others."""
    return {
        "alone": [tag],
        "first": [f'{tag}, "x"'],
        "last": [f'"x",W/"y" ,\t{tag}'],
        "within": [f',, "" , {tag},,"x",'],
        "own line": ['"x"', tag, 'W/"y"'],
        "twice": [tag, tag],
        "padded": [f" \t{tag} "],
        "beside one with a comma": [f'"a,b", {tag}'],
        "beside one of other letters": [f'"\xe9", {tag}'],
    }


def other_tags(tag: str) -> list[str]:
    """Return tags that look like this one and are not."""
    schema, record, version = plain(tag).strip('"').split("-")
    revision, other = f"{schema}-{record}", f"{int(schema, 16) ^ 1:06x}-{record}"
    versions = [int(version) + 1, int(version) - 1, 0, 10**8, 2**31, 2**63, 10**30]
    tags = [
        '""', '"*"', f'"{version}"', f'"{revision}"', f'"{revision}-"', f'"{revision}-0{version}"',
        f'"{revision}-{version}x"', f'"_{revision}-{version}"', f'"{revision.upper()}-{version}"',
        f'"{other}-{version}"', f'"-{version}"', f'"{revision}--{version}"',
        f'"{revision}-+{version}"', f'"{schema}-{version}"', f'"{schema}-0{record}-{version}"',
        f'"{schema}-{int(record) + 1}-{version}"',
        *(f'"{revision}-{number}"' for number in versions),
    ]  # fmt: skip
    return [other for other in tags if other != tag]


async def test_a_tag_is_strong_and_changes_with_every_write(
    client: AsyncClient, resource: Resource
) -> None:
    url, body = f"{resource.path}/1", resource.body()
    answers = [await resource.add(client)]
    for _ in range(2):  # the same again is a write too
        answers.append(await client.put(url, json=body))
        answers.append(await client.patch(url, json=body))
        read = await client.get(url)
        assert read.headers["etag"] == answers[-1].headers["etag"]

    tags = [answer.headers["etag"] for answer in answers]
    assert len(set(tags)) == len(tags)
    assert all(re.fullmatch('"[!#-~]+"', tag) for tag in tags)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/1", "", "?limit=1&count=exact"])
async def test_what_the_client_has_already_is_not_sent_again(
    client: AsyncClient, resource: Resource, method: str, path: str
) -> None:
    await resource.add(client)
    await resource.add(client)
    url = resource.path + path
    full = await client.request(method, url)
    tag = full.headers["etag"]

    for spelling in (tag, f"W/{tag}", "*", " * "):
        for lines in spellings(spelling).values() if "*" not in spelling else ([spelling],):
            headers = lines_of("If-None-Match", *lines)
            answer = await client.request(method, url, headers=headers)
            assert (lines, answer.status_code, answer.content) == (lines, 304, b"")
            assert answer.headers["etag"] == tag
            assert not {"content-type", "content-length"} & set(answer.headers)
            assert answer.headers.get("link") == full.headers.get("link")
            assert answer.headers.get("x-total-count") == full.headers.get("x-total-count")
            assert_headers(answer)


async def test_what_the_client_has_not_yet_is_sent(client: AsyncClient, resource: Resource) -> None:
    created = await resource.add(client)

    for path in ("/1", ""):
        read = await client.get(resource.path + path)
        tag = read.headers["etag"]
        for other in [*other_tags(created.headers["etag"]), tag.upper().replace('"', '"X', 1)]:
            answer = await client.get(resource.path + path, headers={"If-None-Match": other})
            assert (other, answer.status_code, answer.json()) == (other, 200, read.json())
    assert created.json() in resource.rows(read)


async def test_every_change_of_a_page_changes_its_tag(
    client: AsyncClient, resource: Resource
) -> None:
    async def tag(**parameters: Any) -> str:
        found: str = (await resource.page(client, **parameters)).headers["etag"]
        return found

    tags = [await tag()]
    for _ in range(3):
        await resource.add(client)
        tags.append(await tag())
    await client.put(f"{resource.path}/1", json=resource.body())
    tags += [await tag(), await tag(limit=2), await tag(limit=1), await tag(count="exact")]
    await client.delete(f"{resource.path}/2")
    tags += [await tag(), await tag(limit=1, count="exact"), await tag(sort="-id")]

    assert len(set(tags)) == len(tags)
    assert await tag(limit=100) == await tag()


async def test_nothing_is_not_modified_where_nothing_is(
    client: AsyncClient, resource: Resource
) -> None:
    answer = await client.get(f"{resource.path}/1", headers={"If-None-Match": "*"})

    assert_problem(answer, 404)


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("spelling", [*spellings(""), "any"])
async def test_the_version_that_was_seen_may_be_changed(
    client: AsyncClient, resource: Resource, write: Writer, method: str, spelling: str
) -> None:
    tag = (await resource.add(client)).headers["etag"]
    lines = ["*"] if spelling == "any" else spellings(tag)[spelling]

    answer = await write(method, *lines)

    assert answer.status_code == (204 if method == "DELETE" else 200)
    assert answer.headers.get("etag") != tag


@pytest.mark.parametrize("method", WRITES)
async def test_another_version_than_was_seen_is_not_changed(
    client: AsyncClient, resource: Resource, write: Writer, method: str
) -> None:
    seen = (await resource.add(client)).headers["etag"]
    current = await client.put(f"{resource.path}/1", json=resource.body())
    tag = current.headers["etag"]

    for stale in [seen, f"W/{tag}", f'W/{tag}, "x", {seen}', *other_tags(tag)]:
        refused = await write(method, stale)
        assert_problem(refused, 412, "precondition-failed")
        assert refused.headers["etag"] == plain(tag)
    read = await client.get(f"{resource.path}/1")
    assert (read.json(), read.headers["etag"]) == (current.json(), tag)


async def test_an_empty_patch_of_another_version_is_refused_too(
    client: AsyncClient, resource: Resource
) -> None:
    tag = (await resource.add(client)).headers["etag"]
    url = f"{resource.path}/1"

    refused = await client.patch(url, json={}, headers={"If-Match": '"x"'})
    answered = await client.patch(url, json={}, headers={"If-Match": tag})

    assert_problem(refused, 412, "precondition-failed")
    assert (answered.status_code, answered.headers["etag"]) == (200, tag)


async def test_the_tag_of_one_record_is_not_that_of_another(
    client: AsyncClient, resource: Resource
) -> None:
    first, second = [await resource.add(client) for _ in range(2)]
    url, tag = f"{resource.path}/2", first.headers["etag"]
    assert version(first) == version(second)

    read = await client.get(url, headers={"If-None-Match": tag})
    assert (read.status_code, read.json()) == (200, second.json())
    for method in WRITES:
        body = None if method == "DELETE" else resource.body()
        refused = await client.request(method, url, json=body, headers={"If-Match": tag})
        assert_problem(refused, 412)
        assert refused.headers["etag"] == plain(second.headers["etag"])


@pytest.mark.parametrize("condition", MALFORMED)
async def test_a_condition_that_cannot_be_read_is_refused(
    client: AsyncClient, resource: Resource, write: Writer, condition: str
) -> None:
    created = await resource.add(client)

    answers = [await write(method, condition) for method in WRITES]
    answers += [await write("GET", condition, name="If-None-Match")]
    answers += [await client.get(resource.path, headers={"If-None-Match": condition})]

    for answer in answers:
        [error] = assert_problem(answer, 400, "malformed")["errors"]
        assert error["location"] == "header"
        assert error["pointer"] in {"/If-Match", "/If-None-Match"}
    assert resource.rows(await resource.page(client)) == [created.json()]


@pytest.mark.parametrize("condition", ['"x"', "*"])
async def test_what_would_fail_anyway_fails_for_its_own_reason(
    client: AsyncClient, resource: Resource, condition: str
) -> None:
    await resource.add(client)
    headers = {"If-Match": condition}
    body = resource.body()

    for path, status in (("/2", 404), ("/x", 422)):
        url = resource.path + path
        assert_problem(await client.put(url, json=body, headers=headers), status)
        assert_problem(await client.patch(url, json=body, headers=headers), status)
        assert_problem(await client.delete(url, headers=headers), status)
    for method in ("PUT", "PATCH"):
        url = f"{resource.path}/1"
        no_object = await client.request(method, url, json=[], headers=headers)
        no_json = await client.request(method, url, content=b"{}", headers=headers)
        assert_problem(no_object, 422)
        assert_problem(no_json, 415)


async def test_a_condition_of_a_change_does_not_concern_reading_and_creating(
    client: AsyncClient, resource: Resource
) -> None:
    headers = {"If-Match": '"x"', "If-Modified-Since": "garbage", "If-Unmodified-Since": "0"}

    created = await client.post(resource.path, json=resource.body(), headers=headers)
    read = await client.get(f"{resource.path}/1", headers=headers)

    assert (created.status_code, read.status_code) == (201, 200)


async def test_if_match_is_looked_at_before_if_none_match(
    client: AsyncClient, resource: Resource
) -> None:
    tag = (await resource.add(client)).headers["etag"]
    headers = {"If-Match": '"x"', "If-None-Match": tag}

    assert_problem(await client.delete(f"{resource.path}/1", headers=headers), 412)


async def test_a_change_is_not_made_under_a_condition_that_is_for_reading(
    resource: Resource, client: AsyncClient, write: Writer
) -> None:
    created = await resource.add(client)

    for method in WRITES:
        failed = await write(method, "*", name="If-None-Match")
        assert_problem(failed, 412)
        assert plain(failed.headers["etag"]) == plain(created.headers["etag"])
        refused = await write(method, created.headers["etag"], name="If-None-Match")
        [error] = assert_problem(refused, 400, "malformed")["errors"]
        assert (error["pointer"], error["type"]) == ("/If-None-Match", "entity_tags")
    assert (await client.get(f"{resource.path}/1")).headers["etag"] == created.headers["etag"]


@pytest.fixture
async def strict(client: AsyncClient, database_url: URL) -> AsyncIterator[AsyncClient]:
    """Give a client of a service that was set to require If-Match, on the same database."""
    app = create_app(Settings(database_url=spelled(database_url), require_if_match=True))
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url=client.base_url) as strict,
    ):
        strict.headers = client.headers
        yield strict


async def test_a_change_without_a_condition_is_refused_where_one_is_required(
    strict: AsyncClient, resource: Resource
) -> None:
    created = await resource.add(strict)
    url, body = f"{resource.path}/1", resource.body()

    for refused in (
        await strict.put(url, json=body),
        await strict.patch(url, json={}),
        await strict.delete(url, headers={"If-None-Match": created.headers["etag"]}),
    ):
        assert "If-Match" in assert_problem(refused, 428, "precondition-required")["detail"]
        assert_headers(refused)
    read = await strict.get(url)
    assert (read.json(), read.headers["etag"]) == (created.json(), created.headers["etag"])
    assert (await strict.put(url, json=body, headers={"If-Match": "*"})).status_code == 200
    assert_problem(await strict.delete(url, headers={"If-Match": '"x"'}), 412)
    assert (await strict.delete(url, headers={"If-Match": "*"})).status_code == 204


@pytest.mark.long
async def test_no_update_is_lost_among_sixteen_clients(
    client: AsyncClient, resource: Resource
) -> None:
    rounds, clients = 2, 16
    fields = [
        name
        for name, field in resource.fields.items()
        if isinstance(field.type, TextType) and re.search(field.type.pattern or "", "1")
    ]
    if not fields:
        pytest.skip("no text of it can be a number")
    field = fields[0]
    created = await resource.add(client, **{field: "1"})
    url, seen = f"{resource.path}/1", set()

    async def count() -> None:
        for _ in range(rounds):
            changed = False
            while not changed:
                read = await client.get(url)
                body = {field: str(int(read.json()[field]) + 1)}
                answer = await client.patch(
                    url, json=body, headers={"If-Match": read.headers["etag"]}
                )
                seen.add(answer.status_code)
                changed = answer.status_code == 200

    await asyncio.gather(*(count() for _ in range(clients)))

    last = await client.get(url)
    assert int(last.json()[field]) == 1 + rounds * clients
    assert version(last) - version(created) == rounds * clients
    assert seen == {200, 412}


@pytest.fixture
async def held(
    app: FastAPI, client: AsyncClient, resource: Resource
) -> AsyncIterator[AsyncConnection]:
    """Give a connection in whose transaction the first record is locked."""
    await resource.add(client)
    database: Database = app.state.service.database
    async with database.engine.connect() as connection, connection.begin():
        table = resource.table.__tablename__
        await connection.execute(text(f'SELECT FROM "{table}" WHERE id = 1 FOR UPDATE'))
        yield connection


@pytest.mark.parametrize("methods", [("PUT", "PATCH"), ("PATCH", "DELETE"), ("PUT", "PUT")])
async def test_the_second_of_two_writers_is_told_the_tag_that_the_first_one_left(
    client: AsyncClient,
    resource: Resource,
    write: Writer,
    held: AsyncConnection,
    methods: tuple[str, str],
) -> None:
    tag = (await client.get(f"{resource.path}/1")).headers["etag"]

    writers: list[asyncio.Task[Response]] = []
    for place, method in enumerate(methods, start=1):
        writers.append(asyncio.create_task(write(method, tag)))
        await waiting(held, place)
    await held.commit()
    first, second = [await writer for writer in writers]

    assert first.status_code == 200
    assert_problem(second, 412, "precondition-failed")
    assert second.headers["etag"] == plain(first.headers["etag"]) != plain(tag)


@pytest.mark.parametrize("method", WRITES)
async def test_a_writer_is_told_the_tag_that_another_program_left(
    client: AsyncClient, resource: Resource, write: Writer, held: AsyncConnection, method: str
) -> None:
    tag = (await client.get(f"{resource.path}/1")).headers["etag"]
    table = resource.table.__tablename__

    writer = asyncio.create_task(write(method, tag))
    await waiting(held, 1)
    await held.execute(text(f'UPDATE "{table}" SET version = version + 1'))
    await held.commit()

    refused = await writer
    assert_problem(refused, 412, "precondition-failed")
    read = await client.get(f"{resource.path}/1")
    assert refused.headers["etag"] == plain(read.headers["etag"]) != plain(tag)


@pytest.mark.parametrize("method", WRITES)
async def test_who_writes_what_another_one_deletes_meanwhile_finds_nothing(
    write: Writer, held: AsyncConnection, method: str
) -> None:
    writers: list[asyncio.Task[Response]] = []
    for place, each in enumerate(("DELETE", method), start=1):
        writers.append(asyncio.create_task(write(each, "*")))
        await waiting(held, place)
    await held.commit()
    first, second = [await writer for writer in writers]

    assert first.status_code == 204
    assert_problem(second, 404, "not-found")


async def test_two_writers_without_conditions_both_write(
    client: AsyncClient, resource: Resource, write: Writer, held: AsyncConnection
) -> None:
    writers: list[asyncio.Task[Response]] = []
    for place in (1, 2):
        writers.append(asyncio.create_task(write("PUT")))
        await waiting(held, place)
    await held.commit()
    first, second = [await writer for writer in writers]

    read = await client.get(f"{resource.path}/1")
    assert (first.status_code, second.status_code) == (200, 200)
    assert read.json() == second.json() != first.json()
    assert read.headers["etag"] == second.headers["etag"] != first.headers["etag"]
