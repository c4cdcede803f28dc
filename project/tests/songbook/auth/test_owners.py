"""Owned tables: each user sees and changes their own rows, and no others."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from tests.support.asserts import assert_problem
from tests.support.clients import PRINCIPAL, client_of, sign_in

ADA, BOB = PRINCIPAL + 1, PRINCIPAL + 2


class People(NamedTuple):
    """Clients of two users, of a superuser and of nobody."""

    ada: AsyncClient
    bob: AsyncClient
    superuser: AsyncClient
    nobody: AsyncClient


@pytest.fixture
async def people(app: FastAPI, client: AsyncClient) -> AsyncIterator[People]:
    """Give clients of all who may ask."""
    async with (
        client_of(app, Authorization=await sign_in(app, ADA, is_superuser=False)) as ada,
        client_of(app, Authorization=await sign_in(app, BOB, is_superuser=False)) as bob,
        client_of(app, Authorization=await sign_in(app)) as superuser,
    ):
        yield People(ada, bob, superuser, client)


async def add_folder(client: AsyncClient, name: str = "Poems") -> str:
    """Store a folder; return its path."""
    answer = await client.post("/folders", json={"name": name})
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def test_a_row_belongs_to_who_creates_it_and_is_not_there_for_others(people: People) -> None:
    path = await add_folder(people.ada)

    assert (await people.ada.get(path)).json() == {"id": 1, "name": "Poems", "year": None}
    assert (await people.ada.get("/folders")).json() == [{"id": 1, "name": "Poems", "year": None}]
    assert (await people.bob.get("/folders")).json() == []
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        body = {"json": {"name": "Mine"}} if method in {"PUT", "PATCH"} else {}
        assert_problem(await people.bob.request(method, path, **body), 404)
        assert_problem(await people.nobody.request(method, path, **body), 401)
    assert (await people.ada.patch(path, json={"name": "Verses"})).json()["name"] == "Verses"
    assert (await people.superuser.patch(path, json={"year": 1923})).json()["name"] == "Verses"
    assert len((await people.superuser.get("/folders")).json()) == 1
    assert (await people.ada.delete(path)).status_code == 204
