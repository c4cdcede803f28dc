"""Writes that are only tried, where a value is taken, and where FastAPI solves the handler."""

import json
from typing import Any

from fastapi import FastAPI
from httpx import AsyncClient, Response

from songbook.http.media_types import CSV, NDJSON
from tests.support.asserts import assert_problem
from tests.support.databases import all_rows, empty
from tests.support.replays import DRY, assert_tried


async def test_what_is_taken_is_taken_when_it_is_tried(app: FastAPI, client: AsyncClient) -> None:
    for name in "ab":
        await client.post("/towns", json={"name": name, "population": 1})
    before, body = await all_rows(app), {"name": "b", "population": 2}

    for method, path in (("POST", "/towns"), ("PUT", "/towns/1"), ("PATCH", "/towns/1")):
        answer = await client.request(method, f"{path}{DRY}", json=body)
        [error] = assert_problem(answer, 409, "conflict")["errors"]
        assert error["pointer"] == "/name"
    rows = {CSV: "name,population\nc,1\nb,1\n", NDJSON: '{"name":"b","population":1}\n'}
    for media_type, content in rows.items():
        headers = {"Content-Type": media_type}
        answer = await client.post(f"/towns{DRY}", content=content, headers=headers)
        assert answer.status_code == 409
        for on_conflict in ("skip", "update"):
            url = f"/towns{DRY}&on_conflict={on_conflict}"
            tried = await client.post(url, content=content, headers=headers)
            assert_tried(tried)
            told = tried.json()
            assert (told["stored"], told["skipped"]) == ({CSV: 1, NDJSON: 0}[media_type], 1)
    assert await all_rows(app) == before


async def test_a_handler_that_fastapi_solves_tries_as_one_that_is_called_directly(
    app: FastAPI, client: AsyncClient
) -> None:
    def overridden() -> None:
        """Do nothing: that there is an override is enough."""

    async def talk() -> list[tuple[int, Any]]:
        await client.post("/towns", json={"name": "a", "population": 1})
        body = {"name": "b", "population": 2}
        answers = [
            await client.post(f"/towns{DRY}", json=body),
            await client.post(f"/towns{DRY}", json=body | {"name": "a"}),
            await client.put(f"/towns/1{DRY}", json=body),
            await client.patch(f"/towns/1{DRY}", json=body, headers={"If-Match": '"x"'}),
            await client.patch(f"/towns/9{DRY}", json=body),
            await client.delete(f"/towns/1{DRY}"),
            await client.delete("/towns/1?dryrun=1"),
            await client.get("/towns"),
        ]
        for answer in answers[:-1]:
            if answer.is_success:
                assert_tried(answer)
        return [(answer.status_code, without_request_id(answer)) for answer in answers]

    expected = await talk()
    async with app.state.service.database.engine.connect() as connection:
        await empty(connection)
    app.dependency_overrides = {overridden: overridden}
    try:
        assert await talk() == expected
    finally:
        app.dependency_overrides = {}
    assert [status for status, _ in expected] == [200, 409, 200, 412, 404, 200, 422, 200]


def without_request_id(answer: Response) -> Any:
    """Return the body of an answer without what every problem has a new one of."""
    body = json.loads(answer.content or b"null")
    return {**body, "request_id": ""} if isinstance(body, dict) else body
