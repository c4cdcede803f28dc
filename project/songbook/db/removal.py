"""The removal of old rows, in batches."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import asyncpg
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
from songbook.db.statements import BoundStatement, CompiledStatement, Use
from songbook.models import Record, plural_name, table_of

KEYS, PURGE = "keys", "purge"
"""The jobs: the expiry of idempotency keys, and the purge of soft-deleted rows."""

_BATCH = 1000
_PAUSE_SECONDS = 0.05
"""The time between two batches, for requests, and between two tries to get the lock."""


class LockHeld(Exception):
    """Another process holds the advisory lock of a removal."""


@dataclass(frozen=True)
class Removal:
    """The rows that one job removes when they are older than `age`."""

    job: str
    age: timedelta
    moments: Mapping[str, Column[Any]]
    """The columns that the age counts from, by the names of their resources."""

    async def batches(
        self, db: Database, resource: str, patience: float = 0.0
    ) -> AsyncIterator[int]:
        """Remove rows of a resource in batches, committed one by one; yield the number of each.

        One process of all removes a batch of the job at a time, under an advisory lock. Raises
        LockHeld if another one holds it for `patience` seconds, and what Database.fetch does.
        """
        lock = int.from_bytes(self.job.encode())
        statement = removal_of(self.moments[resource], lock).bind({"age": self.age})
        while rows := (await _fetch_locked(db, statement, patience))["gone"]:
            yield rows
            await asyncio.sleep(_PAUSE_SECONDS)


async def _fetch_locked(db: Database, statement: BoundStatement, patience: float) -> asyncpg.Record:
    """Return the row of a removal that got its lock. Raises LockHeld."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while True:
        row = await db.fetch(statement)
        assert row is not None, "an aggregate gives a row"
        if row["held"]:
            return row
        if loop.time() >= deadline:
            raise LockHeld("another process removes them: try again later")
        await asyncio.sleep(_PAUSE_SECONDS)


def expiry_of(created_at: Column[Any], age: timedelta) -> Removal:
    """Return the removal of idempotency keys."""
    return Removal(KEYS, age, {"keys": created_at})


def purge_of(models: Iterable[type[Record]], age: timedelta) -> Removal:
    """Return the removal of the soft-deleted rows of those models that delete softly.

    Tables that refer to others come first, because a row can be removed when none refers to it.
    """
    named = {table_of(model): plural_name(model) for model in models}
    ordered = sort_tables_and_constraints(named)  # type: ignore[no-untyped-call]
    moments = {
        named[table]: table.c.deleted_at
        for table, _ in reversed(ordered)
        if table is not None and "deleted_at" in table.c
    }
    return Removal(PURGE, age, moments)


@cache
def removal_of(moment: Column[Any], lock: int) -> CompiledStatement:
    """Compile the removal of the next batch: whether the lock is `held`, how many rows are `gone`.

    Without the advisory lock `lock` no row is. One that another transaction has locked, such as a
    restored row that is not committed, stays for another time.
    """
    table = moment.table
    assert isinstance(table, Table)
    late = moment <= func.now() - bindparam("age", type_=Interval)
    acquired = func.pg_try_advisory_xact_lock(literal_column(str(lock)))
    held = select(select(acquired.label("held")).cte("acquired").c.held).scalar_subquery()
    keys = [*table.primary_key]
    due = (
        select(*keys)
        .where(late, held, *_unreferred(table))
        .order_by(moment, *keys)
        .limit(literal_column(str(_BATCH)))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    same = [key == due.c[key.name] for key in keys]
    gone = delete(table).where(*same, late).returning(keys[0]).cte("gone")
    number = select(func.count()).select_from(gone).scalar_subquery()
    removed = select(held.label("held"), number.label("gone"))
    return CompiledStatement(removed, use=Use.WRITE, all_owners=True)


def _unreferred(table: Table) -> list[ColumnElement[bool]]:
    """Return the conditions that no row refers to one, which PostgreSQL would not delete."""
    keys = [key for other in table.metadata.tables.values() for key in other.foreign_keys]
    return [
        ~exists().where(key.parent.table.alias().c[key.parent.name] == key.column)
        for key in keys
        if key.column.table is table and key.ondelete not in {"CASCADE", "SET NULL"}
    ]
