"""The songs tutorial: a ping, songs, two migrations, and a compose file; see test_container.py."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped] # the stubs would be for this file alone
from alembic.config import Config
from alembic.config import main as alembic
from alembic.script import ScriptDirectory
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy.engine import URL, make_url

from app.main import create_app
from app.settings import Settings
from tests.support.asserts import assert_problem
from tests.support.databases import execute, spelled
from tests.support.marks import slow
from tests.support.paths import PROJECT, ROOT
from tests.support.processes import NOWHERE, Service, ended_at_last, free_port

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
    "services"
]

COLUMNS = (
    "SELECT column_name::text, data_type::text, is_nullable::text FROM information_schema.columns"
    " WHERE table_name = 'song' AND column_name <> 'version'"
)
INDEXES = "SELECT indexname::text FROM pg_indexes WHERE tablename = 'song'"
TABLES = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'"


async def test_the_ping_is_answered_without_a_database() -> None:
    app = create_app(Settings(database_url=NOWHERE))
    async with app.router.lifespan_context(app), client_of(app) as client:
        answer = await client.get("/ping")

    assert (answer.status_code, answer.text) == (200, '{"ping":"pong!"}')


def client_of(app: FastAPI) -> AsyncClient:
    return AsyncClient(transport=ASGITransport(app), base_url="http://songbook")


async def test_songs_are_added_and_listed_as_the_tutorial_does(client: AsyncClient) -> None:
    empty = await client.get("/songs")
    first = await client.post("/songs", json={"name": "Midnight Fit", "artist": "Mogwai"})
    second = await client.post(
        "/songs", json={"name": "Midnight Fit", "artist": "Mogwai", "year": "2021"}
    )
    listed = await client.get("/songs")

    assert (empty.status_code, empty.text) == (200, "[]")
    assert first.json() == {"id": 1, "name": "Midnight Fit", "artist": "Mogwai", "year": None}
    assert second.json() == {"id": 2, "name": "Midnight Fit", "artist": "Mogwai", "year": 2021}
    assert listed.json() == [first.json(), second.json()]


@pytest.mark.parametrize(
    "body",
    [
        {"artist": "Mogwai"},
        {"name": "Midnight Fit"},
        {"name": "Midnight Fit", "artist": "Mogwai", "year": "abc"},
    ],
)
async def test_a_song_without_a_name_or_an_artist_or_with_words_for_a_year_is_refused(
    client: AsyncClient, body: dict[str, str]
) -> None:
    assert_problem(await client.post("/songs", json=body), 422, "validation")
    assert (await client.get("/songs")).json() == []


def test_the_table_is_the_tutorial_s(migrated_url: URL) -> None:
    assert set(execute(migrated_url, COLUMNS)) == {
        ("id", "bigint", "NO"),
        ("name", "character varying", "NO"),
        ("artist", "character varying", "NO"),
        ("year", "integer", "YES"),
    }
    assert ("ix_song_year",) in execute(migrated_url, INDEXES)
    key = "SELECT conkey FROM pg_constraint WHERE conrelid = 'song'::regclass AND contype = 'p'"
    assert execute(migrated_url, key) == [([1],)]


async def test_no_table_is_created_when_the_service_starts(scratch_url: URL) -> None:
    app = create_app(Settings(database_url=spelled(scratch_url)))
    async with app.router.lifespan_context(app), client_of(app) as client:
        answer = await client.get("/songs")

    assert_problem(answer, 503, "unavailable")
    assert execute(scratch_url, TABLES) == []


def test_the_first_revision_is_init_and_the_second_adds_the_year() -> None:
    first, second, *_ = reversed(
        [*ScriptDirectory.from_config(Config(PROJECT / "alembic.ini")).walk_revisions()]
    )

    assert (first.down_revision, second.down_revision) == (None, first.revision)
    assert (Path(first.path).stem[-5:], Path(second.path).stem[-9:]) == ("_init", "_add_year")
    assert "\nimport sqlmodel\n" in (PROJECT / "migrations" / "script.py.mako").read_text()
    for path in (PROJECT / "migrations" / "versions").glob("*.py"):
        assert "\nimport sqlmodel\n" in path.read_text(), path.name


@slow
@pytest.mark.processes
def test_the_service_runs_from_project_and_the_migrations_beside_it(
    scratch_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service runs all the while."""
    monkeypatch.setenv("DATABASE_URL", spelled(scratch_url))
    monkeypatch.chdir(PROJECT)

    def columns() -> set[str]:
        return {name for name, *_ in execute(scratch_url, COLUMNS)}

    port = str(free_port())
    uvicorn = ("uvicorn", "app.main:app", "--port", port)
    service = Service(*uvicorn, DATABASE_URL=spelled(scratch_url))
    with ended_at_last(service):
        service.answers(f"http://127.0.0.1:{port}")
        alembic(["upgrade", "+1"])
        assert columns() == {"id", "name", "artist"}
        alembic(["upgrade", "head"])
        alembic(["upgrade", "head"])
        assert columns() == {"id", "name", "artist", "year"}
        assert ("ix_song_year",) in execute(scratch_url, INDEXES)
        song = httpx.post(f"{service.address}/songs", json={"name": "Helicon", "artist": "Mogwai"})
        assert song.json() == {"id": 1, "name": "Helicon", "artist": "Mogwai", "year": None}
        alembic(["downgrade", "16d3deac1101"])
        assert columns() == {"id", "name", "artist"}
        assert execute(scratch_url, "SELECT name FROM song") == [("Helicon",)]
        alembic(["downgrade", "base"])
        assert execute(scratch_url, TABLES) == [("alembic_version",)]


def test_compose_serves_at_port_8004_of_the_host() -> None:
    assert SERVICES["web"]["ports"] == ["${WEB_PORT:-8004}:8004"]
    assert {"db", "web"} <= set(SERVICES)


def test_compose_has_the_database_that_psql_is_to_open() -> None:
    environment = SERVICES["db"]["environment"]

    assert environment["POSTGRES_USER"] == "postgres"
    assert environment["POSTGRES_DB"] == "foo"
    [volume] = SERVICES["db"]["volumes"]
    assert volume.startswith("data:")  # named, so that `down -v` removes it


def test_compose_tells_the_service_where_its_database_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*Settings.model_fields, "database_url_file", "pg_password_file"):
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in SERVICES["web"]["environment"].items():
        if value is not None:  # else it is taken from where Compose runs
            monkeypatch.setenv(name, re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", value))

    told = "postgresql+asyncpg://postgres:postgres@db:5432/foo"
    assert Settings.load().url == make_url(told)


def test_compose_lets_alembic_read_the_models_of_the_clone_and_write_its_revisions_there() -> None:
    override = (PROJECT.parent / "docker-compose.override.yml").read_text()
    mounts = yaml.safe_load(override)["services"]["web"]["volumes"]

    assert "./project/app:/usr/src/app/app:ro,z" in mounts
    assert "./project/migrations:/usr/src/app/migrations:z" in mounts
