"""What an operator does on the command line: make the first superuser, purge deleted rows."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import asyncpg
from pydantic import ValidationError
from sqlalchemy import BigInteger, Interval, bindparam, delete, func, literal_column, select
from sqlalchemy.engine import URL

from app import resources
from app.compiled import Statement
from app.db import Database
from app.failures import problem_of
from app.field_errors import reasons_of
from app.records import Record, living, table_of
from app.resources.users import User, UserCreate, UserPublic, stored
from app.settings import StartError
from app.statements import created

_PURGED_AT_ONCE = 1000


def create_superuser(url: URL, **given: Any) -> None:
    """Store a superuser; raise StartError when the fields do not fit or are taken."""
    try:
        user = UserCreate(**given, is_superuser=True)
    except ValidationError as error:
        raise StartError(f"the user does not fit: {reasons_of(error)}.") from None
    asyncio.run(_store(url, user))


async def _store(url: URL, user: UserCreate) -> None:
    db = Database(url, pool_size=1)
    try:
        await db.fetch(created(User, UserPublic, await stored(user.model_dump())))
    except asyncpg.UndefinedTableError:
        raise StartError("the table is not there yet: run python -m app migrate.") from None
    except asyncpg.UniqueViolationError as error:
        problem = problem_of(error)
        taken = ", ".join(each.pointer.strip("/") for each in problem.errors)
        raise StartError(f"{problem.detail}: choose another {taken}.") from None
    finally:
        await db.close()


def purge(url: URL, age: timedelta, progress: Callable[[str, int], None]) -> dict[str, int]:
    """Remove the rows that were deleted longer ago than `age`; return how many of each resource.

    It goes a thousand rows at a time, each time committed; `progress` is told of each. What is
    restored meanwhile stays.
    """
    return asyncio.run(_purge(url, age, progress))


async def _purge(url: URL, age: timedelta, progress: Callable[[str, int], None]) -> dict[str, int]:
    db = Database(url, pool_size=1)
    purged = {}
    try:
        for name, module in resources.modules().items():
            model = resources.family(module).table
            if living(model):
                purged[name] = 0
                last: int | None = 0
                while last is not None:
                    row = await db.fetch(_purging(model).of({"age": age, "last": last}))
                    assert row is not None, "an aggregate gives a row"
                    last = row[0]
                    purged[name] += row[1]
                    progress(name, purged[name])
    finally:
        await db.close()
    return purged


@cache
def _purging(model: type[Record]) -> Statement:
    """Remove the next rows; answer with the last id, null at the end, and their number."""
    table = table_of(model)
    due = (
        select(table.c.id)
        .where(
            table.c.id > bindparam("last", type_=BigInteger),
            table.c.deleted_at <= func.now() - bindparam("age", type_=Interval),
        )
        .order_by(table.c.id)
        .limit(literal_column(str(_PURGED_AT_ONCE)))
        .with_for_update()
        .cte("due")
    )
    gone = delete(table).where(table.c.id == due.c.id).returning(table.c.id).cte("gone")
    return Statement(select(func.max(gone.c.id), func.count()).select_from(gone))
