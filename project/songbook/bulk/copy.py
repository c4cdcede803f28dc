"""PostgreSQL's COPY, in both directions: many rows in one statement."""

import asyncio
import sys
from array import array
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import cache, partial
from typing import Any, BinaryIO, Literal

import asyncpg
from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    MetaData,
    Table,
    delete,
    exists,
    func,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, distinct_on, insert
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.schema import ColumnElementColumnDefault

from songbook.db import DIALECT, BoundStatement, CompiledStatement, Database, Use
from songbook.errors import ServiceUnavailable
from songbook.http import CSV, NDJSON
from songbook.models import (
    Record,
    living,
    natural_key,
    next_version,
    own_rows,
    rebase,
    table_of,
)

# PostgreSQL's own timeout comes first: it says what happened.
_MARGIN_SECONDS = 5

# JSON escapes control characters: with these COPY has nothing to quote.
_COPY_OPTIONS: dict[str, dict[str, Any]] = {
    CSV: {"format": "csv", "header": True},
    NDJSON: {"format": "csv", "delimiter": "\x01", "quote": "\x02"},
}
_POSITION = "place_"
"""The column of a staging table with the order of the rows."""

OnConflict = Literal["abort", "skip", "update"]


async def copy_out(
    db: Database,
    query: BoundStatement,
    media_type: str,
    sink: Callable[[bytes], Awaitable[None]],
    client: str = "",
) -> int:
    """Send the rows of a query to `sink` in chunks, at its speed; return the number of rows.

    Raises ServiceUnavailable without a free connection, TimeoutError, and asyncpg's errors.
    """
    query = db.resolve(query)
    async with db.bulk(db.pool_timeout, Use.LIST, client) as connection:
        await connection.execute(f"BEGIN READ ONLY; {bulk_settings(db.bulk_seconds)}")
        copy = partial(
            connection.copy_from_query,
            query.sql,
            *query.arguments,
            timeout=db.bulk_seconds + 2 * _MARGIN_SECONDS,
            **_COPY_OPTIONS[media_type],
        )
        async with asyncio.timeout(db.bulk_seconds + _MARGIN_SECONDS):
            copied = await db.observed(f"COPY ({query.sql}) TO STDOUT", _deliver(copy, sink))
        await connection.execute("COMMIT")
        return _rowcount(copied)


async def _deliver(
    copy: Callable[..., Coroutine[Any, Any, str]], sink: Callable[[bytes], Awaitable[None]]
) -> str:
    """Run a COPY whose output is `sink`; return its command tag. Raises what `sink` raises.

    asyncpg sends a cancel request when its sink raises, also when PostgreSQL has sent everything;
    then nobody responds to it, and closing the connection takes until its timeout. So ours does not
    raise: the COPY is cancelled where asyncpg waits for more of it.
    """
    failures: list[BaseException] = []

    async def deliver(chunk: bytes) -> None:
        try:
            await sink(chunk)
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)
            asyncio.get_running_loop().call_soon(copying.cancel)

    copying = asyncio.create_task(copy(output=deliver))
    try:
        copied = await copying
    except asyncio.CancelledError:
        if not failures:
            raise
    if failures:
        raise failures[0]
    return copied


async def copy_in(
    db: Database,
    connection: asyncpg.Connection,
    into: Table,
    columns: Sequence[str],
    rows: BinaryIO,
) -> int:
    """Store rows in COPY's text format, in a transaction with `bulk_settings`; return their number.

    Raises TimeoutError, ServiceUnavailable and asyncpg's errors.
    """
    seconds = db.bulk_seconds + _MARGIN_SECONDS
    _ignore_lost_futures()
    try:
        copying = connection.copy_to_table(into.name, source=rows, columns=columns, timeout=seconds)
        copied = await db.observed(f"COPY {into.name} FROM STDIN", copying)
    except RuntimeError as error:
        if connection.is_closed():  # uvloop does not write to a connection that broke meanwhile
            raise ServiceUnavailable from error
        raise
    return _rowcount(copied)


def _ignore_lost_futures() -> None:
    """Let the running event loop report no future of asyncpg with the end of a connection.

    If one breaks amid a COPY, asyncpg fails a second time, when it would tell PostgreSQL, and
    forgets the future with the first failure. `copy_in` raises the second.
    """
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    if getattr(handler, "func", None) is not _report:
        loop.set_exception_handler(partial(_report, handler))


def _report(
    handler: Callable[[AbstractEventLoop, dict[str, Any]], object] | None,
    loop: AbstractEventLoop,
    context: dict[str, Any],
) -> None:
    is_end = isinstance(context.get("exception"), asyncpg.ConnectionDoesNotExistError)
    if is_end and not isinstance(context.get("future"), asyncio.Task):
        return
    if handler is None:
        loop.default_exception_handler(context)
    else:
        handler(loop, context)


async def stage(
    db: Database,
    connection: asyncpg.Connection,
    model: type[Record],
    columns: Sequence[str],
    rows: BinaryIO,
) -> None:
    """Store rows as `copy_in` does, in a temporary table for `discard_orphans` and `merge`."""
    staging = _staging(model, tuple(columns))
    await connection.execute(str(CreateTable(staging).compile(dialect=DIALECT)))
    await copy_in(db, connection, staging, columns, rows)


def references_of(model: type[Record], columns: Sequence[str]) -> list[str]:
    """Return those of the columns that are foreign keys."""
    return [name for name in columns if table_of(model).c[name].foreign_keys]


async def discard_orphans(
    db: Database,
    connection: asyncpg.Connection,
    model: type[Record],
    columns: Sequence[str],
    reference: str,
) -> "array[int]":
    """Delete staged rows whose reference is to no record; return their places in order.

    The records of the others are locked.
    """
    statement = db.resolve(_discard_orphans(model, tuple(columns), reference).bind({}))
    seconds = db.bulk_seconds + _MARGIN_SECONDS
    fetching = connection.fetchval(statement.sql, *statement.arguments, timeout=seconds)
    content: bytes | None = await db.observed(statement.sql, fetching)
    places = array("q", content or b"")
    if sys.byteorder == "little":  # in PostgreSQL's binary format the first byte is the highest
        places.byteswap()
    return places


async def merge(
    db: Database,
    connection: asyncpg.Connection,
    model: type[Record],
    columns: Sequence[str],
    on_conflict: OnConflict,
) -> int:
    """Store staged rows; return the number of rows that were inserted or updated.

    With `skip` rows whose natural key exists are left out; with `update` they replace the existing
    row if they differ, and the last row of a key wins.
    """
    statement = _merge(model, tuple(columns), on_conflict).bind({})
    seconds = db.bulk_seconds + _MARGIN_SECONDS
    merging = connection.execute(statement.sql, *statement.arguments, timeout=seconds)
    return _rowcount(await db.observed(statement.sql, merging))


def _rowcount(tag: str) -> int:
    """Return the number of rows in a command tag."""
    return int(tag.rpartition(" ")[2])


def bulk_settings(seconds: float) -> str:
    """Return the SQL that sets the timeouts of a transaction."""
    names = ("statement_timeout", "idle_in_transaction_session_timeout")
    return "; ".join(f"SET LOCAL {name} = {seconds * 1000:.0f}" for name in names)


@cache
def _staging(model: type[Record], columns: tuple[str, ...]) -> Table:
    """Return the temporary table for `_merge`, dropped at the end of the transaction."""
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
def _discard_orphans(
    model: type[Record], columns: tuple[str, ...], reference: str
) -> CompiledStatement:
    """Compile the DELETE of the rows without a parent.

    The parents are locked, so that none of them is deleted before the rows are stored.
    """
    staged = _staging(model, columns)
    [foreign_key] = table_of(model).c[reference].foreign_keys
    parents, key = foreign_key.column.table, foreign_key.column
    referred = key.in_(select(staged.c[reference]))
    found = select(key.label("id")).where(referred, *living(parents), *own_rows(parents))
    locked = found.with_for_update(read=True, key_share=True).cte("locked")
    is_orphan = staged.c[reference].is_not(None) & ~exists().where(
        locked.c.id == staged.c[reference]
    )
    gone = delete(staged).where(is_orphan).returning(staged.c[_POSITION]).cte("gone")
    # eight bytes each, a fifth of what a list of as many integers takes
    place = func.int8send(gone.c[_POSITION])
    places = func.string_agg(place, aggregate_order_by(text("''::bytea"), gone.c[_POSITION]))
    return CompiledStatement(select(places))


@cache
def _merge(
    model: type[Record], columns: tuple[str, ...], on_conflict: OnConflict
) -> CompiledStatement:
    """Compile the INSERT from the staging table, whose rows have their owner."""
    table, staged, key = table_of(model), _staging(model, columns), natural_key(model)
    assert key is not None, "on_conflict is only offered with a natural key"
    parts = [rebase(part, table, staged) for part in key.parts]
    staged_values = [staged.c[name] for name in columns]
    # ordered by the key, so that two imports lock rows in the same order and cannot deadlock
    ordered = select(*staged_values).order_by(*parts, staged.c[_POSITION])
    if on_conflict == "update":
        last = select(*staged_values).ext(distinct_on(*parts))
        ordered = last.order_by(*parts, staged.c[_POSITION].desc())
    new = insert(table).from_select(columns, ordered)
    target: dict[str, Any] = {"index_elements": key.parts, "index_where": key.where}
    if on_conflict == "skip":
        return CompiledStatement(new.on_conflict_do_nothing(**target), all_owners=True)
    excluded, existing = ([each[name] for name in columns] for each in (new.excluded, table.c))
    differs = tuple_(*existing).is_distinct_from(tuple_(*excluded))
    values = {**dict(zip(columns, excluded, strict=True)), **_onupdate(table)}
    merged = new.on_conflict_do_update(**target, set_=values, where=differs)
    return CompiledStatement(merged, all_owners=True)


def _onupdate(table: Table) -> dict[str, Any]:
    """Return the columns that every UPDATE sets, with their values."""
    values: dict[str, Any] = {"version": next_version(table)}
    for column in table.c:
        if isinstance(column.onupdate, ColumnElementColumnDefault):
            values[column.name] = column.onupdate.arg
    return values
