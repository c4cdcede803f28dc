"""Owners: rows that belong to the user who created them."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    ForeignKeyConstraint,
    FromClause,
    Insert,
    Table,
    bindparam,
    or_,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import Field, SQLModel

from songbook.models.bases import mapped_classes

_OWNER = "songbook_owner"

OWNER_ID = bindparam("owner_", type_=BigInteger)
"""The id of the principal, which the executor of a statement binds."""


class Owner(SQLModel):
    """The base of `songbook.auth.Account`: the rows of its table own those of `Owned` tables."""


class Owned(SQLModel):
    """The row of a table belongs to the user who creates it: for the table class alone.

    Every statement is bound to the principal, and raises without one: a user sees and changes their
    own rows, a superuser all. Clients neither write nor see `owner_id`; unique fields are unique
    among the rows of an owner, and the rows of a user are deleted together with the user.
    """

    owner_id: int = Field(
        default=None, sa_type=BigInteger, sa_column_kwargs={"info": {_OWNER: True}}
    )


class _IsOwn(FunctionElement[bool]):
    """Is true of the rows of the principal; where all owners are asked for, of all rows."""

    name = "is_own"
    type = Boolean()
    inherit_cache = True


@compiles(_IsOwn)
def _render(element: _IsOwn, compiler: SQLCompiler, **options: Any) -> str:
    if getattr(compiler.dialect, "all_owners", False):
        return "true"
    [owner_id] = element.clauses
    return str(compiler.process(owner_id == OWNER_ID, **options))


class _IsReadable(_IsOwn):
    """Is true of the rows of the principal, if there is one, and of those that all may read."""

    name = "is_readable"
    inherit_cache = True


@compiles(_IsReadable)
def _render_readable(element: _IsReadable, compiler: SQLCompiler, **options: Any) -> str:
    if getattr(compiler.dialect, "all_owners", False):
        return "true"
    owner_id, readable = element.clauses
    return str(compiler.process(or_(owner_id == OWNER_ID, readable).self_group(), **options))


def is_own(model: type[Owned]) -> ColumnElement[bool]:
    """Return the condition that a row belongs to the principal, for a query of a service.

    It holds for all rows if the principal is a superuser.
    """
    return _IsOwn(model.__table__.c.owner_id)  # type: ignore[attr-defined]


def own_rows(source: FromClause) -> list[ColumnElement[bool]]:
    """Return the condition of `is_own` for a table or an alias, empty for one without owners."""
    return [_IsOwn(column) for column in owner_columns(source)]


def readable_rows(
    source: FromClause, readable: ColumnElement[bool] | None
) -> list[ColumnElement[bool]]:
    """Return the condition of the rows that the principal may read, empty without owners.

    Those are the own rows and, also without a principal, those for which `readable` holds.
    """
    if readable is None:
        return own_rows(source)
    return [_IsReadable(column, readable) for column in owner_columns(source)]


def names_owners(statement: ClauseElement) -> bool:
    """Return whether a statement has a condition on the owner already."""
    return any(isinstance(part, _IsOwn) for part in parts_of(statement))


def needs_principal(statement: ClauseElement) -> bool:
    """Return whether a statement has a condition or a value that there is not without a user."""
    parts = parts_of(statement)
    return any(part is OWNER_ID or type(part) is _IsOwn for part in parts)


def owner_columns(source: FromClause) -> list[ColumnElement[Any]]:
    """Return the column with the owner of a row, empty for a table whose rows have none."""
    owner_id = source.c.get("owner_id")
    return [owner_id] if owner_id is not None and _is_owner(owner_id) else []


def parts_of(statement: ClauseElement) -> list[Any]:
    """Return all parts of a statement, each once.

    `iterate` of SQLAlchemy returns a CTE as often as it is used: of 20 of which each uses the one
    before it twice, a million times.
    """
    found: dict[int, Any] = {}
    waiting: list[Any] = [statement]
    while waiting:
        part = waiting.pop()
        if id(part) not in found:
            found[id(part)] = part
            waiting.extend(part.get_children())
    return [*found.values()]


def check_owners(statement: ClauseElement, *, besides: Table | None = None) -> None:
    """Raise TypeError for a statement of an owned table without a condition on the owner.

    `besides` is the table of the statement that an expression becomes a part of.
    """
    parts = parts_of(statement)
    guarded = {_table_of(part) for part in parts if isinstance(part, _IsOwn)} | {besides}
    if any(part is OWNER_ID for part in parts):
        guarded |= {part.table for part in parts if isinstance(part, Insert)}
    for part in parts:
        if isinstance(part, Table) and owner_columns(part) and part not in guarded:
            raise TypeError(
                f"the rows of {part.name} have owners: add the condition `is_own(…)` of"
                " songbook.models to the query, or say `all_owners=True`"
            )


def accounts_beside(table: Table) -> type[Owner] | None:
    """Return the class of the accounts among the tables with the same metadata."""
    owners: list[type[Any]] = [each for each in mapped_classes() if issubclass(each, Owner)]
    found = (each for each in owners if each.__table__.metadata is table.metadata)
    return next(found, None)


def tie_owners(models: Iterable[type[Any]]) -> None:
    """Let `owner_id` refer to the table of the accounts. Raises TypeError if there is none."""
    for model in models:
        if not issubclass(model, Owned) or not hasattr(model, "__table__"):
            continue
        table: Table = model.__table__
        owner = accounts_beside(table)
        if owner is None:
            raise TypeError(
                f"{model.__name__} is Owned, but no table class inherits songbook.auth.Account:"
                " its rows would have no owners"
            )
        if not table.c.owner_id.foreign_keys:
            id_ = owner.__table__.c.id  # type: ignore[attr-defined]
            key = ForeignKeyConstraint([table.c.owner_id], [id_], ondelete="CASCADE")
            table.append_constraint(key)


def _is_owner(column: ColumnElement[Any]) -> bool:
    """Return whether a column of a table or an alias is the owner of its rows."""
    return any(_OWNER in getattr(each, "info", {}) for each in column.base_columns)


def _table_of(condition: _IsOwn) -> FromClause:
    owner_id, *_ = condition.clauses
    [column] = owner_id.base_columns
    table: FromClause = column.table
    return table
