"""Writes that are only tried, with `?dry_run=true`: answered as if they were done, and undone."""

import json
from typing import Any

from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import text

from songbook.http.media_types import CSV
from tests.support.asserts import assert_problem
from tests.support.clients import PRINCIPAL, add_user, log_in, sign_in, signed_in
from tests.support.databases import all_rows, number_of
from tests.support.leaks import PASSWORD
from tests.support.replays import DRY, assert_again, assert_first, assert_tried
from tests.support.ways import BULK, ROWS, WAYS, Sent, Way, each

PUT_PATCH_DELETE = [way for way in WAYS if way.method in {"PUT", "PATCH", "DELETE"}]
OF_A_ROW = [way for way in PUT_PATCH_DELETE if "{id}" in way.path]
SONG = {"name": "Helpless", "artist": "Neil Young"}


def dry(request: Sent, *more: str) -> Sent:
    """Return a request that is only tried."""
    return request.at("&".join([f"{request.url}{DRY}", *more]))


def without_chance(answer: Response) -> Any:
    """Return the body of an answer without what is another in each attempt: numbers and times."""
    body = json.loads(answer.content or b"null")
    chance = {"id", "created_at", "updated_at"}
    if not isinstance(body, dict):
        return body
    return {name: value for name, value in body.items() if name not in chance}


@each(WAYS)
async def test_a_write_that_is_tried_is_answered_as_if_it_were_done_and_nothing_is_stored(
    app: FastAPI, writer: AsyncClient, way: Way
) -> None:
    await way.prepare(writer)
    request, before = way.request(), await all_rows(app)

    tried = [await dry(request).by(writer) for _ in range(2)]

    assert await all_rows(app) == before
    done = await request.by(writer)
    assert done.is_success, done.text
    assert await all_rows(app) != before
    for answer in tried:
        assert_tried(answer)
        assert without_chance(answer) == without_chance(done)
        assert answer.headers.get("content-type") == done.headers.get("content-type")
    if way.is_bulk:
        assert tried[0].json()["stored"] == ROWS


@each(WAYS)
async def test_what_is_not_only_tried_is_done(app: FastAPI, writer: AsyncClient, way: Way) -> None:
    await way.prepare(writer)
    before = await all_rows(app)

    done = await way.request(query="?dry_run=false").by(writer)

    assert done.is_success
    assert done.status_code == (201 if way.creates else 200 if done.content else 204)
    assert await all_rows(app) != before


@each(WAYS)
async def test_how_a_write_is_asked_to_be_tried_has_one_spelling(
    app: FastAPI, writer: AsyncClient, way: Way
) -> None:
    await way.prepare(writer)
    request, before = way.request(), await all_rows(app)
    spellings = {
        "dryrun=true": ("/dryrun", "unknown_parameter"),
        "Dry_run=true": ("/Dry_run", "unknown_parameter"),
        "dry_runs=true": ("/dry_runs", "unknown_parameter"),
        "dry_run=True": ("/dry_run", "choice"),
        "dry_run=1": ("/dry_run", "choice"),
        "dry_run=yes": ("/dry_run", "choice"),
        "dry_run=": ("/dry_run", "choice"),
        "dry_run": ("/dry_run", "choice"),
        "dry_run=%20true": ("/dry_run", "choice"),
        "dry_run=true&dry_run=true": ("/dry_run", "repeated_parameter"),
        "dry_run=true&dry_run=false": ("/dry_run", "repeated_parameter"),
        "dry_run=true&x=1": ("/x", "unknown_parameter"),
        "limit=1": ("/limit", "unknown_parameter"),
    }

    for query, (pointer, kind) in spellings.items():
        answer = await request.at(f"{request.url}?{query}").by(writer)
        assert (query, answer.status_code) == (query, 422)
        [error] = assert_problem(answer, 422, "validation")["errors"]
        assert (error["location"], error["pointer"], error["type"]) == ("query", pointer, kind)
        if pointer in {"/dryrun", "/dry_runs"}:
            assert error["detail"].endswith(", did you mean `dry_run`?")
        assert {"choice": "`true` or `false`"}.get(kind, "") in error["detail"]
    assert await all_rows(app) == before


async def test_more_parameters_than_anyone_needs_are_refused_at_once(client: AsyncClient) -> None:
    query = "&".join(["dry_run=true"] * 101)

    assert_problem(await client.post(f"/songs?{query}", json=SONG), 422, "validation")
    answer = await client.post("/songs?" + "&".join(f"x{n}=1" for n in range(100)), json=SONG)
    assert len(assert_problem(answer, 422)["errors"]) == 20


@each(OF_A_ROW)
async def test_what_would_fail_fails_when_it_is_tried(
    app: FastAPI, writer: AsyncClient, way: Way
) -> None:
    await way.prepare(writer)
    before, changed = await all_rows(app), {"If-Match": '"000000-1"'}

    assert_problem(await way.request(id=99, query=DRY).by(writer), 404)
    assert_problem(await way.request(id=0, query=DRY).by(writer), 404)
    stale = await way.request(query=DRY).by(writer, **changed)
    assert_problem(stale, 412)
    tag = stale.headers["etag"]  # of the version that is stored
    assert_tried(await way.request(query=DRY).by(writer, **{"If-Match": tag}))
    if way.media_type:
        wrong = way.request(query=DRY)._replace(content=b'{"no such": 1}')
        assert_problem(await wrong.by(writer), 422)
    assert await all_rows(app) == before
    assert (await way.request().by(writer, **{"If-Match": tag})).is_success


@each(BULK)
async def test_an_import_that_would_fail_fails_when_it_is_tried(
    app: FastAPI, writer: AsyncClient, way: Way
) -> None:
    request, before = way.request(), await all_rows(app)
    faulty = request._replace(content=request.content + b"\xff\n")

    problem = assert_problem_with_report(await dry(faulty).by(writer))
    partly = await dry(faulty, "on_error=skip").by(writer)

    assert (problem["report"]["read"], problem["report"]["refused"]) == (ROWS + 1, 1)
    assert_tried(partly)
    assert (partly.json()["stored"], partly.json()["refused"]) == (ROWS, 1)
    assert await all_rows(app) == before


def assert_problem_with_report(answer: Response) -> dict[str, Any]:
    """Assert that an answer refuses an import; return its body."""
    assert answer.status_code == 422, answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == "/problems/validation"
    return problem


async def test_what_a_rule_of_the_database_forbids_is_forbidden_when_it_is_tried(
    app: FastAPI, superuser: AsyncClient
) -> None:
    before = await all_rows(app)

    assert_problem(await superuser.delete(f"/users/{PRINCIPAL}{DRY}"), 409, "conflict")
    assert await all_rows(app) == before
    await sign_in(app, PRINCIPAL + 1)
    tried = await superuser.delete(f"/users/{PRINCIPAL}{DRY}")
    assert_tried(tried)
    assert (await superuser.get("/users/me")).json()["id"] == PRINCIPAL


@each([way for way in WAYS if way.takes_key])
async def test_what_is_tried_under_a_key_keeps_none_and_is_done_afterwards(
    app: FastAPI, writer: AsyncClient, way: Way
) -> None:
    await way.prepare(writer)
    request = way.request()

    for _ in range(2):
        assert_tried(await dry(request).by(writer, "k"))
    assert await number_of(app, "idempotency") == 0

    done = await request.by(writer, "k")
    assert_first(done)
    after = await all_rows(app)
    assert_again(await request.by(writer, "k"), done)
    assert await all_rows(app) == after


async def test_a_key_that_is_taken_does_not_matter_to_what_is_only_tried(
    client: AsyncClient,
) -> None:
    keyed = {"Idempotency-Key": "k"}
    assert_first(await client.post("/songs", json=SONG, headers=keyed))

    assert_tried(await client.post(f"/songs{DRY}", json=SONG | {"year": 1}, headers=keyed))
    wrong = {"Idempotency-Key": "no key"}
    assert_problem(await client.post(f"/songs{DRY}", json=SONG, headers=wrong), 400)


async def test_a_password_that_is_tried_is_not_changed(
    app: FastAPI, superuser: AsyncClient
) -> None:
    await add_user(superuser, "ada")
    ada = await signed_in(app, "ada")
    change = {"password": f"{PASSWORD}2", "current_password": PASSWORD}

    assert_tried(await ada.patch(f"/users/me{DRY}", json=change))
    wrong = {**change, "current_password": f"{PASSWORD}3"}
    assert_problem(await ada.patch(f"/users/me{DRY}", json=wrong), 422, "validation")

    assert (await ada.get("/users/me")).status_code == 200
    assert (await log_in(superuser, "ada", f"{PASSWORD}2")).status_code == 401
    assert (await log_in(superuser, "ada")).status_code == 200


async def test_who_may_not_write_may_not_try_either(app: FastAPI, client: AsyncClient) -> None:
    user = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}
    assert_problem(await client.post(f"/users{DRY}", json=user), 401)
    client.headers["Authorization"] = await sign_in(app, is_superuser=False)
    assert_problem(await client.post(f"/users{DRY}", json=user), 403)
    assert await number_of(app, "users") == 1


async def test_writes_that_were_tried_hold_no_connection(app: FastAPI, client: AsyncClient) -> None:
    database = app.state.service.database
    for query in (DRY, f"{DRY}&x=1"):
        await client.post(f"/songs{query}", json=SONG)
        await client.patch(f"/songs/1{query}", json=SONG)
    csv = {"Content-Type": CSV}
    await client.post(f"/songs{DRY}", content="name,artist\na,b\n", headers=csv)
    await client.post(f"/songs{DRY}", content="name\na\n", headers=csv)

    assert database.engine.sync_engine.pool.checkedout() == 0
    async with database.engine.connect() as connection:
        idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"
        own = f"{idle} AND datname = current_database() AND pid <> pg_backend_pid()"
        assert await connection.scalar(text(own)) == 0
