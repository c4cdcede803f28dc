"""Runs Alembic's migrations, online and offline, for the `env.py` of a service."""

import asyncio
import logging
import shutil
from functools import partial
from typing import Any

from alembic import context
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, pool, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from songbook.config import Settings
from songbook.db.autogenerate import autogenerate_options
from songbook.db.connect import resolve_database
from songbook.logs import configure_logging

_MIGRATOR = 8004
"""The key of the advisory lock."""

_LOCK = text("SELECT pg_try_advisory_lock(:key)")


def run_migrations(settings: Settings, metadata: MetaData = SQLModel.metadata) -> None:
    """Run the migrations on the database of the settings; import the models before."""
    if shutil.which("ruff") is None:  # the hooks need it, and the container has none
        context.script.hooks.clear()
    if not logging.root.handlers:  # the command serve, or a test, has its own
        configure_logging(settings.log_level, settings.log_format)
    if context.is_offline_mode():
        _migrate(metadata, url=settings.url or "postgresql+asyncpg://")
    else:
        with resolve_database(settings) as url:
            asyncio.run(_migrate_online(metadata, url))


def _migrate(
    metadata: MetaData, connection: Connection | None = None, url: URL | str | None = None
) -> None:
    """Run the migrations, or let autogenerate compare the database with the models."""
    context.configure(
        connection=connection,
        url=url,
        literal_binds=connection is None,
        transaction_per_migration=True,
        **autogenerate_options(metadata, connection),
    )
    with context.begin_transaction():
        context.run_migrations()


async def _migrate_online(metadata: MetaData, url: URL) -> None:
    """Run the migrations under an advisory lock.

    The lock is polled: a waiting statement has a snapshot that blocks CREATE INDEX CONCURRENTLY.
    """
    engine = create_async_engine(url, poolclass=pool.NullPool, hide_parameters=True)
    async with engine.connect() as lock, engine.connect() as connection:
        await lock.execution_options(isolation_level="AUTOCOMMIT")
        while not await lock.scalar(_LOCK, {"key": _MIGRATOR}):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        await connection.run_sync(partial(_migrate, metadata))
        await connection.commit()
    await engine.dispose()


def differences(connection: Connection, metadata: MetaData) -> list[str]:
    """Return how the schema differs from the models, as `alembic check` finds it, in words."""
    options = autogenerate_options(metadata, connection)
    found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    return [_describe(each) for each in found]


def _describe(difference: Any) -> str:
    """Return the operation of a difference and the names in it: "add_column song tempo"."""
    operation, *parts = difference[0] if isinstance(difference, list) else difference
    names = [getattr(part, "name", part) for part in parts]
    return " ".join([operation, *(name for name in names if isinstance(name, str))][:3])
