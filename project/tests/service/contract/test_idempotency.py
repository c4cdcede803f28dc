"""Idempotency keys: a request that is sent again is answered again, and done once."""

import asyncio
import json
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy.engine import URL

from app.main import create_app
from app.settings import Settings
from songbook.http.media_types import CSV
from tests.support.asserts import assert_problem
from tests.support.clients import PRINCIPAL, add_user, client_of, lines_of, sign_in, signed_in
from tests.support.databases import all_rows, empty, number_of, spelled
from tests.support.leaks import PASSWORD
from tests.support.replays import assert_again, assert_first, assert_reused, was_replayed
from tests.support.resources import RESOURCES, Resource
from tests.support.strategies import is_unique
from tests.support.ways import ROWS, SINGLE, WAYS, Sent, Way, each

KEYED = [way for way in WAYS if way.takes_key]
OPEN = [resource for resource in RESOURCES if not resource.is_protected]
CREATING = [way for way in SINGLE if way.creates]
SONG = {"name": "Helpless", "artist": "Neil Young", "year": None}

# What an Idempotency-Key may look like, and the same key in another spelling.
KEYS = [
    ('"k"', "k"),
    ("8e03978e-40d5-43dd-bc93-6894a57f9324", '"8e03978e-40d5-43dd-bc93-6894a57f9324"'),
    (r'"a\\b"', r"a\b"),
    (r'"a\"b"', r'"a\"b"'),
    ('"a,b"', '"a,b"'),
    (";=:/?@!#$%&'()*+-.^_`{|}~[]<>", '";=:/?@!#$%&\'()*+-.^_`{|}~[]<>"'),
    ("x" * 255, '"' + "x" * 255 + '"'),
    ('"' + r"\\" * 255 + '"', "\\" * 255),
]
NO_KEYS = [
    [""], [" "], ['""'], ['"a'], ['a"'], ['"a"b"'], ["a b"], ['"a b"'], ["a,b"], ['"a", "b"'],
    ["a", "a"], ['"a"', '"b"'], ["", "a"], ['"a";x=1'], [r'"a\b"'], ['"\\"'], ["é"], ['"é"'],
    ["\xff"], ["a\tb"], ["a\x7f"], ['"a\x7f"'], ["a\x01"], ["'a b'"], ["x" * 256],
    ['"' + "x" * 256 + '"'], ['"' + r"\"" * 256 + '"'], ["x" * 10_000],
]  # fmt: skip


@pytest.fixture(autouse=True)
def _empty(client: AsyncClient) -> None:
    """Begin with empty tables."""


@pytest.fixture
async def closed(database_url: URL) -> AsyncIterator[FastAPI]:
    """Give the service with CLOSED_WRITES, on the same tables."""
    other = create_app(Settings(database_url=spelled(database_url), closed_writes=True))
    async with other.router.lifespan_context(other):
        yield other


@each(KEYED)
async def test_what_is_sent_again_under_its_key_is_answered_again_and_done_once(
    app: FastAPI, writer: AsyncClient, way: Way
) -> None:
    await way.prepare(writer)
    request = way.request()

    first = await request.by(writer, '"again"')
    done = await all_rows(app)
    assert_first(first)
    for _ in range(2):
        assert_again(await request.by(writer, '"again"'), first)
    assert await all_rows(app) == done
    assert len(done["idempotency"]) == 1


@each(CREATING)
async def test_of_many_that_are_sent_at_once_under_one_key_one_is_done(
    app: FastAPI, writer: AsyncClient, way: Way
) -> None:
    request, before = way.request(), await number_of(app, way.table)

    answers = await asyncio.gather(*(request.by(writer, "at-once") for _ in range(64)))

    busy = [answer for answer in answers if answer.status_code == 409]
    for answer in busy:
        assert_problem(answer, 409, "idempotency-key-in-use")
        assert answer.headers["retry-after"] == "1"
    [first] = [answer for answer in answers if answer not in busy and not was_replayed(answer)]
    assert first.status_code == 201
    for answer in answers:
        if answer is not first and answer not in busy:
            assert_again(answer, first)
    assert await number_of(app, way.table) == before + 1


@each([way for way in KEYED if way not in CREATING])
async def test_of_several_changes_or_imports_at_once_under_one_key_one_is_done(
    app: FastAPI, writer: AsyncClient, way: Way
) -> None:
    await way.prepare(writer)
    request = way.request()

    answers = await asyncio.gather(*(request.by(writer, "at-once") for _ in range(8)))

    [first] = [answer for answer in answers if not was_replayed(answer)]
    assert first.is_success
    for answer in answers:
        if answer is not first:
            assert_again(answer, first)
    done = await all_rows(app)
    rows = len(done[way.table])
    if way.is_bulk:
        assert (rows, first.json()["stored"]) == (ROWS, ROWS)
    assert_again(await request.by(writer, "at-once"), first)
    assert await all_rows(app) == done


@each(KEYED)
async def test_another_request_under_the_same_key_is_refused(
    app: FastAPI, writer: AsyncClient, way: Way
) -> None:
    await way.prepare(writer)
    if "{id}" in way.path:
        await way.resource.add(writer)
    request = way.request()
    first = await request.by(writer, "taken")
    done = await all_rows(app)

    others = [request.at(f"{request.url}?dry_run=false")]
    if way.media_type:
        others += [way.request(), request._replace(content=request.content + b"\n")]
    if "{id}" in way.path:
        others += [way.request(id=2), request._replace(url=request.url.replace("/1", "/2"))]
    for other in others:
        assert_reused(await other.by(writer, "taken"))
    assert await all_rows(app) == done
    assert_again(await request.by(writer, "taken"), first)


async def add_or_refuse(client: AsyncClient, name: str, key: str) -> Response:
    """Ask for a user of this name under a key."""
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    return await client.post("/users", json=body, headers={"Idempotency-Key": key})


async def test_equal_keys_of_two_users_know_nothing_of_each_other(
    app: FastAPI, superuser: AsyncClient
) -> None:
    async with client_of(app, Authorization=await sign_in(app, PRINCIPAL + 1)) as other:
        first = await add_or_refuse(superuser, "ada", "k")
        assert_problem(await add_or_refuse(other, "ada", "k"), 409, "conflict")
        own = await add_or_refuse(other, "grace", "k")

        assert_first(first)
        assert_first(own)
        assert_again(await add_or_refuse(superuser, "ada", "k"), first)
        assert_again(await add_or_refuse(other, "grace", "k"), own)
        assert_reused(await add_or_refuse(other, "ada", "k"))


@pytest.mark.parametrize("open_to_all", OPEN, ids=lambda each: each.name)
async def test_where_only_users_write_each_has_keys_of_his_own(
    closed: FastAPI, open_to_all: Resource
) -> None:
    path, body, keyed = open_to_all.path, open_to_all.body(), {"Idempotency-Key": "k"}
    unique = [name for name in body if is_unique(open_to_all, name)]
    async with (
        client_of(closed, Authorization=await sign_in(closed)) as one,
        client_of(closed, Authorization=await sign_in(closed, PRINCIPAL + 1)) as two,
        client_of(closed) as nobody,
    ):
        first = await one.post(path, json=body, headers=keyed)
        assert_problem(await nobody.post(path, json=body, headers=keyed), 401)
        assert_again(await one.post(path, json=body, headers=keyed), first)
        others = body | {name: open_to_all.value(name) for name in unique}
        own = await two.post(path, json=others, headers=keyed)

    assert_first(first)
    assert_first(own)
    assert first.headers["location"] != own.headers["location"]


async def test_where_everybody_writes_a_key_is_the_same_with_a_token_and_without(
    client: AsyncClient, superuser: AsyncClient
) -> None:
    first = await superuser.post("/songs", json=SONG, headers={"Idempotency-Key": "k"})

    assert_again(await client.post("/songs", json=SONG, headers={"Idempotency-Key": "k"}), first)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("key", ["k", "not a key", ""])
async def test_where_a_repetition_is_harmless_keys_are_not_looked_at(
    app: FastAPI, client: AsyncClient, resource: Resource, method: str, key: str
) -> None:
    await resource.add(client)
    bodies = [resource.body() if method == "PUT" else None for _ in range(2)]

    answers = [
        await client.request(
            method, f"{resource.path}/1", json=body, headers={"Idempotency-Key": key}
        )
        for body in bodies
    ]

    expected = [204, 404] if method == "DELETE" else [200, 200]
    assert [answer.status_code for answer in answers] == expected
    assert not any(was_replayed(answer) for answer in answers)
    if method == "PUT":
        assert answers[0].headers["etag"] != answers[1].headers["etag"]
    assert await number_of(app, "idempotency") == 0


@pytest.mark.parametrize(("given", "same"), KEYS)
async def test_a_key_is_one_string_quoted_or_bare(
    app: FastAPI, client: AsyncClient, given: str, same: str
) -> None:
    request = Sent("POST", "/songs", json.dumps(SONG).encode(), {})

    first = await request.by(client, given, **{"Content-Type": "application/json"})
    again = await request.by(client, same, **{"Content-Type": "application/json"})

    assert_first(first)
    assert_again(again, first)
    assert await number_of(app, "song") == 1


async def test_what_is_no_key_is_refused_and_nothing_is_done(
    app: FastAPI, client: AsyncClient
) -> None:
    await client.post("/songs", json=SONG)
    for lines in NO_KEYS:
        keys = lines_of("Idempotency-Key", *lines)
        csv = [*keys, (b"Content-Type", b"text/csv")]
        for answer in (
            await client.post("/songs", json=SONG, headers=keys),
            await client.patch("/songs/1", json={"name": "a"}, headers=keys),
            await client.post("/songs", content="name,artist\na,b\n", headers=csv),
        ):
            assert (lines, answer.status_code) == (lines, 400)
            [error] = assert_problem(answer, 400, "malformed")["errors"]
            assert (error["location"], error["pointer"]) == ("header", "/Idempotency-Key")
    assert await number_of(app, "song") == 1
    assert await number_of(app, "idempotency") == 0


@each(CREATING)
async def test_what_was_stored_is_answered_also_when_it_is_gone(
    app: FastAPI, writer: AsyncClient, way: Way
) -> None:
    request = way.request()
    first = await request.by(writer, "k")
    assert (await writer.delete(first.headers["location"])).status_code == 204
    gone = await all_rows(app)

    assert_again(await request.by(writer, "k"), first)
    assert (await writer.get(first.headers["location"])).status_code == 404
    assert await all_rows(app) == gone


async def test_the_table_tells_neither_the_key_nor_the_password_nor_what_the_body_was(
    app: FastAPI, superuser: AsyncClient
) -> None:
    key = "a-key-that-somebody-may-guess"
    user = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}
    body = json.dumps(user).encode()
    keyed = {"Idempotency-Key": key, "Content-Type": "application/json"}
    assert_first(await superuser.post("/users", content=body, headers=keyed))

    [row] = (await all_rows(app))["idempotency"]
    values = [value for value in row if isinstance(value, bytes)]
    everything = repr(row) + "".join(value.decode(errors="replace") for value in values)
    assert row[0] == PRINCIPAL
    assert key not in everything
    assert PASSWORD not in everything
    assert "argon2" not in everything
    digest = sha256(body)
    parts = [b"POST", b"/users", b"", digest.digest()]
    for plain in (body, digest.digest(), b"\0".join(parts), b"".join(parts), key.encode() + body):
        assert sha256(plain).digest() not in values
        assert sha256(plain).hexdigest() not in everything
    assert digest.digest() not in values


async def test_who_changed_his_password_is_told_again_though_he_cannot_do_it_again(
    app: FastAPI, superuser: AsyncClient
) -> None:
    await add_user(superuser, "ada")
    change = {"password": f"{PASSWORD}2", "current_password": PASSWORD}
    keyed = {"Idempotency-Key": "k"}
    old = await signed_in(app, "ada")

    first = await old.patch("/users/me", json=change, headers=keyed)

    assert_first(first)
    assert_problem(await old.patch("/users/me", json=change, headers=keyed), 401)
    new = await signed_in(app, "ada", f"{PASSWORD}2")
    assert_again(await new.patch("/users/me", json=change, headers=keyed), first)
    other = {**change, "password": f"{PASSWORD}3"}
    assert_reused(await new.patch("/users/me", json=other, headers=keyed))
    problem = assert_problem(await new.patch("/users/me", json=other), 422, "validation")
    assert problem["errors"][0]["pointer"] == "/current_password"


async def test_a_change_under_a_condition_is_answered_again_though_it_is_met_no_more(
    client: AsyncClient, resource: Resource
) -> None:
    created = await resource.add(client)
    name = resource.required[0]
    request = ("PATCH", f"{resource.path}/1")
    headers = {"If-Match": created.headers["etag"], "Idempotency-Key": "k"}
    body = {name: resource.body()[name]}

    first = await client.request(*request, json=body, headers=headers)

    assert_again(await client.request(*request, json=body, headers=headers), first)
    assert_problem(
        await client.request(*request, json=body, headers=headers | {"Idempotency-Key": "l"}), 412
    )


async def talk(client: AsyncClient) -> list[tuple[int, str, dict[str, str]]]:
    """Return what is answered to writes under keys, and to some that are only tried."""
    answers = []
    for query, key in (("", "a"), ("", "a"), ("?dry_run=true", "b"), ("?dry_run=true", "c")):
        keyed = {"Idempotency-Key": key}
        csv = {**keyed, "Idempotency-Key": f"csv-{key}", "Content-Type": CSV}
        rows = f"name,artist\n{key},x\n{key},y\n"
        answers += [
            await client.post(f"/songs{query}", json=SONG, headers=keyed),
            await client.post(f"/songs{query}", json=SONG | {"year": 1}, headers=keyed),
            await client.post(f"/songs{query}", content=b"{", headers=keyed),
            await client.post(f"/songs{query}", json={}, headers=keyed),
            await client.post(f"/songs{query}", json=SONG, headers={"Idempotency-Key": "no key"}),
            await client.post(f"/songs{query}", content=rows, headers=csv),
            await client.post(f"/songs{query}", content="x", headers={"Content-Type": CSV}),
            await client.patch(f"/songs/1{query}", json={"name": "b"}, headers=keyed),
            await client.patch(f"/songs/9{query}", json={"name": "b"}, headers=keyed),
            await client.put(f"/songs/1{query}", json=SONG, headers=keyed),
            await client.delete(f"/songs/2{query}", headers=keyed),
            await client.post(f"/songs{query or '?'}&dryrun=1", json=SONG, headers=keyed),
        ]
    own = {"x-request-id", "server-timing"}
    return [
        (
            answer.status_code,
            json.dumps(answer.json() | {"request_id": ""}) if answer.content else "",
            {name: value for name, value in answer.headers.items() if name not in own},
        )
        for answer in answers
    ]


async def test_a_handler_that_fastapi_solves_writes_as_one_that_is_called_directly(
    app: FastAPI, client: AsyncClient
) -> None:
    def overridden() -> None:
        """Do nothing: that there is an override is enough."""

    expected, rows = await talk(client), await all_rows(app)
    async with app.state.service.database.engine.connect() as connection:
        await empty(connection)
    app.dependency_overrides = {overridden: overridden}
    try:
        answers = await talk(client)
    finally:
        app.dependency_overrides = {}

    assert answers == expected
    assert 0 < len(rows["idempotency"]) == await number_of(app, "idempotency")
    assert len(rows["song"]) == await number_of(app, "song")
