"""The database of the measurement: created, migrated, filled, and dropped at the end."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from sqlalchemy import URL, NullPool, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

DATABASE = "songbook_bench"
SONGS = 100_000

# A vacuum that begins by itself would be a burden to one turn and not to the other.
UNDISTURBED = "ALTER TABLE song SET (autovacuum_enabled = off)"

DROP = f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"
CREATE = (
    f"CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8' "
    "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
)
# 75 years, one song in twenty without; half of the artists have an `a` in their name.
FILL = f"""
    INSERT INTO song (name, artist, year)
    SELECT 'Song number ' || n,
           (ARRAY['Mogwai', 'Low', 'Can', 'Tortoise', 'Slint', 'Tarwater', 'Codeine', 'Bark',
                  'Yo La Tengo', 'Pole', 'Gas', 'Neu'])[1 + n % 12] || ' ' || n % 5000,
           CASE WHEN n % 20 > 0 THEN 1950 + n * 7 % 75 END
    FROM generate_series(1, {SONGS}) AS n
    ORDER BY n
"""


@contextmanager
def prepared(project: Path) -> Iterator[str]:
    """Lend the URL of a migrated database with its songs."""
    with cluster(project) as admin:
        if admin.database == DATABASE:
            raise SystemExit(f"DATABASE_URL must not name {DATABASE}: it is dropped and created.")
        url = admin.set(database=DATABASE)
        execute(admin, DROP, CREATE)
        try:
            migrate(project, shown(url))
            execute(url, FILL, "VACUUM (ANALYZE) song")
            yield shown(url)
        finally:
            execute(admin, DROP)


@contextmanager
def cluster(project: Path) -> Iterator[URL]:
    """Lend a PostgreSQL: the one that DATABASE_URL names, else the project's embedded one."""
    if given := os.environ.get("DATABASE_URL"):
        yield make_url(given).set(drivername="postgresql+asyncpg")
        return
    sys.path.insert(0, str(project))
    embedded = import_module("songbook.db.embedded")
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)  # PostgreSQL runs as another account when we are root
        folder = Path(parent, "postgres")
        try:
            yield make_url(embedded.attach(folder)).set(drivername="postgresql+asyncpg")
        finally:
            embedded.detach(folder)


def shown(url: URL) -> str:
    """Write a URL with its password."""
    return url.render_as_string(hide_password=False)


def migrate(project: Path, url: str) -> None:
    """Bring the tables to the newest revision, as an operator does."""
    command = [sys.executable, "-m", "alembic", "upgrade", "head"]
    done = subprocess.run(
        command,
        cwd=project,
        env=os.environ | {"DATABASE_URL": url},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"`alembic upgrade head` failed:\n{done.stderr[-3000:]}")


def execute(url: URL, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""
    asyncio.run(execute_each(url, statements))


async def execute_each(url: URL, statements: tuple[str, ...]) -> None:
    """Run statements on one connection."""
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            for statement in statements:
                await connection.execute(text(statement))
    finally:
        await engine.dispose()
