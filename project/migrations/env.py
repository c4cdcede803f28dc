"""Runs the migrations on the database of the settings, online and offline."""

import asyncio
import logging
import shutil

from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

from app import resources
from songbook.config import load_settings
from songbook.db.connect import located

_MIGRATOR = 8004
"""The advisory lock that one migrator at a time holds."""

_LOCK = text("SELECT pg_try_advisory_lock(:key)")


def configure(connection: Connection | None = None, url: URL | str | None = None) -> None:
    """Tell Alembic what the tables should be, CHECK constraints included."""
    resources.modules()
    context.configure(
        connection=connection,
        url=url,
        target_metadata=SQLModel.metadata,
        literal_binds=connection is None,
        transaction_per_migration=True,
        compare_server_default=True,
        autogenerate_plugins=["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
    )


def migrate(connection: Connection) -> None:
    """Run the migrations on a connection."""
    configure(connection)
    with context.begin_transaction():
        context.run_migrations()


async def migrate_online(url: URL) -> None:
    """Run the migrations, one migrator at a time.

    The lock is polled: a blocked request for it would hold a snapshot, for which CREATE INDEX
    CONCURRENTLY waits.
    """
    engine = create_async_engine(url, poolclass=pool.NullPool, hide_parameters=True)
    async with engine.connect() as guard, engine.connect() as connection:
        await guard.execution_options(isolation_level="AUTOCOMMIT")
        while not await guard.scalar(_LOCK, {"key": _MIGRATOR}):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        await connection.run_sync(migrate)
        await connection.commit()
    await engine.dispose()


if shutil.which("ruff") is None:  # as in the container: a new revision is written without its hooks
    context.script.hooks.clear()
logging.basicConfig(level=logging.INFO, format="%(levelname)s [%(name)s] %(message)s")
logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)

settings = load_settings()
if context.is_offline_mode():
    configure(url=settings.url or "postgresql+asyncpg://")
    with context.begin_transaction():
        context.run_migrations()
else:
    with located(settings) as database_url:
        asyncio.run(migrate_online(database_url))
