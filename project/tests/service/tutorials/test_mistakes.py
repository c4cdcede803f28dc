"""The tutorials' own mistakes that no other test would notice, should they come back."""

import ast
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx import AsyncClient
from sqlalchemy.engine import URL
from sqlmodel.ext.asyncio.session import AsyncSession

from songbook.db.database import Database
from tests.support.databases import execute, spelled
from tests.support.marks import slow
from tests.support.paths import PROJECT

SONG = {"name": "Midnight Fit", "artist": "Mogwai"}
SOURCES = [*(PROJECT / "app").rglob("*.py"), PROJECT / "migrations" / "env.py"]
# What the tutorials made anew for each request, or what a newer way has replaced.
GIVEN_UP = {
    "on_event",
    "sessionmaker",
    "async_sessionmaker",
    "create_all",
    "drop_all",
    "fileConfig",
}


def names(tree: ast.AST) -> Iterator[str]:
    """Give every name that a module uses, imports or looks up in an object."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield name


def test_no_module_does_what_was_given_up() -> None:
    found = {path.name: GIVEN_UP & {*names(ast.parse(path.read_text()))} for path in SOURCES}

    assert {name: words for name, words in found.items() if words} == {}


def test_a_warning_fails_the_test_in_which_it_comes() -> None:
    for kind in (UserWarning, DeprecationWarning, RuntimeWarning, ResourceWarning):
        with pytest.raises(kind):
            warnings.warn("a canary", kind, stacklevel=1)


async def test_no_statement_is_logged_unless_that_is_asked_for(
    client: AsyncClient, app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    database: Database = app.state.service.database
    caplog.set_level(logging.INFO)

    await client.post("/songs", json=SONG)
    await client.get("/songs")

    assert not database.engine.echo
    assert not [each for each in caplog.records if each.name.startswith("sqlalchemy")]
    assert "song" in caplog.text  # by httpx: what is told at this level is heard


async def test_all_requests_share_one_pool(client: AsyncClient, app: FastAPI) -> None:
    database: Database = app.state.service.database
    pool = database.engine.sync_engine.pool
    for number in range(30):
        await client.post("/songs", json=SONG | {"year": 1990 + number})

    assert app.state.service.database is database
    assert database.engine.sync_engine.pool is pool
    assert pool.checkedout() == 0
    assert 1 <= pool.checkedin() <= app.state.service.settings.pool_size


@pytest.mark.parametrize("nth", ["first", "second"])
async def test_of_two_tests_in_a_row_neither_finds_what_the_other_stored(
    client: AsyncClient, session: AsyncSession, app: FastAPI, nth: str
) -> None:
    created = await client.post("/songs", json=SONG | {"name": nth})

    assert created.json()["id"] == 1
    assert (await client.get("/songs")).json() == [created.json()]
    assert session.bind is app.state.service.database.engine  # one loop, one pool, in every test


@pytest.mark.processes
@slow
def test_a_run_of_the_tests_leaves_nothing_on_its_server(guarded_url: URL, tmp_path: Path) -> None:
    """Its handlers commit for real; the databases in which they do go with the run.

    The role is that of the run alone, and so are the databases that belong to it.
    """
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
            *("-k", "two_tests_in_a_row", __file__),
        ],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": spelled(guarded_url), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout
    assert "2 passed" in run.stdout
    databases = (
        "SELECT datname FROM pg_database"
        f" WHERE datdba = (SELECT oid FROM pg_roles WHERE rolname = '{guarded_url.username}')"
    )
    assert execute(guarded_url, databases) == []
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("songbook")]
