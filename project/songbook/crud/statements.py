"""The statements for single records.

Each returns one row: `document`, the JSON of the members of the Public class, and the columns for
the headers; with computed members or a view also the `digest` of the document. No record has the
id 0.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    Delete,
    Integer,
    Select,
    SQLColumnExpression,
    Table,
    Text,
    Update,
    and_,
    any_,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    null,
    select,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql import ColumnElement

from songbook.crud.views import ITSELF, View
from songbook.db import (
    MAX_STATEMENTS,
    NO_ROW,
    BoundStatement,
    CompiledStatement,
    Use,
    document,
)
from songbook.models import (
    OWNER_ID,
    Record,
    Representation,
    next_version,
    not_deleted,
    own_rows,
    owner_columns,
    table_of,
)


def select_record(shown: Representation, id: int, view: View = ITSELF) -> BoundStatement:
    """Select a record: its `id`, `version` and `document`."""
    return _select(shown, view).bind({"id": id}) if id else NO_ROW


def insert_record(shown: Representation, fields: Mapping[str, Any]) -> BoundStatement:
    """Insert a record: its `id`, `version` and `document`."""
    return _insert(shown, tuple(fields)).bind(fields)


def update_record(
    shown: Representation,
    id: int,
    fields: Mapping[str, Any],
    versions: Sequence[int] | None,
) -> BoundStatement:
    """Update a record in one of these versions: `id`, `current_version`, `version`, `document`.

    The current version is that before the update; `version` is null if the record did not match. A
    value may be an SQL expression; such a statement is compiled each time.
    """
    if not id:
        return NO_ROW
    values: dict[str, Any] = {**fields, "id_": id, "versions_": versions}
    matched = versions is not None
    if [value for value in fields.values() if isinstance(value, SQLColumnExpression)]:
        return _update(shown, fields, matched=matched).bind(values)
    return _update_values(shown, tuple(fields), matched=matched).bind(values)


def delete_record(model: type[Record], id: int, versions: Sequence[int] | None) -> BoundStatement:
    """Delete a record: `id`, `current_version`, and `deleted_id`, null if it did not match."""
    statement = _delete(model, matched=versions is not None)
    return statement.bind({"id_": id, "versions_": versions}) if id else NO_ROW


def restore_record(shown: Representation, id: int) -> BoundStatement:
    """Restore a deleted record: the columns of `update_record`.

    One that is not deleted is unchanged. Raises UniqueViolationError if a value is in use again.
    """
    return _restore(shown).bind({"id_": id}) if id else NO_ROW


@lru_cache(MAX_STATEMENTS)
def _select(shown: Representation, view: View) -> CompiledStatement:
    table = table_of(shown.table)
    columns = (table.c.id, table.c.version, document(table, shown, view.expand, view.fields))
    living = [*not_deleted(shown.table), *shown.readable_rows(table)]
    # text[], since asyncpg would look up the type bigint[]
    ids = any_(cast(bindparam("id", type_=ARRAY(Text)), ARRAY(BigInteger)))
    many = select(*columns).where(table.c.id == ids, *living)
    batch_sql = CompiledStatement(_hashed(many, shown, view)).sql
    one = select(*columns).where(table.c.id == bindparam("id"), *living)
    one = _hashed(one, shown, view)
    return CompiledStatement(one, coalesce=True, batch_sql=batch_sql, use=Use.ROW)


def _hashed(statement: Select[Any], shown: Representation, view: View = ITSELF) -> Select[Any]:
    """Add the `digest` of the document where the version alone does not tell what it shows."""
    if view == ITSELF and not shown.computed:
        return statement
    rows = statement.subquery("rows")
    content = func.sha256(func.convert_to(rows.c.document, text("'UTF8'")))
    return select(*rows.c, func.encode(content, text("'hex'")).label("digest"))


@lru_cache(MAX_STATEMENTS)
def _insert(shown: Representation, fields: tuple[str, ...]) -> CompiledStatement:
    table = table_of(shown.table)
    new = (
        insert(table)
        .values(_insertable(table, {name: bindparam(name) for name in fields}))
        .returning(table.c.version, *shown.stored)
        .cte("created")
    )
    created = select(new.c.id, new.c.version, document(new, shown))
    return CompiledStatement(_hashed(created, shown), use=Use.WRITE)


def _current(model: type[Record]) -> Select[Any]:
    """Select the record, to be locked for a change so that its version is current."""
    table = table_of(model)
    key = table.c.id == bindparam("id_")
    return select(table.c.id, table.c.version).where(key, *not_deleted(model), *own_rows(table))


def _matching(table: Table, current: CTE, *, matched: bool) -> ColumnElement[bool]:
    same = and_(table.c.id == current.c.id, *own_rows(table))
    versions = any_(bindparam("versions_", type_=ARRAY(Integer)))
    return and_(same, current.c.version == versions) if matched else same


@lru_cache(MAX_STATEMENTS)
def _update_values(
    shown: Representation, fields: tuple[str, ...], *, matched: bool
) -> CompiledStatement:
    values: dict[str, Any] = {name: bindparam(name) for name in fields}
    return _update(shown, values, matched=matched)


def _update(
    shown: Representation, fields: Mapping[str, Any], *, matched: bool
) -> CompiledStatement:
    table = table_of(shown.table)
    selected = _current(shown.table)
    # children of the record can be stored meanwhile
    locked = selected.with_for_update(key_share=True) if fields else selected
    current = locked.cte("current")
    condition = _matching(table, current, matched=matched)
    stored = (table.c.version, *shown.stored)
    if fields:
        after = _next_version(table, fields).where(condition).returning(*stored).cte("changed")
    else:
        after = select(*stored).where(condition).cte("changed")
    joined = current.outerjoin(after, true())
    before = current.c.version.label("current_version")
    columns = (current.c.id, before, after.c.version, document(after, shown))
    return CompiledStatement(_hashed(select(*columns).select_from(joined), shown), use=Use.WRITE)


def _next_version(table: Table, values: Mapping[str, Any]) -> Update:
    return update(table).values({**_referring(table, values), "version": next_version(table)})


def _insertable(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a new row, with its owner."""
    return {**{each.name: OWNER_ID for each in owner_columns(table)}, **_referring(table, values)}


def _referring(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values whose references to the records of other owners are to no record (409)."""
    return {name: _reference(table.c[name], value) for name, value in values.items()}


def _reference(column: ColumnElement[Any], value: Any) -> Any:
    """Return the value of a column: of a reference to an owned table 0, the id of no record."""
    for key in getattr(column, "foreign_keys", ()):
        parents = key.column.table.alias()
        if own := own_rows(parents):
            found = select(parents.c.id).where(parents.c.id == value, *own).scalar_subquery()
            return case((cast(value, BigInteger).is_not(None), func.coalesce(found, text("0"))))
    return value


@lru_cache(MAX_STATEMENTS)
def _delete(model: type[Record], *, matched: bool) -> CompiledStatement:
    table = table_of(model)
    current = _current(model).with_for_update().cte("current")
    condition = _matching(table, current, matched=matched)
    statement: Update | Delete = delete(table)
    if not_deleted(model):
        statement = _next_version(table, {"deleted_at": func.clock_timestamp()})
    deleted = statement.where(condition).returning(table.c.id).cte("removed")
    joined = current.outerjoin(deleted, true())
    before = current.c.version.label("current_version")
    deleted_id = deleted.c.id.label("deleted_id")
    removed = select(current.c.id, before, deleted_id).select_from(joined)
    return CompiledStatement(removed, use=Use.WRITE)


@lru_cache(MAX_STATEMENTS)
def _restore(shown: Representation) -> CompiledStatement:
    table = table_of(shown.table)
    stored = (table.c.version, *shown.stored)
    is_one = and_(table.c.id == bindparam("id_"), *own_rows(table))
    locked = select(table.c.id, table.c.deleted_at, *stored).where(is_one).with_for_update()
    current = locked.cte("current")
    deleted = _matching(table, current, matched=False) & current.c.deleted_at.is_not(None)
    again = _next_version(table, {"deleted_at": null()}).where(deleted).returning(*stored)
    columns = (current.c[column.name] for column in stored)
    kept = select(*columns).where(current.c.deleted_at.is_(None))
    after = union_all(select(again.cte("restored")), kept).cte("after")
    before = after.c.version.label("current_version")
    restored = select(after.c.id, before, after.c.version, document(after, shown))
    return CompiledStatement(_hashed(restored, shown), use=Use.WRITE)
