"""PostgreSQL's COPY, in both directions: many rows in one statement."""

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any, BinaryIO, Literal

import asyncpg
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Identity,
    MetaData,
    Table,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.schema import ColumnElementColumnDefault
from sqlalchemy.sql.visitors import replacement_traverse

from songbook.db import DIALECT, BoundStatement, CompiledStatement, Database
from songbook.http import CSV, NDJSON
from songbook.models import Record, natural_key, next_version, table_of

# JSON has its control characters escaped: with these COPY has nothing to quote.
_COPY_OPTIONS: dict[str, dict[str, Any]] = {
    CSV: {"format": "csv", "header": True},
    NDJSON: {"format": "csv", "delimiter": "\x01", "quote": "\x02"},
}
_POSITION = "place_"
"""The column of a staging table that has the order of the rows."""

OnConflict = Literal["abort", "skip", "update"]


async def copy_out(
    db: Database, query: BoundStatement, media_type: str, sink: Callable[[bytes], Awaitable[None]]
) -> int:
    """Give `sink` the rows of a query in pieces; return how many there were.

    A slow sink slows PostgreSQL down. Raises ServiceUnavailable when no connection is to be had,
    TimeoutError, and asyncpg's errors as they are.
    """
    async with db.bulk(db.pool_timeout) as connection:
        try:
            await connection.execute(f"BEGIN READ ONLY; {bulk_settings(db.bulk_seconds)}")
            copied = await connection.copy_from_query(
                query.sql,
                *query.arguments,
                output=sink,
                timeout=db.bulk_seconds,
                **_COPY_OPTIONS[media_type],
            )
            await connection.execute("COMMIT")
        except BaseException:
            connection.terminate()  # or the rest of the rows would be waited for
            raise
        return _number(copied)


async def copy_in(
    db: Database,
    connection: asyncpg.Connection,
    model: type[Record],
    columns: Sequence[str],
    rows: BinaryIO,
    on_conflict: OnConflict,
) -> int:
    """Store rows, in COPY's text format, in a transaction with `bulk_settings`; return how many.

    With `skip` a row whose natural key is there already is passed over; with `update` it replaces
    that one, unless they are equal, and of several rows of one key the last counts. Raises
    TimeoutError, and asyncpg's errors as they are.
    """
    seconds = db.bulk_seconds
    into, names = str(model.__tablename__), tuple(columns)
    if on_conflict != "abort":
        staging = _staging(model, names)
        await connection.execute(str(CreateTable(staging).compile(dialect=DIALECT)))
        into = staging.name
    done = await connection.copy_to_table(into, source=rows, columns=columns, timeout=seconds)
    if on_conflict != "abort":
        merge = _merge(model, names, on_conflict).bind({})
        done = await connection.execute(merge.sql, *merge.arguments, timeout=seconds)
    return _number(done)


def _number(done: str) -> int:
    """Return how many rows a command was about, by its tag."""
    return int(done.rpartition(" ")[2])


def bulk_settings(seconds: float) -> str:
    """Return SQL that lets each statement of a transaction, and its client, take that long."""
    names = ("statement_timeout", "idle_in_transaction_session_timeout")
    return "; ".join(f"SET LOCAL {name} = {seconds * 1000:.0f}" for name in names)


@cache
def _staging(model: type[Record], columns: tuple[str, ...]) -> Table:
    """Return a table for rows that are not merged yet, in their order; its transaction drops it."""
    table = table_of(model)
    return Table(
        f"staged_{table.name}",
        MetaData(),
        Column(_POSITION, BigInteger, Identity(always=True)),
        *(Column(name, table.c[name].type) for name in columns),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
    )


@cache
def _merge(
    model: type[Record], columns: tuple[str, ...], on_conflict: OnConflict
) -> CompiledStatement:
    """Return what stores the rows of the staging table."""
    table, staged, key = table_of(model), _staging(model, columns), natural_key(model)
    assert key is not None, "nothing else is offered a conflict"
    parts = [_rebase(staged, part, table) for part in key.parts]
    staged_values = [staged.c[name] for name in columns]
    # in the order of the key, so that two imports lock rows in the same order, and cannot deadlock
    ordered = select(*staged_values).order_by(*parts, staged.c[_POSITION])
    if on_conflict == "update":
        last = select(*staged_values).ext(distinct_on(*parts))
        ordered = last.order_by(*parts, staged.c[_POSITION].desc())
    new = insert(table).from_select(columns, ordered)
    target: dict[str, Any] = {"index_elements": key.parts, "index_where": key.where}
    if on_conflict == "skip":
        return CompiledStatement(new.on_conflict_do_nothing(**target))
    given, there = ([each[name] for name in columns] for each in (new.excluded, table.c))
    differs = tuple_(*there).is_distinct_from(tuple_(*given))
    values = {**dict(zip(columns, given, strict=True)), **_with_every_change(table)}
    return CompiledStatement(new.on_conflict_do_update(**target, set_=values, where=differs))


def _with_every_change(table: Table) -> dict[str, Any]:
    """Return the columns that every change of a row sets, and to what."""
    values: dict[str, Any] = {"version": next_version(table)}
    for column in table.c:
        if isinstance(column.onupdate, ColumnElementColumnDefault):
            values[column.name] = column.onupdate.arg
    return values


def _rebase(staged: Table, part: ColumnElement[Any], table: Table) -> ColumnElement[Any]:
    """Return an expression of one table over the columns of the staging table."""

    def replaced(element: Any, **_: Any) -> Any:
        return staged.c[element.name] if getattr(element, "table", None) is table else None

    moved: ColumnElement[Any] = replacement_traverse(part, {}, replaced)
    return moved
