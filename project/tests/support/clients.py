"""The service in this process, and its clients."""

import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response, create_ssl_context
from httpx._transports import default
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Table, insert
from sqlmodel.ext.asyncio.session import AsyncSession

from songbook.auth import passwords, tokens
from tests.support.leaks import PASSWORD, assert_discreet_answer

if find_spec("sniffio") is None:  # httpx looks for it at each request, in every folder of sys.path
    sys.modules["sniffio"] = None  # type: ignore[assignment] # which says that there is none

# Each `httpx.get` reads all certificates, for 25 ms, also for an address that begins with `http:`.
default.create_ssl_context = cache(create_ssl_context)  # type: ignore[attr-defined]

PRINCIPAL = 10**12
"""The id of the superuser who asks for what not everyone is told."""

ENTITLED: dict[str, Any] = {}
"""The columns of an account whom the service's own rules allow, such as `{"role": "editor"}`."""

HASHER = passwords.hasher
"""The service's own, before this run puts a cheaper one in its place."""


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> Iterator[None]:
    """Make passwords' hashes cheap in this process: a run makes hundreds."""
    cheap = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passwords, "hasher", PasswordHash([cheap]))
        yield


@pytest.fixture
async def client(
    app: FastAPI,
    request: pytest.FixtureRequest,
    empty_tables: None,  # noqa: ARG001
) -> AsyncIterator[AsyncClient]:
    """Give a client of the service, whose tables are empty.

    In a test of each resource it sends the token of a superuser whom all rules allow, where the
    resource asks for one.
    """
    client = client_of(app)
    if "resource" in request.fixturenames:
        tested = request.getfixturevalue("resource")
        if getattr(tested, "is_protected", False):
            client.headers["Authorization"] = await sign_in_entitled(app)
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
    async with AsyncSession(app.state.service.database.engine, expire_on_commit=False) as session:
        yield session


def client_of(app: FastAPI, address: str = "127.0.0.1", **headers: str) -> AsyncClient:
    """Return a client at an address, whose answers are looked through for secrets."""
    return AsyncClient(
        transport=ASGITransport(app, client=(address, 123)),
        base_url="http://songbook",
        headers=headers,
        event_hooks={"response": [assert_discreet_answer]},
    )


async def add_user(
    superuser: AsyncClient, name: str, path: str = "/users", **given: Any
) -> Response:
    """Store a user of this name, whose password is the one that all have; return the answer."""
    user = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    answer = await superuser.post(path, json=user | given)
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


async def sign_in(
    app: FastAPI,
    id: int = PRINCIPAL,
    *,
    is_superuser: bool = True,
    permissions: Sequence[str] = (),
    **columns: Any,
) -> str:
    """Store a user; return the Authorization header that says that he sends a request."""
    email, name = f"user{id}@example.org", f"user{id}"
    values = {"id": id, "email": email, "hashed_password": "none", "is_superuser": is_superuser}
    values |= columns
    table: Table = app.state.service.accounts.__table__
    if "permissions" in table.c:
        values["permissions"] = [*permissions]
    for column in table.c:  # what else an account has to have is a name
        if not column.nullable and column.server_default is None:
            values.setdefault(column.name, name)
    async with app.state.service.database.engine.begin() as connection:
        await connection.execute(insert(table).values(values))
    secret = app.state.service.settings.token_secret
    return f"Bearer {tokens.encode(secret, email, time.time(), 60, permissions)}"


async def sign_in_entitled(app: FastAPI, id: int = PRINCIPAL, *, is_superuser: bool = True) -> str:
    """Store a user whom the service's own rules allow; return the header of a token for all."""
    flow = app.openapi()["components"]["securitySchemes"]["password"]["flows"]["password"]
    permissions = [*flow["scopes"]]
    return await sign_in(app, id, is_superuser=is_superuser, permissions=permissions, **ENTITLED)


def lines_of(name: str, *values: str) -> list[tuple[bytes, bytes]]:
    """Return the lines of a header, in the encoding that HTTP has for them."""
    return [(name.encode(), value.encode("latin-1")) for value in values]
