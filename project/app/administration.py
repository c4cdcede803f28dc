"""What an operator does on the command line: make the first superuser, purge deleted rows."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import asyncpg
from pydantic import ValidationError
from sqlalchemy import Interval, bindparam, delete, func, literal_column, select
from sqlalchemy.engine import URL

from app import resources
from app.compiled import Statement
from app.failures import problem_of
from app.field_errors import reasons_of
from app.problems import Unavailable
from app.records import Record, living, table_of
from app.resources.users import User, UserCreate, UserPublic, with_hash
from app.settings import StartError
from app.startup import opened_database
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
    fields = await with_hash(user.model_dump())
    try:
        async with opened_database(url) as db:
            await db.fetch(created(User, UserPublic, fields))
    except asyncpg.UniqueViolationError as error:
        problem = problem_of(error)
        taken = ", ".join(each.pointer.strip("/") for each in problem.errors)
        raise StartError(f"{problem.detail}: choose another {taken}.") from None


def purge(url: URL, age: timedelta, progress: Callable[[str, int], None]) -> dict[str, int]:
    """Remove the rows that were deleted longer ago than `age`; return how many of each resource.

    It goes a thousand rows at a time, each time committed; `progress` is told of each. What is
    restored meanwhile stays.
    """
    return asyncio.run(_purge(url, age, progress))


async def _purge(url: URL, age: timedelta, progress: Callable[[str, int], None]) -> dict[str, int]:
    families = {name: resources.family(each) for name, each in resources.modules().items()}
    tables = {name: each.table for name, each in families.items() if living(each.table)}
    purged = dict.fromkeys(tables, 0)
    try:
        async with opened_database(url) as db:
            for name, model in tables.items():
                due = 1
                while due:
                    row = await db.fetch(_purging(model).of({"age": age}))
                    assert row is not None, "an aggregate gives a row"
                    due = row["due"]
                    purged[name] += row["gone"]
                    progress(name, purged[name])
    except (asyncpg.PostgresError, Unavailable) as error:
        raise StartError(f"the purge stopped after {purged}: {error}") from None
    return purged


@cache
def _purging(model: type[Record]) -> Statement:
    """Remove the next rows: how many were due, and how many of them nobody restored meanwhile."""
    table = table_of(model)
    late = table.c.deleted_at <= func.now() - bindparam("age", type_=Interval)
    due = (
        select(table.c.id)
        .where(late)
        .order_by(table.c.deleted_at, table.c.id)
        .limit(literal_column(str(_PURGED_AT_ONCE)))
        .with_for_update()
        .cte("due")
    )
    gone = delete(table).where(table.c.id == due.c.id, late).returning(table.c.id).cte("gone")
    numbers = [
        select(func.count()).select_from(each).scalar_subquery().label(each.name)
        for each in (due, gone)
    ]
    return Statement(select(*numbers))
