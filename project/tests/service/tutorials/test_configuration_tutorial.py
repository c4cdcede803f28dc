"""The configuration tutorial: named settings, a file per environment, one URL, found modules."""

import json
import os
import re
import signal
import subprocess
import sys
from configparser import RawConfigParser
from io import StringIO
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from alembic import command as alembic
from alembic.config import Config
from httpx import ASGITransport, AsyncClient
from pydantic import SecretStr
from sqlalchemy.engine import URL

from app.main import create_app
from app.settings import NAME, Settings
from songbook.config import CommandError
from tests.support.copies import ASK, copied_project
from tests.support.databases import execute, spelled
from tests.support.marks import slow
from tests.support.paths import PROJECT
from tests.support.processes import NOWHERE, Service, ended_at_last

SONG = {"name": "Midnight Fit", "artist": "Mogwai"}
SECRET = "8Zq2LrXw5vTn1KdYc7Hs4GfBj9Pm3RaE"
ENVIRONMENTS = ["dev", "qa", "prod"]
BINARIES = Path(sys.executable).parent


async def ask(method: str, url: str, **options: Any) -> httpx.Response:
    """Ask a service that is set up by the environment."""
    app = create_app()
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://songbook") as client,
    ):
        return await client.request(method, url, **options)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, (NAME, None, 50)),
        (
            {"APP_NAME": "Awesome API", "ADMIN_EMAIL": "me@example.org", "ITEMS_PER_USER": "7"},
            ("Awesome API", "me@example.org", 7),
        ),
    ],
)
async def test_the_index_tells_the_settings_that_are_for_clients(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], told: tuple[str, str | None, int]
) -> None:
    for name in ("APP_NAME", "PROJECT_NAME", "ADMIN_EMAIL", "ITEMS_PER_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    index = (await ask("GET", "/")).json()
    document = (await ask("GET", "/openapi.json")).json()

    assert (index["name"], index["admin_email"], index["items_per_user"]) == told
    assert document["info"]["title"] == told[0]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 200),
        ({"ENVIRONMENT": "dev"}, 200),
        ({"ENVIRONMENT": "prod"}, 401),
        ({"ENVIRONMENT": "prod", "PUBLIC_DOCS": "true"}, 200),
    ],
)
async def test_in_production_the_documentation_is_not_for_strangers_unless_a_setting_says_so(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], status: int
) -> None:
    settings = {"DATABASE_URL": NOWHERE, "OAUTH_TOKEN_SECRET": SECRET, **given}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    document, page = await ask("GET", "/openapi.json"), await ask("GET", "/docs")
    index = (await ask("GET", "/")).json()

    assert (document.status_code, page.status_code) == (status, 200 if status == 200 else 404)
    assert index["documentation"] == ("/docs" if status == 200 else None)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_has_a_file_without_secrets(environment: str) -> None:
    secrets = {
        name
        for name, field in Settings.model_fields.items()
        if SecretStr in get_args(field.annotation)
    }
    assert {"oauth_token_secret", "database_url"} <= secrets

    lines = (PROJECT / "config" / f"{environment}.env").read_text().splitlines()

    written = {line.partition("=")[0].lower() for line in lines if not line.startswith("#")}
    assert written <= set(Settings.model_fields)
    assert not written & secrets
    assert not [name for name in written if name.endswith("_file")]


@pytest.mark.parametrize(
    ("environment", "closed_writes", "status"),
    [("dev", None, 201), ("qa", None, 401), ("prod", None, 401), ("qa", "false", 201)],
)
@pytest.mark.usefixtures("client")
async def test_one_variable_chooses_the_file_and_the_process_has_the_last_word(
    database_url: URL,
    monkeypatch: pytest.MonkeyPatch,
    environment: str,
    closed_writes: str | None,
    status: int,
) -> None:
    monkeypatch.setenv("DATABASE_URL", spelled(database_url))
    monkeypatch.setenv("OAUTH_TOKEN_SECRET", SECRET)
    monkeypatch.setenv("ENVIRONMENT", environment)
    if closed_writes:
        monkeypatch.setenv("CLOSED_WRITES", closed_writes)

    answer = await ask("POST", "/songs", json=SONG)

    assert answer.status_code == status
    assert (await ask("GET", "/songs")).status_code == 200


def test_an_environment_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")

    with pytest.raises(CommandError, match=r"^ENVIRONMENT should be 'dev', 'qa' or 'prod'"):
        Settings.load()


def test_the_url_is_written_in_one_place_for_the_service_and_for_alembic(
    monkeypatch: pytest.MonkeyPatch, migrated_url: URL
) -> None:
    written = RawConfigParser()
    written.read(PROJECT / "alembic.ini")
    assert not written.has_option("alembic", "sqlalchemy.url")

    def migrate(*, offline: bool) -> str:
        output = StringIO()
        config = Config(PROJECT / "alembic.ini", stdout=output, output_buffer=output)
        alembic.upgrade(config, "head", sql=offline)
        return output.getvalue()

    monkeypatch.setenv("DATABASE_URL", spelled(migrated_url))
    assert migrate(offline=False) == ""
    assert "CREATE TABLE song" in migrate(offline=True)

    monkeypatch.setenv("DATABASE_URL", "mysql://db/foo")
    refused = "^DATABASE_URL does not name PostgreSQL"
    with pytest.raises(CommandError, match=refused):
        create_app()
    for offline in (False, True):
        with pytest.raises(CommandError, match=refused):
            migrate(offline=offline)


@slow
@pytest.mark.processes
def test_a_module_that_is_new_needs_no_edit_anywhere(tmp_path: Path, scratch_url: URL) -> None:
    copy = copied_project(tmp_path)
    songs = (copy / "app" / "resources" / "songs.py").read_text()
    books = re.sub("Song(?!book)", "Book", re.sub("song(?!book)", "book", songs))
    (copy / "app" / "resources" / "books.py").write_text(books.replace("artist", "author"))
    book = {"name": "Stoner", "author": "John Williams"}

    printed = subprocess.run(
        [sys.executable, "-c", ASK, "books"],
        cwd=copy,
        env={
            **os.environ,
            "DATABASE_URL": spelled(scratch_url),
            "PATH": f"{BINARIES}:{os.environ['PATH']}",
        },
        input=json.dumps(
            [
                ("POST", "/books", {**book, "year": "1965"}),
                ("GET", "/books?author_contains=WILL&year_lt=2000", None),
                ("GET", "/", None),
            ]
        ),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout

    created, listed, index = json.loads(printed.splitlines()[-1])
    assert created == [201, {"id": 1, **book, "year": 1965}]
    assert listed == [200, [created[1]]]
    assert {"/books", "/songs"} <= {*index[1]["resources"]}
    [migration] = (copy / "migrations" / "versions").glob("*_books.py")
    assert re.findall(r'create_table\(\s*"(\w+)"', migration.read_text()) == ["book"]
    stored = execute(scratch_url, "SELECT name, author, year FROM book")
    assert stored == [("Stoner", "John Williams", 1965)]


@slow
@pytest.mark.processes
def test_the_script_migrates_and_serves(scratch_url: URL) -> None:
    service = Service(
        program=[str(PROJECT / "start.sh")], DATABASE_URL=spelled(scratch_url), PORT="0"
    )
    with ended_at_last(service):
        service.answers(service.said())
        assert httpx.post(f"{service.address}/songs", json=SONG).status_code == 201
        assert service.end(signal.SIGTERM).code in {0, 143}
