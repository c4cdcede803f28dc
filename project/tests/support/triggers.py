"""Triggers on the table of books that refuse a write, or hold it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.databases import beside
from tests.support.waiting import PATIENCE

FUNCTION = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"


TRIGGER = (
    "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON book FOR EACH ROW EXECUTE FUNCTION refuse()"
)


async def fail_attempts(connection: AsyncConnection, state: str, times: int) -> None:
    """Let PostgreSQL refuse the first attempts to store a book."""
    await connection.execute(text("CREATE SEQUENCE attempts"))
    body = f"BEGIN IF nextval('attempts') <= {times} THEN RAISE USING ERRCODE = '{state}'; END IF;"
    await connection.execute(text(FUNCTION.format(body=f"{body} RETURN NEW; END")))
    await connection.execute(text(TRIGGER))


# It waits without a lock: for a lock PostgreSQL would let nobody wait as long as it takes.
HOLD = """
BEGIN
    WHILE NOT pg_try_advisory_xact_lock(4711) LOOP
        PERFORM pg_sleep(0.005);
    END LOOP;
    RETURN NEW;
END
"""


AFTER = TRIGGER.replace("BEFORE", "AFTER")


HELD = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
)


@asynccontextmanager
async def holding_writes(url: URL) -> AsyncIterator[AsyncConnection]:
    """Hold every write of a book between its statement and its commit until the block ends."""
    async with beside(url) as connection:
        await connection.execute(text("SELECT pg_advisory_lock(4711)"))
        await connection.execute(text(FUNCTION.format(body=HOLD)))
        await connection.execute(text(AFTER))
        try:
            yield connection
        finally:
            await connection.execute(text("SELECT pg_advisory_unlock(4711)"))


async def held_writes(connection: AsyncConnection, number: int = 1) -> list[int]:
    """Return the processes of the writes that are held, as soon as there are so many."""
    async with asyncio.timeout(PATIENCE):
        while len(found := list(await connection.scalars(text(HELD)))) < number:
            await connection.execute(text("SELECT pg_stat_clear_snapshot()"))
    return found
