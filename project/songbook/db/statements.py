"""Compiled statements with bound values, and rows as JSON from PostgreSQL."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

from sqlalchemy import (
    JSON,
    ColumnElement,
    Dialect,
    FromClause,
    Numeric,
    Text,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.selectable import NamedFromClause

from songbook.models import (
    OWNER_ID,
    CheckedDialect,
    OwnersCompiler,
    Relation,
    Representation,
    living,
    needs_principal,
    require_owners,
    table_of,
)

DIALECT: Dialect = CheckedDialect()  # type: ignore[no-untyped-call]
_OF_ALL_OWNERS: Dialect = CheckedDialect()  # type: ignore[no-untyped-call]
_OF_ALL_OWNERS.all_owners = True  # type: ignore[attr-defined] # for the condition of `is_own`
MAX_STATEMENTS = 1000
"""The size of the cache of compiled statements of each kind (least recently used)."""

MAX_CHILDREN = 20
"""How many children of a record `expand` shows."""


class Use(IntEnum):
    """What a connection is used for: lists and writes take a part of the pool each, at most."""

    ROW = 0
    """A statement that reads single rows by their keys."""

    LIST = 1
    """A statement or a COPY that may read many rows; also one that nothing is known of."""

    WRITE = 2
    """A statement or a transaction that may wait for locks."""


class Principal(Protocol):
    """The user for whom a statement of an owned table runs."""

    @property
    def id(self) -> int | None:
        """The owner of rows to insert and, unless `is_superuser`, of those to read and change."""

    @property
    def is_superuser(self) -> bool:
        """Whether the rows of all owners are read and changed."""


def require_principal(principal: Principal | None) -> Principal:
    """Return the principal. Raises RuntimeError without one: it must not mean all owners."""
    if principal is None:
        raise RuntimeError(
            "the statement is of an owned table, and nobody is signed in: give the route the"
            " permission OWNER and run the statement on its ReadDep, WriteDep, TransactionDep or"
            " SessionDep; a query of all owners says `all_owners=True`"
        )
    return principal


class BoundStatement(NamedTuple):
    """SQL and its arguments.

    With `coalesce` it only reads: concurrent identical calls may share one execution. `batch_sql`
    takes an array of texts in place of the only argument, and its rows have that argument as `id`:
    it serves concurrent calls with other arguments, too.
    """

    sql: str
    arguments: list[Any]
    coalesce: bool = False
    batch_sql: str = ""
    use: Use = Use.LIST
    bind_principal: "Callable[[Principal | None], BoundStatement] | None" = None
    """Returns the SQL and the arguments of a statement of owned tables, which has none before."""


_UNBOUND = "-- a statement of an owned table is run by the executor of a request"

NO_ROW = BoundStatement("", [])
"""A statement that is known to have no row and is not executed."""


class _CompiledSQL:
    """Compiled SQL and how its arguments are made of named values."""

    def __init__(self, clause: ClauseElement, dialect: Dialect) -> None:
        compiled = clause.compile(dialect=dialect)
        assert isinstance(compiled, OwnersCompiler)
        self.unguarded = compiled.unguarded
        names: Sequence[str] | None = compiled.positiontup
        self.sql, params = str(compiled), compiled.params
        # the conversions that SQLAlchemy applies to values
        processors = cast("dict[str, Callable[[Any], Any]]", compiled._bind_processors)  # noqa: SLF001
        # the values of an IN, whose places are not written yet, and literals
        if compiled.post_compile_params or compiled.literal_execute_params:
            state = compiled.construct_expanded_state(params)
            self.sql, names, params = state.statement, state.positiontup, state.parameters
            processors = {**processors, **cast("dict[str, Any]", state.processors)}
        self._parameters = [(name, processors.get(name)) for name in names or ()]
        given_later = {bind.key for bind in compiled.binds.values() if bind.required}
        self._constants = {name: params[name] for name in params.keys() - given_later}
        self.is_owned = OWNER_ID.key in given_later

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the values in their order, converted for asyncpg."""
        merged = {**self._constants, **values}
        return [
            process(merged[name]) if process else merged[name] for name, process in self._parameters
        ]


class CompiledStatement:
    """Compiled SQL with named values; `coalesce`, `batch_sql` and `use` as in BoundStatement.

    That of an owned table has two texts: superusers run one without the condition on the owner.
    With `all_owners` it needs no such condition. Raises TypeError where one is missing.
    """

    def __init__(
        self,
        clause: ClauseElement,
        *,
        coalesce: bool = False,
        batch_sql: str = "",
        use: Use = Use.LIST,
        all_owners: bool = False,
    ) -> None:
        self._compiled = _CompiledSQL(clause, DIALECT)
        if not all_owners:
            require_owners(self._compiled.unguarded)
        self.sql = self._compiled.sql
        self._coalesce, self._batch_sql, self._use = coalesce, batch_sql, use
        self._of_all_owners: _CompiledSQL | None = None
        self._needs_principal = False
        if self._compiled.is_owned:  # two users must not share a batch: it is run for one of them
            self._needs_principal = needs_principal(clause)
            self._of_all_owners, self._batch_sql = _CompiledSQL(clause, _OF_ALL_OWNERS), ""

    def bind(self, values: Mapping[str, Any]) -> BoundStatement:
        """Return the statement with `values`; of owned tables without those of the principal."""
        if self._of_all_owners:
            bind_principal = partial(self._bind_principal, self._of_all_owners, values)
            return BoundStatement(_UNBOUND, [], self._coalesce, "", self._use, bind_principal)
        arguments = self._compiled.arguments(values)
        return BoundStatement(self.sql, arguments, self._coalesce, self._batch_sql, self._use)

    def _bind_principal(
        self, of_all_owners: _CompiledSQL, values: Mapping[str, Any], principal: Principal | None
    ) -> BoundStatement:
        if self._needs_principal:
            principal = require_principal(principal)
        compiled = of_all_owners if principal and principal.is_superuser else self._compiled
        owner_id = principal.id if principal else None
        arguments = compiled.arguments({**values, OWNER_ID.key: owner_id})
        return BoundStatement(compiled.sql, arguments, self._coalesce, "", self._use)


def json_columns(columns: Iterable[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    """Return columns as JSON shows them: decimals as strings, since many clients read floats."""
    return [
        sql_cast(column, Text).label(column.name) if isinstance(column.type, Numeric) else column
        for column in columns
    ]


def row_to_json(rows: NamedFromClause) -> ColumnElement[str]:
    """Return the expression of the JSON text of a row.

    `rows` needs a name that no field can have, as with a leading underscore: PostgreSQL would read
    that of a column as the column.
    """
    return sql_cast(func.row_to_json(rows.table_valued()), Text)


def related(relation: Relation, source: FromClause) -> ColumnElement[Any]:
    """Return the JSON of the parent of a row of `source`, or of its first children."""
    shown = relation.shown
    other = table_of(shown.table).alias()
    ours, theirs = ("id", relation.field) if relation.many else (relation.field, "id")
    matching = (other.c[theirs] == source.c[ours], *living(other), *shown.readable_rows(other))
    found = select(*json_columns(shown.columns(other))).where(*matching).correlate(source)
    if not relation.many:
        parent = found.subquery("_parent")
        value = select(func.row_to_json(parent.table_valued())).select_from(parent)
        return value.scalar_subquery().label(relation.name)
    children = (
        found.order_by(other.c.id).limit(literal_column(str(MAX_CHILDREN))).subquery("_children")
    )
    # json_agg would put line ends between the rows
    rows = func.string_agg(row_to_json(children), text("','"))
    array = func.concat(text("'['"), rows, text("']'"))
    value = select(sql_cast(array, JSON)).select_from(children)
    return value.scalar_subquery().label(relation.name)


def document(
    source: FromClause,
    shown: Representation,
    expand: Iterable[Relation] = (),
    fields: Sequence[str] = (),
) -> ColumnElement[str]:
    """Return the JSON text of a row of `source`, the table or a query of its columns.

    It has all members, or only the `fields`, and then those of `expand`.
    """
    columns = json_columns(shown.columns(source, fields))
    columns += [related(each, source) for each in expand]
    members = select(*columns).correlate(source).subquery("_shown")
    return select(row_to_json(members)).scalar_subquery().label("document")
