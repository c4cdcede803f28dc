"""The removal of old rows, and the task that expires idempotency keys."""

import asyncio
import logging
from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from typing import Any, NoReturn

from sqlalchemy import (
    Column,
    ColumnElement,
    Interval,
    Table,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    select,
)
from sqlalchemy.schema import sort_tables_and_constraints

from songbook.db.database import Database
from songbook.db.statements import CompiledStatement
from songbook.logs import Event
from songbook.models import Record, plural_name, table_of

logger = logging.getLogger(__name__)

_BATCH = 1000
_FIRST_SECONDS = 60
"""The time from the start of a service to its first removal of keys."""

_PERIOD_SECONDS = 3600
_PAUSE_SECONDS = 0.05
"""The time between two batches, for requests."""

_LOCK = 0x6B657973
"""The advisory lock of the removal, "keys": one process of all does it at a time."""


async def expire_keys_hourly(db: Database, created_at: Column[Any], age: timedelta) -> NoReturn:
    """Remove idempotency keys that are older than `age`, again and again, until cancelled.

    A failure is logged, and the next hour may succeed.
    """
    await asyncio.sleep(_FIRST_SECONDS)
    while True:
        try:
            await _expire_keys(db, created_at, age)
        except Exception as error:  # noqa: BLE001 - the next time may succeed
            logger.warning(Event("Old keys cannot be removed", error=error.__cause__ or error))
        await asyncio.sleep(_PERIOD_SECONDS)


async def _expire_keys(db: Database, created_at: Column[Any], age: timedelta) -> None:
    while row := await db.fetch(removal_of(created_at, lock=_LOCK).bind({"age": age})):
        if not row["due"]:
            return
        await asyncio.sleep(_PAUSE_SECONDS)


def deletions(models: Iterable[type[Record]]) -> dict[str, Column[Any]]:
    """Return the columns `deleted_at` of soft-deleting tables by their plural names.

    Those that refer to others come first, because a row can be removed when none refers to it.
    """
    named = {table_of(model): plural_name(model) for model in models}
    ordered = sort_tables_and_constraints(named)  # type: ignore[no-untyped-call]
    return {
        named[table]: table.c.deleted_at
        for table, _ in reversed(ordered)
        if table is not None and "deleted_at" in table.c
    }


@cache
def removal_of(moment: Column[Any], *, lock: int | None = None) -> CompiledStatement:
    """Compile the removal of the next batch: the numbers of rows that were due and are gone.

    They differ if a client restores a row meanwhile. With `lock`, an advisory lock, nothing is due
    while another transaction holds it.
    """
    table = moment.table
    assert isinstance(table, Table)
    late = moment <= func.now() - bindparam("age", type_=Interval)
    locked = (
        [] if lock is None else [select(func.pg_try_advisory_xact_lock(lock)).scalar_subquery()]
    )
    keys = [*table.primary_key]
    due = (
        select(*keys)
        .where(late, *locked, *_unreferred(table))
        .order_by(moment, *keys)
        .limit(literal_column(str(_BATCH)))
        .with_for_update()
        .cte("due")
    )
    same = [key == due.c[key.name] for key in keys]
    gone = delete(table).where(*same, late).returning(keys[0]).cte("gone")
    numbers = [
        select(func.count()).select_from(each).scalar_subquery().label(each.name)
        for each in (due, gone)
    ]
    return CompiledStatement(select(*numbers))


def _unreferred(table: Table) -> list[ColumnElement[bool]]:
    """Return the conditions that no row refers to one, which PostgreSQL would not delete."""
    keys = [key for other in table.metadata.tables.values() for key in other.foreign_keys]
    return [
        ~exists().where(key.parent.table.alias().c[key.parent.name] == key.column)
        for key in keys
        if key.column.table is table and key.ondelete not in {"CASCADE", "SET NULL"}
    ]
