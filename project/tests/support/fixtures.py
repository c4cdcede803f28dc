"""The service that is tested, on a database of each worker's own.

What is kept for a run is made once for each of the services: the folder of tests that are run on
another one imports these fixtures again, beside a `tested` of its own.
"""

import fcntl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from alembic import command as alembic
from alembic.config import Config
from fastapi import FastAPI
from sqlalchemy.engine import URL

from songbook import monitoring
from songbook.db import embedded
from tests.support.databases import Settings, create_database, execute, spelled
from tests.support.processes import Outcome
from tests.support.services import SERVICE, Tested


@pytest.fixture(scope="session", autouse=True)
def _no_checks_of_readiness() -> Iterator[None]:
    """Let no service check its readiness by itself: tests count the connections in use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitoring, "_CHECK_PERIODS", 10**9)
        yield


@pytest.fixture(scope="session")
def tested() -> Tested:
    """Give the service that is tested."""
    return SERVICE


@pytest.fixture(scope="session")
def template(server: URL, run_folder: Path, testrun_uid: str, tested: Tested) -> Iterator[URL]:
    """Give the URL of a migrated, empty database, made once in a run."""
    name = f"{tested.package.replace('.', '_')}_{testrun_uid[:12]}"
    url = server.set(database=f"template_{name}")
    with (run_folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (run_folder / f"{name}.done").exists():
            create_database(server, url.database)
            tested.run("migrate", DATABASE_URL=spelled(url))
            (run_folder / f"{name}.done").touch()
    yield url
    if Settings().url is not None:  # the embedded server goes with all that it has
        execute(server, f'DROP DATABASE IF EXISTS "{url.database}" WITH (FORCE)')


@pytest.fixture(scope="session")
def database_url(server: URL, template: URL, worker_id: str) -> Iterator[URL]:
    """Give the URL of a migrated database of this worker's own."""
    name = f"{template.database}_{worker_id}".replace("template", "worker")
    create_database(server, name, template.database)
    yield server.set(database=name)
    execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
async def app(database_url: URL, tested: Tested) -> AsyncIterator[FastAPI]:
    """Give the running service on this worker's database; nothing but the tests removes rows."""
    app = tested.app(database_url=spelled(database_url), housekeeping=False)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="session")
def migrated_folder(run_folder: Path, tested: Tested) -> Path:
    """Make an embedded PostgreSQL, migrated, once in a run; it is stopped."""
    name = f"migrated_{tested.package.replace('.', '_')}"
    folder = run_folder / name
    with (run_folder / f"{name}.lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            patch.setenv("DATABASE_URL", embedded.attach(folder, durable=False))
            try:
                alembic.upgrade(Config(tested.directory / "alembic.ini"), "head")
            finally:
                embedded.detach(folder)
    return folder


@pytest.fixture
def command(
    tested: Tested, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Give the service's command line, run in this process: as `run`, a second faster."""

    def run(*arguments: str, **environment: str) -> Outcome:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", [tested.package, *arguments])
        code: str | int | None = 0
        try:
            tested.cli()
        except SystemExit as end:
            code = end.code
        printed, told = capsys.readouterr()
        lines = told.splitlines() + ([code] if isinstance(code, str) else [])
        return Outcome(1 if isinstance(code, str) else code or 0, printed, lines)

    return run
