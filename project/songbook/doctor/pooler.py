"""Recognizes a pooler, such as PgBouncer, between the service and PostgreSQL."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from songbook.doctor.findings import Finding, Subject, failure, ok, warning

_PID = "SELECT pg_backend_pid()"
_WITHOUT_CACHE = "append ?prepared_statement_cache_size=0 to DATABASE_URL"
_DIRECT = "run `migrate` with a DATABASE_URL that leads directly to PostgreSQL"


def is_pooled(connection: Connection) -> bool:
    """Return whether a pooler is in between, which announces a process id of its own making."""
    driver = connection.connection.driver_connection
    assert driver is not None
    pid: int = connection.exec_driver_sql(_PID).scalar_one()
    return pid != int(driver.get_server_pid())


async def check_pooler(engine: AsyncEngine, subject: Subject) -> Finding:
    """Check that a pooler, if there is one, keeps what the service needs of a session.

    In transaction mode a second client gets the server connection that the first, which is still
    connected, had in its transaction.
    """
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(_connection(engine))
        announced, pid = one.get_server_pid(), await _pid(one)
        if announced == pid:
            return ok("The service is connected to PostgreSQL directly.")
        other = await stack.enter_async_context(_connection(engine))
        if pid != await _pid(other):
            return ok(f"A pooler in session mode is in between: {_DIRECT} if it limits sessions.")
        url = subject.settings.url
        if url is not None and url.query.get("prepared_statement_cache_size") == "0":
            return ok(f"A pooler in transaction mode is in between: {_DIRECT}.")
        return await _check_prepared(one, other)


async def _check_prepared(one: asyncpg.Connection, other: asyncpg.Connection) -> Finding:
    """Execute a statement while another client has the server connection that prepared it."""
    name = f"songbook_{secrets.token_hex(4)}"
    text = "A pooler in transaction mode is in between"
    async with one.transaction(readonly=True):
        statement = await one.prepare(_PID, name=name)
    try:
        async with other.transaction(readonly=True):
            await other.execute(_PID)
            async with one.transaction(readonly=True):
                await statement.fetchval(timeout=1)
    except asyncpg.InvalidSQLStatementNameError:
        return failure(f"{text} and loses prepared statements: {_WITHOUT_CACHE}.")
    except TimeoutError:
        advice = f"{_WITHOUT_CACHE} if it is PgBouncer before 1.21"
        return warning(f"{text} with a single free connection: {advice}.")
    return ok(f"{text} that keeps prepared statements: {_DIRECT}.")


async def _pid(connection: asyncpg.Connection) -> int:
    async with connection.transaction(readonly=True):
        pid: int = await connection.fetchval(_PID)
        return pid


@asynccontextmanager
async def _connection(engine: AsyncEngine) -> AsyncIterator[asyncpg.Connection]:
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        yield driver
