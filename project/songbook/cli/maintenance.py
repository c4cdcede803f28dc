"""What an operator does on the command line: remove what is past."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import Any

import asyncpg
from sqlalchemy import Column, Interval, Table, bindparam, delete, func, literal_column, select
from sqlalchemy.engine import URL

from songbook.config import StartError
from songbook.crud.idempotency_table import keys_table
from songbook.db.connect import opened_database
from songbook.db.statements import Statement
from songbook.errors.problems import Unavailable
from songbook.models.discovery import discover, family
from songbook.models.tables import living, table_of

_REMOVED_AT_ONCE = 1000
RESOURCES = "app.resources"


def purge(url: URL, age: timedelta, progress: Callable[[str, int], None]) -> dict[str, int]:
    """Remove the rows that were deleted longer ago than `age`; return how many of each resource.

    It goes a thousand rows at a time, each time committed; `progress` is told of each. What is
    restored meanwhile stays.
    """
    families = {name: family(each) for name, each in discover(RESOURCES).items()}
    models = {name: each.table for name, each in families.items() if living(each.table)}
    moments = {name: table_of(model).c.deleted_at for name, model in models.items()}
    return asyncio.run(_remove(url, moments, age, progress))


def expire_keys(url: URL, age: timedelta, progress: Callable[[str, int], None]) -> int:
    """Remove the idempotency keys that are older than `age`; return how many, as `purge` does."""
    moments = {"keys": keys_table().c.created_at}
    return asyncio.run(_remove(url, moments, age, progress))["keys"]


async def _remove(
    url: URL,
    moments: Mapping[str, Column[Any]],
    age: timedelta,
    progress: Callable[[str, int], None],
) -> dict[str, int]:
    removed = dict.fromkeys(moments, 0)
    try:
        async with opened_database(url) as db:
            for name, moment in moments.items():
                due = 1
                while due:
                    row = await db.fetch(_removing(moment).of({"age": age}))
                    assert row is not None, "an aggregate gives a row"
                    due = row["due"]
                    removed[name] += row["gone"]
                    progress(name, removed[name])
    except (asyncpg.PostgresError, Unavailable) as error:
        raise StartError(f"the removal stopped after {removed}: {error}") from None
    return removed


@cache
def _removing(moment: Column[Any]) -> Statement:
    """Remove the next rows whose moment is past: how many were due, and how many still were then.

    Of those a client may change one meanwhile, as by restoring it.
    """
    table = moment.table
    assert isinstance(table, Table)
    late = moment <= func.now() - bindparam("age", type_=Interval)
    keys = [*table.primary_key]
    due = (
        select(*keys)
        .where(late)
        .order_by(moment, *keys)
        .limit(literal_column(str(_REMOVED_AT_ONCE)))
        .with_for_update()
        .cte("due")
    )
    same = [key == due.c[key.name] for key in keys]
    gone = delete(table).where(*same, late).returning(keys[0]).cte("gone")
    numbers = [
        select(func.count()).select_from(each).scalar_subquery().label(each.name)
        for each in (due, gone)
    ]
    return Statement(select(*numbers))
