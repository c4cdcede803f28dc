"""The service in this process, and its clients."""

import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import insert
from sqlalchemy.engine import URL
from sqlmodel.ext.asyncio.session import AsyncSession

from app.main import create_app
from app.resources.songs import Song, SongCreate
from app.resources.users import User
from app.settings import Settings
from songbook.auth import passwords, tokens
from songbook.auth.permissions import PUBLIC
from songbook.db.database import Database
from songbook.http.dependencies import SessionDep
from songbook.http.routing import Router
from songbook.models.tables import table_of
from tests.support.databases import empty, spelled
from tests.support.leaks import PASSWORD, assert_discreet_answer
from tests.support.resources import PRINCIPAL, Resource

if find_spec("sniffio") is None:  # httpx looks for it at each request, in every folder of sys.path
    sys.modules["sniffio"] = None  # type: ignore[assignment] # which says that there is none

HASHER = passwords.hasher
"""The service's own, before this run puts a cheaper one in its place."""


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> Iterator[None]:
    """Make passwords' hashes cheap in this process: a run makes hundreds."""
    cheap = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passwords, "hasher", PasswordHash([cheap]))
        yield


@pytest.fixture(scope="session")
async def app(database_url: URL) -> AsyncIterator[FastAPI]:
    """Give the running service on this worker's database."""
    app = create_app(Settings(database_url=spelled(database_url)))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def client(app: FastAPI, request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    """Give a client of the service, whose tables are empty.

    In a test of each resource it sends the token of a superuser where the resource asks for one.
    """
    async with app.state.database.engine.connect() as connection:
        await empty(connection)
    client = client_of(app)
    if "resource" in request.fixturenames:
        tested = request.getfixturevalue("resource")
        if isinstance(tested, Resource) and tested.is_protected:
            client.headers["Authorization"] = await sign_in(app)
    async with client:
        yield client


@pytest.fixture
async def superuser(
    app: FastAPI,
    client: AsyncClient,  # noqa: ARG001 - it empties the tables
) -> AsyncIterator[AsyncClient]:
    """Give a client that sends the token of a superuser, the only one."""
    async with client_of(app, Authorization=await sign_in(app)) as superuser:
        yield superuser


@pytest.fixture
async def session(
    app: FastAPI,
    client: AsyncClient,  # noqa: ARG001 - it empties the tables
) -> AsyncIterator[AsyncSession]:
    """Give a database session beside the service's own."""
    async with app.state.database.session() as session:
        yield session


def client_of(app: FastAPI, address: str = "127.0.0.1", **headers: str) -> AsyncClient:
    """Return a client at an address, whose answers are looked through for secrets."""
    return AsyncClient(
        transport=ASGITransport(app, client=(address, 123)),
        base_url="http://songbook",
        headers=headers,
        event_hooks={"response": [assert_discreet_answer]},
    )


async def add_user(superuser: AsyncClient, name: str, **given: Any) -> Response:
    """Store a user of this name, whose password is the one that all have; return the answer."""
    user = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    answer = await superuser.post("/users", json=user | given)
    assert answer.status_code == 201, answer.text
    return answer


async def log_in(client: AsyncClient, name: str, password: str = PASSWORD) -> Response:
    """Ask for a token."""
    return await client.post("/api/auth/token", data={"username": name, "password": password})


async def signed_in(app: FastAPI, name: str, password: str = PASSWORD) -> AsyncClient:
    """Return a client that sends the token of whoever has this name and this password."""
    client = client_of(app)
    answer = await log_in(client, name, password)
    assert answer.status_code == 200, answer.text
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return client


async def sign_in(app: FastAPI, id: int = PRINCIPAL, *, is_superuser: bool = True) -> str:
    """Store a user; return the Authorization header that says that he sends a request."""
    email = f"user{id}@example.org"
    user = {"id": id, "email": email, "username": f"user{id}", "slug": f"user{id}"}
    values = {**user, "hashed_password": "none", "is_superuser": is_superuser}
    async with app.state.database.engine.begin() as connection:
        await connection.execute(insert(table_of(User)).values(values))
    secret = app.state.settings.token_secret
    return f"Bearer {tokens.issue(secret, email, time.time(), minutes=5)}"


@asynccontextmanager
async def service_on(url: URL, **settings: Any) -> AsyncIterator[tuple[AsyncClient, Database]]:
    """Give a client of a service on a database, and the service's means to reach it."""
    app = create_app(Settings(database_url=spelled(url), **settings))
    app.router.routes.extend(by_session().routes)
    transport = ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=transport, base_url="http://songbook") as client,
    ):
        yield client, app.state.database


def by_session() -> Router:
    """Return a router whose handler works with a session."""
    router = Router(dependencies=[PUBLIC])

    @router.post("/by-session")
    async def store(body: SongCreate, session: SessionDep) -> int:
        """Store a song."""
        session.add(Song.model_validate(body))
        await session.commit()
        return 1

    return router


def lines_of(name: str, *values: str) -> list[tuple[bytes, bytes]]:
    """Return the lines of a header, in the encoding that HTTP has for them."""
    return [(name.encode(), value.encode("latin-1")) for value in values]
