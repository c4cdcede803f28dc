"""Runs Alembic's migrations, online and offline, for the `env.py` of a service."""

import asyncio
import logging
import shutil

from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from songbook.config import Settings
from songbook.db import autogenerate
from songbook.db.connect import resolve_database

_MIGRATOR = 8004
"""The key of the advisory lock."""

_LOCK = text("SELECT pg_try_advisory_lock(:key)")


def run_migrations(settings: Settings) -> None:
    """Run the migrations on the database of the settings; import the models before."""
    if shutil.which("ruff") is None:  # the hooks need it, and the container has none
        context.script.hooks.clear()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s [%(name)s] %(message)s")
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    if context.is_offline_mode():
        _migrate(url=settings.url or "postgresql+asyncpg://")
    else:
        with resolve_database(settings) as url:
            asyncio.run(_migrate_online(url))


def _migrate(connection: Connection | None = None, url: URL | str | None = None) -> None:
    """Run the migrations; autogenerate also compares CHECK constraints and server defaults."""
    context.configure(
        connection=connection,
        url=url,
        target_metadata=SQLModel.metadata,
        literal_binds=connection is None,
        transaction_per_migration=True,
        compare_server_default=True,
        autogenerate_plugins=[
            "alembic.autogenerate.*",
            "alembic.ext.checkconstraint_byname",
            autogenerate.PLUGIN.name,
        ],
    )
    with context.begin_transaction():
        context.run_migrations()


async def _migrate_online(url: URL) -> None:
    """Run the migrations under an advisory lock.

    The lock is polled: a waiting statement has a snapshot that blocks CREATE INDEX CONCURRENTLY.
    """
    engine = create_async_engine(url, poolclass=pool.NullPool, hide_parameters=True)
    async with engine.connect() as lock, engine.connect() as connection:
        await lock.execution_options(isolation_level="AUTOCOMMIT")
        while not await lock.scalar(_LOCK, {"key": _MIGRATOR}):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        await connection.run_sync(_migrate)
        await connection.commit()
    await engine.dispose()
