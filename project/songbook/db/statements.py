"""Statements of the model, compiled once for each shape; PostgreSQL writes the JSON of their rows.

Values are bound, so that a statement depends on its shape only.
"""

from collections.abc import Callable, Mapping, Sequence
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
MAX_STATEMENTS = 1000
"""The size of the cache of compiled statements of each kind (least recently used)."""


class BoundStatement(NamedTuple):
    """A statement and its arguments, in the order of its parameters.

    With `coalesce` it only reads: concurrent identical calls may share one execution. `batch_sql`
    also serves concurrent calls with other arguments: it takes an array of texts in place of the
    only argument, and its rows have that argument as `id`.
    """

    sql: str
    arguments: list[Any]
    coalesce: bool = False
    batch_sql: str = ""


NO_ROW = BoundStatement("", [])
"""Stands for a statement that is known to have no row: it takes no connection."""


class CompiledStatement:
    """A compiled statement: its SQL, and the names of its values in the order of the parameters.

    `coalesce` and `batch_sql` are as of BoundStatement.
    """

    def __init__(
        self, clause: ClauseElement, *, coalesce: bool = False, batch_sql: str = ""
    ) -> None:
        compiled = clause.compile(dialect=DIALECT)
        assert isinstance(compiled, SQLCompiler)
        self._coalesce, self._batch_sql = coalesce, batch_sql
        names: Sequence[str] | None = compiled.positiontup
        self.sql, params = str(compiled), compiled.params
        # what SQLAlchemy itself applies to the values
        processors = cast("dict[str, Callable[[Any], Any]]", compiled._bind_processors)  # noqa: SLF001
        if compiled.post_compile_params:  # the values of an IN, whose places are not written yet
            state = compiled.construct_expanded_state(params)
            self.sql, names, params = state.statement, state.positiontup, state.parameters
            processors = {**processors, **cast("dict[str, Any]", state.processors)}
        self._parameters = [(name, processors.get(name)) for name in names or ()]
        given_later = {bind.key for bind in compiled.binds.values() if bind.required}
        self._constants = {name: params[name] for name in params.keys() - given_later}

    def bind(self, values: Mapping[str, Any]) -> BoundStatement:
        """Return the statement with `values`, in the order and the form that the driver wants."""
        given = {**self._constants, **values}
        return BoundStatement(
            self.sql,
            [
                process(given[name]) if process else given[name]
                for name, process in self._parameters
            ],
            self._coalesce,
            self._batch_sql,
        )


def public_columns(source: FromClause, public: type[SQLModel]) -> list[ColumnElement[Any]]:
    """Return the columns of `source` that a client is shown, in the order of the Public class."""
    return [source.c[name] for name in public.model_fields]


def row_to_json(rows: NamedFromClause) -> ColumnElement[str]:
    """Return the JSON text of each of the rows, written by PostgreSQL."""
    return sql_cast(func.row_to_json(rows.table_valued()), Text)


def document(source: FromClause, public: type[SQLModel]) -> ColumnElement[str]:
    """Return the JSON text of a row of `source` with the keys of the Public class."""
    shown = select(*public_columns(source, public)).correlate(source).subquery("shown")
    return select(row_to_json(shown)).scalar_subquery().label("document")
