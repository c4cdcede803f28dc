"""Representations: which members of a record responses have."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from sqlalchemy import (
    JSON,
    BindParameter,
    Column,
    ColumnElement,
    Exists,
    FromClause,
    ScalarSelect,
    SQLColumnExpression,
    Table,
    and_,
    true,
)
from sqlalchemy.sql import coercions, roles
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.visitors import iterate, replacement_traverse
from sqlalchemy.types import NullType
from sqlmodel import SQLModel

from songbook.models.bases import Record
from songbook.models.owners import check_owners, own_rows, owner_columns, readable_rows
from songbook.models.tables import column_types, table_of


@dataclass(frozen=True, eq=False)
class Representation:
    """A table, and its Public class: the columns, and the computed members, that responses have.

    A computed member is an SQL expression over the columns of the table, such as
    `Song.year // 10 * 10`, or a scalar subquery that is correlated to the table.
    """

    table: type[Record]
    public: type[SQLModel]
    computed: Mapping[str, SQLColumnExpression[Any]] = field(default_factory=dict)
    readable: SQLColumnExpression[bool] | None = None
    """The rows of an `Owned` table that others than the owner may read, too."""

    def __post_init__(self) -> None:
        """Raise TypeError for a member of the Public class that PostgreSQL could not write."""
        columns, types = table_of(self.table).c, column_types(self.table)
        name = self.public.__name__
        if self.readable is not None and not owner_columns(table_of(self.table)):
            raise TypeError(f"{self.table.__name__} is not Owned: all may read its rows")
        for member in self.public.model_computed_fields:
            raise TypeError(
                f"{name}.{member}: the table {self.table.__name__} has no such column: pass it as"
                " `computed`, an SQL expression, since PostgreSQL writes the JSON"
            )
        for member in self.computed:
            if member in columns or member not in self.public.model_fields:
                raise TypeError(f"{name}.{member}: a computed member is a field of {name} alone")
            check_owners(self._computed[member], table_of(self.table))
        for member in self.public.model_fields.keys() - self.computed:
            if member not in columns:
                raise TypeError(
                    f"{name}.{member}: the table {self.table.__name__} has no such column: leave it"
                    " out, or pass it as `computed`"
                )
            if member not in types:
                raise TypeError(f"{name}.{member}: {columns[member].type!r} cannot be shown")

    @cached_property
    def members(self) -> tuple[str, ...]:
        """The names of the members, in the order of the Public class."""
        return tuple(self.public.model_fields)

    @cached_property
    def stored(self) -> list[Column[Any]]:
        """The columns of the table that the members are made of."""
        columns, names = table_of(self.table).c, {*self.public.model_fields}
        for expression in self._computed.values():
            parts: Iterator[Any] = iterate(expression)
            names |= {part.name for part in parts if _belongs_to(part, columns)}
        return [column for column in columns if column.name in names]

    @cached_property
    def has_computed_json(self) -> bool:
        """Whether a computed member may be JSON; of most functions SQLAlchemy knows no type."""
        return any(isinstance(each.type, JSON | NullType) for each in self._computed.values())

    def columns(self, source: FromClause, fields: Sequence[str] = ()) -> list[ColumnElement[Any]]:
        """Return the members, over the table or a query of its `stored` columns or its members.

        With `fields` only these.
        """
        return [
            source.c[name]
            if name in source.c
            else rebase(self._computed[name], table_of(self.table), source).label(name)
            for name in fields or self.members
        ]

    def readable_rows(self, source: FromClause) -> list[ColumnElement[bool]]:
        """Return the condition of the rows that the principal may read, of a table or an alias."""
        if self.readable is None:
            return own_rows(source)
        own: ColumnElement[bool] = _replace(and_(self.readable), _literal)
        return readable_rows(source, rebase(own, table_of(self.table), source))

    @property
    def is_readable(self) -> ColumnElement[bool]:
        """The condition that the principal may read a row, for a query of a service."""
        return and_(true(), *self.readable_rows(table_of(self.table)))

    @cached_property
    def _computed(self) -> dict[str, ColumnElement[Any]]:
        """The computed members with their constants as literals, not as parameters."""
        expect: Any = partial(coercions.expect, roles.ExpressionElementRole)
        return {name: _replace(expect(each), _literal) for name, each in self.computed.items()}


def rebase(expression: ColumnElement[Any], table: Table, source: FromClause) -> ColumnElement[Any]:
    """Return an expression over the columns of a table as one over those of another source."""

    def replaced(element: Any) -> Any:
        return source.c[element.name] if _belongs_to(element, table.c) else None

    def correlated(element: Any) -> Any:
        is_subquery = isinstance(element, ScalarSelect | Exists)
        return element.correlate(source) if is_subquery else None

    return _replace(_replace(expression, replaced), correlated)


def _replace(expression: ColumnElement[Any], replaced: Callable[[Any], Any]) -> ColumnElement[Any]:
    traverse: Any = replacement_traverse
    found: ColumnElement[Any] = traverse(expression, {}, lambda element, **_: replaced(element))
    return found


def _literal(element: Any) -> Any:
    return element.render_literal_execute() if isinstance(element, BindParameter) else None


def _belongs_to(part: Any, columns: ReadOnlyColumnCollection[str, Column[Any]]) -> bool:
    return isinstance(part, Column) and columns.contains_column(part)
