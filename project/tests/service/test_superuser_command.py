"""`python -m app create-superuser`: a superuser, whose password comes by standard input."""

import asyncio
import io
from collections.abc import Callable

import pytest
from httpx import AsyncClient
from sqlalchemy.engine import URL

from tests.support.asserts import assert_problem
from tests.support.clients import log_in
from tests.support.databases import execute, spelled
from tests.support.leaks import PASSWORD
from tests.support.processes import Outcome

Create = Callable[..., Outcome]


@pytest.fixture
def create(
    command: Callable[..., Outcome], database_url: URL, monkeypatch: pytest.MonkeyPatch
) -> Create:
    """Give the command that makes a superuser, with a password on standard input."""

    def run(*arguments: str, password: str = PASSWORD, url: URL = database_url) -> Outcome:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        return command("create-superuser", *arguments, DATABASE_URL=spelled(url))

    return run


async def test_a_superuser_is_made_on_the_command_line_and_signs_in(
    client: AsyncClient, create: Create
) -> None:
    made = await asyncio.to_thread(create, "ada", "ada@example.org", "--first-name", "Ada")
    token = (await log_in(client, "ada")).json()["access_token"]
    me = await client.get("/users/me", headers={"Authorization": f"Bearer {token}"})

    assert made == (0, "Created the superuser ada, who can sign in at /api/auth/token.\n", [])
    assert me.json() == {
        "id": 1,
        "username": "ada",
        "slug": "ada",
        "email": "ada@example.org",
        "first_name": "Ada",
        "last_name": None,
        "is_superuser": True,
    }


async def test_a_name_that_is_taken_is_named(client: AsyncClient, create: Create) -> None:
    assert (await asyncio.to_thread(create, "ada", "ada@example.org")).code == 0

    again = await asyncio.to_thread(create, "ADA", "another@example.org")

    assert again.told == ["songbook: the username is already taken: choose another."]
    assert_problem(await log_in(client, "another@example.org"), 401)


async def test_what_does_not_fit_is_named_in_one_line_and_nothing_is_stored(
    client: AsyncClient, create: Create, database_url: URL
) -> None:
    assert client
    refused = await asyncio.to_thread(create, "a b", "ada", password="short")

    [told] = refused.told
    assert refused.code == 1
    assert told.startswith("songbook: the user is invalid: username: ")
    assert "email: String should be like ada@example.org" in told
    assert "password: " in told
    assert "short" not in told.replace("too short", "")
    assert execute(database_url, "SELECT count(*) FROM users") == [(0,)]


def test_without_its_table_a_superuser_is_told_to_migrate_first(
    create: Create, scratch_url: URL
) -> None:
    refused = create("ada", "ada@example.org", url=scratch_url)

    assert refused.told == ["songbook: a table does not exist: run the command migrate."]


def test_users_are_not_imported_because_a_file_has_no_hashes(
    command: Callable[..., Outcome], database_url: URL
) -> None:
    refused = command("import", "users", "users.csv", DATABASE_URL=spelled(database_url))

    [told] = refused.told
    assert told.startswith("songbook: users cannot be imported, because the table has no col")
