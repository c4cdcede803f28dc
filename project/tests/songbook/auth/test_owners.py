"""Owned tables: each user sees and changes their own rows, and no others."""

import asyncio
import json
import random
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.engine import URL

from songbook.lists import estimates
from tests.samples.main import create_app
from tests.samples.settings import Settings
from tests.support.asserts import assert_problem
from tests.support.databases import execute, spelled
from tests.support.owners import ADA, BOB, People, add, names_of, people_of

CSV, NDJSON = {"Accept": "text/csv"}, {"Accept": "application/x-ndjson"}


@pytest.fixture
async def people(app: FastAPI, empty_tables: None) -> People:  # noqa: ARG001
    """Give clients of all who may ask; the tables are empty."""
    return await people_of(app)


async def test_a_row_belongs_to_who_creates_it_and_is_not_there_for_others(people: People) -> None:
    path = await add(people.ada, name="Poems")
    stored = {"id": 1, "name": "Poems", "year": None}

    assert (await people.ada.get(path)).json() == stored
    assert (await people.ada.get("/folders")).json() == [stored]
    assert (await people.bob.get("/folders")).json() == []
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        body = {"name": "Mine"} if method in {"PUT", "PATCH"} else None
        assert_problem(await people.bob.request(method, path, json=body), 404)
        assert_problem(await people.nobody.request(method, path, json=body), 401)
    changed = await people.ada.patch(path, json={"name": "Verses"})
    assert changed.json() == {**stored, "name": "Verses"}
    assert (await people.ada.delete(path)).status_code == 204


async def test_the_owner_is_neither_taken_nor_shown(people: People) -> None:
    given = {"name": "Poems", "owner_id": BOB}

    assert_problem(await people.ada.post("/folders", json=given), 422)
    path = await add(people.ada, name="Poems")
    assert_problem(await people.ada.patch(path, json={"owner_id": BOB}), 422)
    assert_problem(await people.ada.get("/folders", params={"owner_id": BOB}), 422)
    assert_problem(await people.ada.get("/folders", params={"sort": "owner_id"}), 422)
    assert "owner" not in (await people.ada.get("/folders", headers=CSV)).text


async def test_a_superuser_sees_and_changes_the_rows_of_all(people: People) -> None:
    path = await add(people.ada, name="Poems")
    await add(people.bob, name="Plays")
    await add(people.superuser, name="Own")

    assert await names_of(people.superuser) == ["Own", "Plays", "Poems"]
    changed = await people.superuser.patch(path, json={"year": 1923})
    assert changed.json() == {"id": 1, "name": "Poems", "year": 1923}
    assert await names_of(people.ada) == ["Poems"]
    assert (await people.superuser.delete(path)).status_code == 204
    assert await names_of(people.ada) == []


async def test_lists_counts_searches_and_exports_have_the_rows_of_one_owner(
    people: People,
) -> None:
    for name in ("Poems", "Plays of 1600"):
        await add(people.ada, name=name, year=1600)
        await add(people.bob, name=name.upper(), year=1600)

    counted = await people.ada.get("/folders", params={"count": "exact", "limit": 1})
    assert counted.headers["x-total-count"] == "2"
    assert await names_of(people.ada, q="poems") == ["Poems"]
    assert await names_of(people.ada, year=1600) == ["Plays of 1600", "Poems"]
    assert await names_of(people.ada, name_contains="POEMS") == ["Poems"]
    for accept in (CSV, NDJSON):
        exported = await people.ada.get("/folders", headers=accept)
        assert "Poems" in exported.text
        assert "POEMS" not in exported.text
        assert len((await people.superuser.get("/folders", headers=accept)).text.split()) > len(
            exported.text.split()
        )
        assert_problem(await people.nobody.get("/folders", headers=accept), 401)


async def test_what_others_own_is_in_no_estimate(
    people: People, monkeypatch: pytest.MonkeyPatch, database_url: URL
) -> None:
    monkeypatch.setattr(estimates, "MAX_COST", -1)
    for number in range(9):
        await add(people.bob, name=f"Plays {number}", year=1600)
    await add(people.ada, name="Poems")
    execute(database_url, "ANALYZE folder")

    for query, count in (("", "1"), ("year=1600", "0"), ("name_starts=P", "1")):
        counted = await people.ada.get(f"/folders?count=estimated&{query}")
        assert counted.headers["x-total-count"] == count
        assert "x-total-count-estimated" not in counted.headers


async def test_the_cursor_of_another_list_leads_to_own_rows(people: People) -> None:
    for number in range(4):
        await add(people.ada, name=f"a{number}")
        await add(people.bob, name=f"b{number}")

    first = await people.ada.get("/folders", params={"limit": 2})
    following = first.links["next"]["url"]

    assert [row["name"] for row in (await people.ada.get(following)).json()] == ["a2", "a3"]
    assert [row["name"] for row in (await people.bob.get(following)).json()] == ["b1", "b2"]
    assert_problem(await people.nobody.get(following), 401)


async def test_unique_values_are_unique_among_the_rows_of_an_owner(people: People) -> None:
    await add(people.ada, name="Poems")
    path = await add(people.bob, name="Poems")

    problem = assert_problem(await people.ada.post("/folders", json={"name": "Poems"}), 409)
    assert [error["pointer"] for error in problem["errors"]] == ["/name"]
    other = await add(people.bob, name="Plays")
    assert_problem(await people.bob.patch(other, json={"name": "Poems"}), 409)
    assert (await people.bob.patch(path, json={"name": "Verses"})).status_code == 200


async def test_an_import_belongs_to_its_sender_and_conflicts_with_own_rows_alone(
    people: People,
) -> None:
    await add(people.bob, name="Poems", year=1)
    await add(people.ada, name="Poems", year=1)
    sent: dict[str, Any] = {
        "content": "name,year\nPoems,2\nPlays,2\n",
        "headers": {"Content-Type": "text/csv"},
    }

    assert_problem(await people.ada.post("/folders", **sent), 409)
    skipping = await people.ada.post("/folders?on_conflict=skip", **sent)
    assert (skipping.json()["stored"], skipping.json()["skipped"]) == (1, 1)
    updating = await people.ada.post("/folders?on_conflict=update", **sent)
    assert updating.json()["stored"] == 1
    assert [row["year"] for row in (await people.ada.get("/folders")).json()] == [2, 2]
    assert [row["year"] for row in (await people.bob.get("/folders")).json()] == [1]
    assert_problem(await people.nobody.post("/folders", **sent), 401)


async def test_the_row_of_another_owner_is_no_parent(people: People) -> None:
    await add(people.ada, name="Ada's")
    await add(people.bob, name="Bob's")
    clipping = await add(people.ada, "/clippings", text="a", folder_id=1)

    for request in (
        people.ada.post("/clippings", json={"text": "a", "folder_id": 2}),
        people.ada.patch(clipping, json={"folder_id": 2}),
        people.ada.put(clipping, json={"text": "a", "folder_id": 2}),
    ):
        problem = assert_problem(await request, 409)
        assert [error["pointer"] for error in problem["errors"]] == ["/folder_id"]
    rows = "".join(f'{{"text":"b","folder_id":{id_}}}\n' for id_ in ("1", "2", "null"))
    sent: dict[str, Any] = {
        "content": rows,
        "headers": {"Content-Type": "application/x-ndjson"},
    }
    problem = assert_problem(await people.ada.post("/clippings", **sent), 409)
    assert problem["detail"].startswith("Line 2: ")
    skipping = await people.ada.post("/clippings?on_error=skip", **sent)
    assert (skipping.json()["stored"], skipping.json()["refused"]) == (2, 1)
    assert (await people.ada.patch(clipping, json={"folder_id": None})).json()["folder_id"] is None
    assert (await people.superuser.patch(clipping, json={"folder_id": 2})).status_code == 200


async def test_related_rows_of_another_owner_are_not_shown_and_match_no_filter(
    people: People,
) -> None:
    await add(people.ada, name="Ada's")
    await add(people.bob, name="Bob's")
    clipping = await add(people.ada, "/clippings", text="a", folder_id=1)
    await people.superuser.patch(clipping, json={"folder_id": 2})

    shown = (await people.ada.get(clipping, params={"expand": "folder"})).json()
    assert shown == {"id": 1, "text": "a", "folder_id": 2, "folder": None}
    shown = (await people.superuser.get(clipping, params={"expand": "folder"})).json()
    assert shown["folder"]["name"] == "Bob's"
    listed = await people.ada.get("/clippings", params={"folder.name": "Bob's"})
    assert listed.json() == []
    expanded = await people.bob.get("/folders", params={"expand": "clippings"})
    assert [row["clippings"] for row in expanded.json()] == [[]]


async def test_a_deleted_row_is_restored_by_its_owner_alone(people: People) -> None:
    path = await add(people.ada, "/clippings", text="a")
    await people.ada.delete(path)

    assert_problem(await people.bob.post(f"{path}/restore"), 404)
    assert (await people.ada.post(f"{path}/restore")).json()["text"] == "a"


async def test_no_shared_cache_may_store_an_owned_response(people: People) -> None:
    path = await add(people.ada, name="Poems")

    for answer in (await people.ada.get(path), await people.ada.get("/folders", headers=CSV)):
        assert answer.headers["cache-control"] == "private, no-cache"
    assert (await people.ada.get("/books")).headers["cache-control"] == "no-cache"


async def test_the_rows_of_a_user_go_with_the_user(app: FastAPI, people: People) -> None:
    await add(people.ada, name="Poems")
    await add(people.bob, name="Plays")
    await people.ada.delete(await add(people.ada, "/clippings", text="a"))

    async with app.state.service.database.engine.begin() as connection:
        await connection.execute(text(f"DELETE FROM members WHERE id = {ADA}"))

    assert await names_of(people.superuser) == ["Plays"]


async def test_a_key_of_one_user_is_not_that_of_another(people: People) -> None:
    key = {"Idempotency-Key": "1"}

    for client in (people.ada, people.bob):
        answer = await client.post("/folders", json={"name": "Poems"}, headers=key)
        assert answer.status_code == 201
        assert "idempotency-replayed" not in answer.headers
    again = await people.bob.post("/folders", json={"name": "Poems"}, headers=key)
    assert again.headers["idempotency-replayed"] == "true"
    assert (await people.bob.get(again.headers["location"])).status_code == 200


class Race:
    """The requests of one user, whose rows have names that begin with the name of the user."""

    def __init__(self, name: str, client: AsyncClient) -> None:
        self.name, self.client = name, client
        self.paths: list[str] = []
        self.seen = 0

    async def prepare(self) -> None:
        """Store some rows."""
        self.paths = [await add(self.client, name=f"{self.name} {n}", year=1) for n in range(5)]

    async def request(self, nth: int, others: list[str], chance: random.Random) -> None:
        """Send a request; assert that the response is of this user."""
        match chance.randrange(8):
            case 0:
                self.check(await self.client.post("/folders", json={"name": f"{self.name}+{nth}"}))
            case 1:
                body = {"name": f"{self.name}-{nth}"}
                self.check(await self.client.patch(chance.choice(self.paths), json=body))
            case 2:
                self.check(await self.client.get(chance.choice(self.paths)))
            case 3:
                answer = await self.client.get(chance.choice(others))
                assert answer.status_code == 404, answer.text
            case 4:
                answer = await self.client.patch(chance.choice(others), json={"year": 2})
                assert answer.status_code == 404, answer.text
            case 5:
                self.check(await self.client.get("/folders", headers=NDJSON))
            case _:
                self.check(await self.client.get("/folders", params={"year": 1, "sort": "name"}))

    def check(self, answer: Response) -> None:
        """Assert that all rows of a response are of this user."""
        assert answer.status_code in {200, 201}, answer.text
        is_lines = answer.headers["content-type"] == "application/x-ndjson"
        rows = list(map(json.loads, answer.text.splitlines())) if is_lines else answer.json()
        for row in rows if isinstance(rows, list) else [rows]:
            assert row["name"].startswith(self.name), row
            self.seen += 1


async def test_two_users_in_a_race_see_and_change_their_own_rows_only(
    empty_tables: None,  # noqa: ARG001
    database_url: URL,
) -> None:
    chance = random.Random(1)
    own = create_app(Settings(database_url=spelled(database_url), bulk_at_once=8, pool_timeout=60))
    async with own.router.lifespan_context(own):
        ada, bob, *_ = await people_of(own)
        racers = [Race("Ada", ada), Race("Bob", bob)]
        for each in racers:
            await each.prepare()
        pairs = [(racers[n % 2], racers[1 - n % 2]) for n in range(600)]
        async with asyncio.TaskGroup() as together:
            for n, (each, other) in enumerate(pairs):
                together.create_task(each.request(n, other.paths, chance))

    assert all(each.seen > 1000 for each in racers)
