"""Two users, a superuser and nobody, who ask for the rows of owned tables."""

from typing import Any, NamedTuple

from fastapi import FastAPI
from httpx import AsyncClient

from tests.support.clients import PRINCIPAL, client_of, sign_in

ADA, BOB = PRINCIPAL + 1, PRINCIPAL + 2


class People(NamedTuple):
    """Clients of two users, of a superuser and of nobody."""

    ada: AsyncClient
    bob: AsyncClient
    superuser: AsyncClient
    nobody: AsyncClient


async def people_of(app: FastAPI) -> People:
    """Store two users and a superuser; return clients of all who may ask."""
    return People(
        ada=client_of(app, Authorization=await sign_in(app, ADA, is_superuser=False)),
        bob=client_of(app, Authorization=await sign_in(app, BOB, is_superuser=False)),
        superuser=client_of(app, Authorization=await sign_in(app)),
        nobody=client_of(app),
    )


async def add(client: AsyncClient, path: str = "/folders", **fields: Any) -> str:
    """Store a record; return its path."""
    answer = await client.post(path, json=fields)
    assert answer.status_code == 201, answer.text
    location: str = answer.headers["location"]
    return location


async def names_of(client: AsyncClient, **parameters: Any) -> list[str]:
    """Return the names of the folders that a client is shown, by name."""
    answer = await client.get("/folders", params={"sort": "name", **parameters})
    assert answer.status_code == 200, answer.text
    return [row["name"] for row in answer.json()]
