"""PostgreSQL: a server for a run, a database for a worker, others for one test."""

import asyncio
import fcntl
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import NullPool, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from songbook import config
from tests.support.paths import PROJECT
from tests.support.waiting import PATIENCE, wait_until


class Settings(config.Settings):
    """The settings that any service has, as they are written for this one."""

    directory = PROJECT


@pytest.fixture(scope="session")
def run_folder(testrun_uid: str) -> Iterator[Path]:
    """Give a folder that all workers of this run share.

    It is not one of pytest's, which another run of root's would make private again.
    """
    folder = Path(tempfile.gettempdir()) / f"songbook-tests-{testrun_uid}"
    folder.mkdir(mode=0o711, exist_ok=True)
    yield folder
    if not (folder / "postgres" / "cluster" / "postmaster.pid").exists():  # nobody uses it any more
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(run_folder: Path) -> Iterator[URL]:
    """Give the URL of the PostgreSQL of this run: that of DATABASE_URL, else an embedded one."""
    given = Settings().url
    if given is not None:
        yield given
        return
    from songbook.db import embedded

    folder = run_folder / "postgres"
    yield make_url(embedded.attach(folder, durable=False))
    embedded.detach(folder)


@pytest.fixture
def scratch_url(server: URL) -> Iterator[URL]:
    """Give the URL of an empty database for one test."""
    name = f"scratch_{secrets.token_hex(6)}"
    create_database(server, name)
    yield server.set(database=name)
    execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def migrated_url(server: URL, template: URL) -> Iterator[URL]:
    """Give the URL of a migrated, empty database for one test."""
    name = f"migrated_{secrets.token_hex(6)}"
    create_database(server, name, template.database)
    yield server.set(database=name)
    execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def guarded_url(migrated_url: URL, run_folder: Path) -> Iterator[URL]:
    """Give the URL of a role that is asked for its password: characters with a meaning in URLs."""
    role, password = f"role_{secrets.token_hex(6)}", 'p%40@:/?#[]&=+ $"\\é'
    execute(migrated_url, f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{password}'")
    guarded = migrated_url.set(username=role, password=password)
    asked = [f"local all {role} scram-sha-256", f"host all {role} all scram-sha-256"]
    set_authentication(migrated_url, run_folder, role, asked)
    wait_until(lambda: is_refused(guarded.set(password="another")))  # a reload takes its time
    yield guarded
    set_authentication(migrated_url, run_folder, role, [])
    execute(migrated_url, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


def is_refused(url: URL) -> bool:
    """Tell whether PostgreSQL refuses the password."""
    try:
        execute(url, "SELECT 1")
    except DBAPIError as error:
        return "authentication failed" in str(error)
    return False


def set_authentication(url: URL, run_folder: Path, role: str, lines: list[str]) -> None:
    """Make these the lines of pg_hba.conf about a role."""
    with (run_folder / "hba.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        [(path,)] = execute(url, "SHOW hba_file")
        execute(
            url,
            "CREATE TEMP TABLE hba AS SELECT n, line FROM"
            f" string_to_table(pg_read_file('{path}'), chr(10)) WITH ORDINALITY AS file (line, n)"
            f" WHERE line NOT LIKE '%{role}%'",
            *(f"INSERT INTO hba VALUES (0, '{line}')" for line in lines),
            f"COPY (SELECT line FROM hba ORDER BY n) TO '{path}'",
            "SELECT pg_reload_conf()",
        )


@pytest.fixture(scope="module")
def private_url(server: URL, template: URL) -> Iterator[URL]:
    """Give the URL of a migrated database that only the tests of one module use."""
    name = f"private_{secrets.token_hex(6)}"
    create_database(server, name, template.database)
    yield server.set(database=name)
    execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def breakable_url(server: URL, private_url: URL) -> AsyncIterator[URL]:
    """Give the URL of a database that a test may break; mend it when the services have left."""
    yield private_url
    async with beside(server) as admin:
        for change in ("ALLOW_CONNECTIONS true", "RESET default_transaction_read_only"):
            await admin.execute(text(f'ALTER DATABASE "{private_url.database}" {change}'))
    async with beside(private_url) as connection:
        for statement in MEND:
            await connection.execute(text(statement))
        async with asyncio.timeout(PATIENCE):
            while await backends(connection):
                pass


MEND = [
    "TRUNCATE book RESTART IDENTITY",
    "DROP FUNCTION IF EXISTS refuse CASCADE",
    "DROP SEQUENCE IF EXISTS attempts",
    "DROP INDEX IF EXISTS uq_book_name",
]


def spelled(url: URL) -> str:
    """Return a URL as DATABASE_URL has it."""
    return url.render_as_string(hide_password=False)


def execute(url: URL, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements outside of a transaction; return the rows of the last one."""

    async def run() -> list[tuple[Any, ...]]:
        engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as connection:
                for statement in statements:
                    answer = await connection.execute(text(statement))
                return [tuple(row) for row in answer] if answer.returns_rows else []
        finally:
            await engine.dispose()

    with ThreadPoolExecutor(1) as outside_of_any_loop:
        return outside_of_any_loop.submit(asyncio.run, run()).result()


def create_database(server: URL, name: str | None, template: str | None = "template0") -> None:
    """Create a database whose text sorts and folds as everywhere: by code point, by Unicode."""
    locale = "ENCODING UTF8 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
    # Copied as files it takes half the time: each block would be written to the WAL as well.
    copied = f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy {locale}'
    execute(server, copied)


def has_server(folder: Path) -> bool:
    """Tell whether any process of the folder's PostgreSQL lives: each holds this lock."""
    try:
        with (folder / "server").open("rb") as server:
            fcntl.flock(server, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


# TRUNCATE makes every table and index anew, which takes 31 ms; this takes 1 ms. No trigger objects.
_EMPTY = """
DO $$
BEGIN
    SET LOCAL session_replication_role = replica;
    EXECUTE (
        SELECT string_agg(
            CASE relkind
                WHEN 'r' THEN format('DELETE FROM %I', relname)
                ELSE format('SELECT setval(%s, 1, false)', oid)
            END,
            ';'
        )
        FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
        AND relname <> 'alembic_version'
    );
END
$$
"""


async def empty(connection: AsyncConnection) -> None:
    """Delete all rows of all tables, in one round trip; ids begin with 1 again."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver
    await driver.execute(_EMPTY)


async def waiting(connection: AsyncConnection, number: int) -> None:
    """Return when so many statements of this database wait for a lock."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(PATIENCE):
        while (await connection.scalar(query) or 0) < number:
            await connection.execute(text("SELECT pg_stat_clear_snapshot()"))


@asynccontextmanager
async def beside(url: URL) -> AsyncIterator[AsyncConnection]:
    """Give a connection to the database that is none of the service's; each statement commits."""
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        yield connection


@asynccontextmanager
async def locked(url: URL, table: str) -> AsyncIterator[AsyncConnection]:
    """Keep everybody else from a table; give the connection that does."""
    async with beside(url) as connection:
        await connection.execute(text("BEGIN"))
        await connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        yield connection
        await connection.execute(text("ROLLBACK"))


async def backends(connection: AsyncConnection) -> list[int]:
    """Return the processes that serve a service on this database."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'songbook'"
        " AND datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.execute(text("SELECT pg_stat_clear_snapshot()"))
    return list(await connection.scalars(text(query)))


async def terminate(connection: AsyncConnection) -> int:
    """End all the backends of a service, and wait until they have ended; return their number."""
    found = await backends(connection)
    for pid in found:
        await connection.execute(text("SELECT pg_terminate_backend(:pid, 60000)"), {"pid": pid})
    await connection.execute(text("SELECT 1"))  # by now the event loop has seen the ends as well
    return len(found)


async def all_rows(app: FastAPI) -> dict[str, list[Any]]:
    """Return all rows of all tables."""
    listed = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    async with app.state.service.database.engine.begin() as connection:
        return {
            name: [tuple(row) for row in await connection.execute(text(f'SELECT * FROM "{name}"'))]
            for name in [*await connection.scalars(text(listed))]
        }


async def number_of(app: FastAPI, table: str) -> int:
    """Return how many rows a table has."""
    async with app.state.service.database.engine.connect() as connection:
        found: int = await connection.scalar(text(f'SELECT count(*) FROM "{table}"'))
        return found


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the nodes of a plan."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes_of(below)
