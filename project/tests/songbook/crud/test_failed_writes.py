"""A write of what is taken changes nothing and keeps no key; and what is deleted takes nothing."""

from fastapi import FastAPI
from httpx import AsyncClient

from songbook.http.media_types import CSV
from tests.support.asserts import assert_problem
from tests.support.databases import all_rows
from tests.support.replays import assert_first

KEY = {"Idempotency-Key": "k"}


async def test_a_conflict_changes_nothing_and_may_be_mended_under_its_key(
    app: FastAPI, client: AsyncClient
) -> None:
    for name in "ab":
        await client.post("/towns", json={"name": name, "population": 1})
    before, taken = await all_rows(app), {"name": "b", "population": 2}

    for method, path in (("POST", "/towns"), ("PATCH", "/towns/1"), ("PUT", "/towns/1")):
        answer = await client.request(method, path, json=taken, headers=KEY)
        assert_problem(answer, 409, "conflict")
        assert await all_rows(app) == before
    headers = {**KEY, "Content-Type": CSV}
    for rows in ("c,1\nb,1\n", "c,1\nd,1\nc,2\n"):
        answer = await client.post("/towns", content=f"name,population\n{rows}", headers=headers)
        assert answer.status_code == 409
        assert await all_rows(app) == before

    assert_first(await client.post("/towns", json=taken | {"name": "c"}, headers=KEY))


async def test_a_unique_value_of_what_is_deleted_is_free_again(client: AsyncClient) -> None:
    town = {"name": "Reykjavík", "population": 1}
    for nth in range(3):
        created = await client.post("/towns", json=town, headers={"Idempotency-Key": f"{nth}"})
        assert_first(created)
        assert (await client.delete(created.headers["location"])).status_code == 204
