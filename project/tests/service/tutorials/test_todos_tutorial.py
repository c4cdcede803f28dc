"""The todos tutorial: five operations, deletions that leave the row, settings and migrations."""

import logging
from collections.abc import Callable
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from alembic.config import CommandLine, Config
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlmodel.ext.asyncio.session import AsyncSession

from app.main import create_app
from app.settings import Settings
from tests.support.asserts import assert_problem
from tests.support.databases import execute, spelled
from tests.support.paths import PROJECT
from tests.support.processes import Outcome

pytest.importorskip("app.resources.todos", reason="there are no todos in this service")

SUMMARIES = {
    ("/todos", "post"): "Create a new todo",
    ("/todos/{id}", "get"): "Retrieve a todo",
    ("/todos", "get"): "List all todos",
    ("/todos/{id}", "put"): "Update a todo",
    ("/todos/{id}", "delete"): "Delete a todo",
}
at_both_addresses = pytest.mark.parametrize("todos", ["/todos", "/api/v1/todo"])


def moment(todo: dict[str, Any], name: str) -> datetime:
    told = datetime.fromisoformat(todo[name])
    assert told.utcoffset() is not None
    return told


@at_both_addresses
async def test_a_todo_is_created_with_two_equal_times(client: AsyncClient, todos: str) -> None:
    created = await client.post(todos, json={"content": "Buy milk"})

    todo = created.json()
    assert list(todo) == ["id", "content", "created_at", "updated_at"]
    assert (todo["id"], todo["content"]) == (1, "Buy milk")
    assert moment(todo, "created_at") == moment(todo, "updated_at")
    assert created.headers["location"] == f"{todos}/1"


@at_both_addresses
async def test_a_todo_is_retrieved_and_one_that_is_absent_is_not_found(
    client: AsyncClient, todos: str
) -> None:
    created = await client.post(todos, json={"content": "Buy milk"})

    read = await client.get(f"{todos}/1")
    absent = await client.get(f"{todos}/2")

    assert (read.status_code, read.json()) == (200, created.json())
    assert assert_problem(absent, 404)["detail"] == "Todo not found"


@at_both_addresses
async def test_the_todos_are_listed_with_their_count_the_newest_first(
    client: AsyncClient, todos: str
) -> None:
    empty = await client.get(todos)
    added = [(await client.post(todos, json={"content": f"No {n}"})).json() for n in range(3)]
    await client.delete(f"{todos}/2")

    listed = await client.get(todos)
    first = await client.get(f"{todos}?limit=1")
    second = await client.get(first.links["next"]["url"])

    assert empty.json() == {"count": 0, "items": []}
    assert list(listed.json()) == ["count", "items"]
    assert listed.json() == {"count": 2, "items": [added[2], added[0]]}
    assert first.json() == {"count": 2, "items": [added[2]]}
    assert second.json() == {"count": 2, "items": [added[0]]}
    assert first.links["next"]["url"].startswith(f"{todos}?limit=1&after=")


async def test_todos_of_one_moment_are_listed_by_descending_id(
    client: AsyncClient, session: AsyncSession
) -> None:
    connection = await session.connection()
    for content in ("a", "b", "c"):  # in one transaction, which has one time
        values = {"content": content}
        await connection.execute(text("INSERT INTO todo (content) VALUES (:content)"), values)
    await session.commit()

    listed = (await client.get("/todos")).json()["items"]

    assert [todo["content"] for todo in listed] == ["c", "b", "a"]
    assert len({todo["created_at"] for todo in listed}) == 1


@at_both_addresses
async def test_a_todo_is_updated_and_only_the_time_of_that_moves(
    client: AsyncClient, todos: str
) -> None:
    before = (await client.post(todos, json={"content": "Buy milk"})).json()

    updated = await client.put(f"{todos}/1", json={"content": "Buy bread"})
    absent = await client.put(f"{todos}/2", json={"content": "Buy bread"})

    after = updated.json()
    assert updated.status_code == 200
    assert moment(after, "updated_at") > moment(before, "updated_at")
    assert after == before | {"content": "Buy bread", "updated_at": after["updated_at"]}
    assert assert_problem(absent, 404)["detail"] == "Todo not found"


@at_both_addresses
async def test_a_deleted_todo_is_gone_for_clients_and_stays_in_its_row(
    client: AsyncClient, session: AsyncSession, todos: str
) -> None:
    await client.post(todos, json={"content": "Buy milk"})

    deleted = await client.delete(f"{todos}/1")

    assert (deleted.status_code, deleted.content) == (204, b"")
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = await client.request(method, f"{todos}/1", json={"content": "Buy bread"})
        assert assert_problem(answer, 404)["detail"] == "Todo not found"
    assert (await client.get(todos)).json() == {"count": 0, "items": []}
    stored = await (await session.connection()).execute(
        text("SELECT content, deleted_at IS NOT NULL FROM todo")
    )
    assert [tuple(row) for row in stored] == [("Buy milk", True)]


@at_both_addresses
async def test_a_deleted_todo_can_be_restored(client: AsyncClient, todos: str) -> None:
    created = await client.post(todos, json={"content": "Buy milk"})
    await client.delete(f"{todos}/1")

    restored = await client.post(f"{todos}/1/restore")

    assert (restored.status_code, restored.json()["content"]) == (200, "Buy milk")
    read = await client.get(f"{todos}/1")
    assert read.json() == restored.json()
    assert read.json()["created_at"] == created.json()["created_at"]


async def test_a_todo_of_one_address_is_at_the_other(client: AsyncClient) -> None:
    created = await client.post("/api/v1/todo", json={"content": "Buy milk"})

    read = await client.get("/todos/1")

    assert (read.json(), read.headers["etag"]) == (created.json(), created.headers["etag"])
    assert (await client.get("/todos")).json() == (await client.get("/api/v1/todo")).json()


@at_both_addresses
@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": None}, {"text": "Buy milk"}])
async def test_a_todo_has_a_content(client: AsyncClient, todos: str, body: dict[str, Any]) -> None:
    assert_problem(await client.post(todos, json=body), 422, "validation")


async def test_the_operations_are_called_as_in_the_tutorial(app: FastAPI) -> None:
    paths = app.openapi()["paths"]

    told = {(path, method): paths[path][method]["summary"] for path, method in SUMMARIES}
    assert told == SUMMARIES


def test_the_table_is_the_tutorial_s(migrated_url: URL) -> None:
    columns = execute(
        migrated_url,
        "SELECT column_name::text, data_type::text, is_nullable::text"
        " FROM information_schema.columns WHERE table_name = 'todo' AND column_name <> 'version'",
    )
    [(key,)] = execute(
        migrated_url,
        "SELECT conname::text FROM pg_constraint"
        " WHERE conrelid = 'todo'::regclass AND contype = 'p'",
    )

    assert set(columns) == {
        ("id", "bigint", "NO"),
        ("content", "character varying", "NO"),
        ("created_at", "timestamp with time zone", "NO"),
        ("updated_at", "timestamp with time zone", "NO"),
        ("deleted_at", "timestamp with time zone", "YES"),
    }
    assert key == "pk_todo"


@pytest.mark.long
def test_alembic_s_commands_need_no_option_in_project(
    scratch_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", spelled(scratch_url))
    monkeypatch.chdir(PROJECT)

    def typed(line: str) -> str:
        output, alembic = StringIO(), CommandLine()
        options = alembic.parser.parse_args(line.split())
        alembic.run_cmd(Config("alembic.ini", stdout=output, cmd_opts=options), options)
        return output.getvalue()

    typed("upgrade head")
    [newest, *_] = history = [line.split()[2].strip(",") for line in typed("history").splitlines()]
    assert typed("current") == f"{newest} (head)\n"
    typed("downgrade -1")
    assert typed("current") == f"{history[1]}\n"
    typed(f"downgrade {history[-1]}")
    assert typed("current") == f"{history[-1]}\n"
    typed("upgrade +1")
    assert typed("current") == f"{history[-2]}\n"


def give_parts(monkeypatch: pytest.MonkeyPatch, url: URL) -> None:
    """Tell where the database is as the tutorial does."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("PG_HOST", str(url.query.get("host") or url.host))
    monkeypatch.setenv("PG_PORT", str(url.query.get("port") or url.port or 5432))
    monkeypatch.setenv("PG_USER", str(url.username))
    monkeypatch.setenv("PG_PASSWORD", str(url.password))
    monkeypatch.setenv("PG_DB", str(url.database))


async def test_the_database_may_be_given_in_parts_with_any_password(
    guarded_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_parts(monkeypatch, guarded_url)

    app = create_app()
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://songbook") as client,
    ):
        created = await client.post("/api/v1/todo", json={"content": "Buy milk"})
        read = await client.get("/api/v1/todo/1")

    assert (read.status_code, read.json()) == (200, created.json())


def test_the_migrations_find_the_database_in_parts_too(
    guarded_url: URL, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    give_parts(monkeypatch, guarded_url)
    execute(guarded_url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")

    assert command("migrate").code == 0
    assert execute(guarded_url, "SELECT count(*) FROM todo") == [(0,)]


@pytest.mark.parametrize("echo", ["true", "false"])
async def test_statements_are_logged_when_the_tutorial_s_setting_asks_for_it(
    database_url: URL,
    client: AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    echo: str,
) -> None:
    await client.post("/todos", json={"content": "a-canary"})
    monkeypatch.setenv("SQLALCHEMY_ECHO", echo)
    monkeypatch.setenv("DATABASE_URL", spelled(database_url))
    app = create_app()
    caplog.set_level(logging.INFO, "sqlalchemy.engine.Engine")
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://songbook") as other,
    ):
        await other.get("/todos?content=a-canary")

    told = [message for message in caplog.messages if "FROM todo" in message]
    assert bool(told) is (echo == "true")
    assert "a-canary" not in caplog.text  # statements, not what was bound to them


def test_a_file_of_settings_is_read_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for name in ("HOST", "PORT", "USER", "PASSWORD", "DB"):
        monkeypatch.delenv(f"PG_{name}", raising=False)
    file = tmp_path / "env"
    file.write_text("PG_HOST=db\nPG_USER=me\nPG_PASSWORD='p%@ #'\nPG_DB=todos\n")
    monkeypatch.setenv("ENV_FILE", str(file))

    url = Settings().url

    assert url
    assert (url.host, url.port, url.username) == ("db", 5432, "me")
    assert (url.password, url.database) == ("p%@ #", "todos")
