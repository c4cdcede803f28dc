"""What is asked of the database: typed statements of the model, compiled once for each shape.

Each answers with one row: the JSON text that PostgreSQL wrote of exactly the columns of the Public
class, and what the headers need. Values are bound, so that a statement depends on its shape only.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import (
    CTE,
    Integer,
    Table,
    Text,
    and_,
    any_,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    true,
    update,
)
from sqlalchemy import (
    cast as sql_cast,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.sql import ClauseElement, ColumnElement, FromClause
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.selectable import NamedFromClause
from sqlmodel import SQLModel

from app.db import Query
from app.preconditions import Tags
from app.records import Record, table_of

_DIALECT = dialect()  # type: ignore[no-untyped-call]
SHAPES = 1000
"""How many compiled statements are kept of each kind, the least recently used given up first."""


class Statement:
    """A compiled statement: its SQL, and the names of its values in the order of the parameters."""

    def __init__(self, clause: ClauseElement) -> None:
        compiled = clause.compile(dialect=_DIALECT)
        assert isinstance(compiled, SQLCompiler)
        self.sql = str(compiled)
        # what SQLAlchemy itself applies to the values
        processors = cast("dict[str, Callable[[Any], Any]]", compiled._bind_processors)  # noqa: SLF001
        self._parameters = [(name, processors.get(name)) for name in compiled.positiontup or ()]
        self._constants = {
            name: value for name, value in compiled.params.items() if value is not None
        }

    def of(self, values: Mapping[str, Any]) -> Query:
        """Return the statement with `values`, in the order and the form that the driver wants."""
        given = {**self._constants, **values}
        return Query(
            self.sql,
            [
                process(given[name]) if process else given[name]
                for name, process in self._parameters
            ],
        )


def public_columns(source: FromClause, public: type[SQLModel]) -> list[ColumnElement[Any]]:
    """Return the columns of `source` that a client is shown, in the order of the Public class."""
    return [source.c[name] for name in public.model_fields]


def json_of(rows: NamedFromClause) -> ColumnElement[str]:
    """Return the JSON text of each of the rows, written by PostgreSQL."""
    return sql_cast(func.row_to_json(rows.table_valued()), Text)


def document(source: FromClause, public: type[SQLModel]) -> ColumnElement[str]:
    """Return the JSON text of a row of `source` with the keys of the Public class."""
    shown = select(*public_columns(source, public)).correlate(source).subquery("shown")
    return select(json_of(shown)).scalar_subquery()


def found(model: type[Record], public: type[SQLModel], id: int) -> Query:
    """Read a record: its version and its JSON."""
    return _found(model, public).of({"id": id})


def created(model: type[Record], public: type[SQLModel], fields: Mapping[str, Any]) -> Query:
    """Store a record: its id, its version and its JSON."""
    return _created(model, public, tuple(fields)).of(fields)


def changed(
    model: type[Record],
    public: type[SQLModel],
    id: int,
    fields: Mapping[str, Any],
    if_match: Tags | None,
) -> Query:
    """Change these fields of a record: the version before, the version after and the JSON.

    The version after is null when the record did not match; there is no row without a record.
    """
    versions = None if if_match is None or if_match.any else if_match.versions(public)
    statement = _changed(model, public, tuple(fields), matched=versions is not None)
    return statement.of({**fields, "id_": id, "versions_": versions})


def removed(model: type[Record], public: type[SQLModel], id: int, if_match: Tags | None) -> Query:
    """Delete a record: the version before, and the id or null when the record did not match."""
    versions = None if if_match is None or if_match.any else if_match.versions(public)
    return _removed(model, matched=versions is not None).of({"id_": id, "versions_": versions})


@lru_cache(SHAPES)
def _found(model: type[Record], public: type[SQLModel]) -> Statement:
    table = table_of(model)
    key = table.c.id == bindparam("id")
    return Statement(select(table.c.version, document(table, public)).where(key))


@lru_cache(SHAPES)
def _created(model: type[Record], public: type[SQLModel], fields: tuple[str, ...]) -> Statement:
    table = table_of(model)
    new = (
        insert(table)
        .values({name: bindparam(name) for name in fields})
        .returning(table.c.version, *public_columns(table, public))
        .cte("created")
    )
    return Statement(select(new.c.id, new.c.version, document(new, public)))


def _current(table: Table, *, locked: bool) -> CTE:
    """Find the record, locked for a change: else the statement could name a stale version."""
    found = select(table.c.id, table.c.version).where(table.c.id == bindparam("id_"))
    return (found.with_for_update() if locked else found).cte("current")


def _matching(table: Table, current: CTE, *, matched: bool) -> ColumnElement[bool]:
    same = table.c.id == current.c.id
    versions = any_(bindparam("versions_", type_=ARRAY(Integer)))
    return and_(same, current.c.version == versions) if matched else same


@lru_cache(SHAPES)
def _changed(
    model: type[Record], public: type[SQLModel], fields: tuple[str, ...], *, matched: bool
) -> Statement:
    table = table_of(model)
    current = _current(table, locked=bool(fields))
    condition = _matching(table, current, matched=matched)
    shown = (table.c.version, *public_columns(table, public))
    if fields:
        values: dict[str, Any] = {name: bindparam(name) for name in fields} | {
            "version": table.c.version + text("1")
        }
        after = update(table).values(values).where(condition).returning(*shown).cte("changed")
    else:
        after = select(*shown).where(condition).cte("changed")
    joined = current.outerjoin(after, true())
    return Statement(
        select(current.c.version, after.c.version, document(after, public)).select_from(joined)
    )


@lru_cache(SHAPES)
def _removed(model: type[Record], *, matched: bool) -> Statement:
    table = table_of(model)
    current = _current(table, locked=True)
    condition = _matching(table, current, matched=matched)
    gone = delete(table).where(condition).returning(table.c.id).cte("removed")
    joined = current.outerjoin(gone, true())
    return Statement(select(current.c.version, gone.c.id).select_from(joined))
