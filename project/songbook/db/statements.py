"""Statements of the model, compiled once for each shape; PostgreSQL writes the JSON of their rows.

Values are bound, so that a statement depends on its shape only.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, FromClause, Text, func, select
from sqlalchemy import (
    cast as sql_cast,
)
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.selectable import NamedFromClause
from sqlmodel import SQLModel

DIALECT = dialect()  # type: ignore[no-untyped-call]
SHAPES = 1000
"""How many compiled statements are kept of each kind, the least recently used given up first."""


class Query(NamedTuple):
    """A statement and its arguments, in the order of its parameters.

    A `shared` one only reads: one run of it answers all who ask the same at that time. `together`
    is for those who ask it with other arguments, too: it has an array of texts where this one has
    its only argument, and each of its rows ends with the one that it belongs to.
    """

    sql: str
    arguments: list[Any]
    shared: bool = False
    together: str = ""


NOTHING = Query("", [])  # what is known to have no row: it takes no connection


class Statement:
    """A compiled statement: its SQL, and the names of its values in the order of the parameters.

    `shared` and `together` are as of its queries.
    """

    def __init__(self, clause: ClauseElement, *, shared: bool = False, together: str = "") -> None:
        compiled = clause.compile(dialect=DIALECT)
        assert isinstance(compiled, SQLCompiler)
        self.sql = str(compiled)
        self._shared, self._together = shared, together
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
            self._shared,
            self._together,
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
    return select(json_of(shown)).scalar_subquery().label("document")
