"""Owners: rows that belong to the user who created them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    ForeignKeyConstraint,
    FromClause,
    Join,
    Table,
    bindparam,
    inspect,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql.asyncpg import PGCompiler_asyncpg, dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement, operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import FromGrouping
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


class _IsOwnedBy(_IsOwn):
    """Is true of the rows of a user whose id is known."""

    name = "is_owned_by"
    inherit_cache = True


@compiles(_IsOwnedBy)
def _render_owned_by(element: _IsOwnedBy, compiler: SQLCompiler, **options: Any) -> str:
    owner_id, value = element.clauses
    return str(compiler.process(owner_id == value, **options))


def is_owned_by(owner_id: ColumnElement[int], id_: int | None) -> ColumnElement[bool]:
    """Return the condition that a column with owners has this one."""
    return _IsOwnedBy(owner_id, id_)


def is_own(model: type[Owned]) -> ColumnElement[bool]:
    """Return the condition that a row belongs to the principal, for a query of a service.

    The model may be `aliased`. It holds for all rows if the principal is a superuser.
    """
    mapped: Any = inspect(model)
    return _IsOwn(mapped.selectable.c.owner_id)


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


_Compiler: Any = PGCompiler_asyncpg  # its methods have no types


class OwnersCompiler(_Compiler):  # type: ignore[misc]
    """SQLAlchemy's compiler, which notes the owned tables that are read without a condition.

    Each table and each alias in a FROM, and the table of an UPDATE or a DELETE, needs the condition
    in the WHERE or in an ON of the same statement: one in a subquery, or in the other half of a
    UNION, leaves it unguarded, and so does one within OR or NOT, or in an ORDER BY. That in the ON
    of an outer join is for the tables whose rows it may leave out.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._read: list[set[FromClause]] = []
        self._guarded: list[set[FromClause]] = []
        self.unguarded: set[FromClause] = set()
        super().__init__(*arguments, **options)  # compiles

    def visit_select(self, select_stmt: Any, *arguments: Any, **options: Any) -> str:
        """Return the SQL of a statement, after a look at its owners."""
        return self._visit(super().visit_select, select_stmt, *arguments, **options)

    def visit_update(self, update_stmt: Any, *arguments: Any, **options: Any) -> str:
        """Return the SQL of a statement, after a look at its owners."""
        return self._visit(super().visit_update, update_stmt, *arguments, **options)

    def visit_delete(self, delete_stmt: Any, *arguments: Any, **options: Any) -> str:
        """Return the SQL of a statement, after a look at its owners."""
        return self._visit(super().visit_delete, delete_stmt, *arguments, **options)

    def visit_insert(self, insert_stmt: Any, *arguments: Any, **options: Any) -> str:
        """Return the SQL of a statement, after a look at its owners."""
        if owner_columns(insert_stmt.table) and not _has_owner(insert_stmt):
            self.unguarded.add(insert_stmt.table)
        return self._visit(super().visit_insert, insert_stmt, *arguments, **options)

    def visit_table(self, table: Any, *arguments: Any, asfrom: bool = False, **options: Any) -> str:
        """Return the name of a table; note one in a FROM."""
        if asfrom and self._read and owner_columns(table):
            self._read[-1].add(table)
        return str(super().visit_table(table, *arguments, asfrom=asfrom, **options))

    def visit_alias(self, alias: Any, *arguments: Any, asfrom: bool = False, **options: Any) -> str:
        """Return the name of an alias; note one in a FROM, and not its table."""
        if not (asfrom and self._read and isinstance(alias.element, Table)):
            return str(super().visit_alias(alias, *arguments, asfrom=asfrom, **options))
        read = {*self._read[-1], *([alias] if owner_columns(alias) else [])}
        text = str(super().visit_alias(alias, *arguments, asfrom=asfrom, **options))
        self._read[-1] = read  # without the table itself
        return text

    def visit_join(self, join: Any, *arguments: Any, **options: Any) -> str:
        """Return the SQL of a join, after a look at its owners."""
        confined = {*_confined([join.onclause])}
        if join.full:
            confined = set()
        elif join.isouter:
            confined &= _sources_of(join.right)
        self._guarded[-1] |= confined
        return str(super().visit_join(join, *arguments, **options))

    def _generate_delimited_and_list(self, clauses: Any, **options: Any) -> str:
        """Return the SQL of the conditions of a WHERE, after a look at its owners."""
        self._guarded[-1].update(_confined(clauses))
        return str(super()._generate_delimited_and_list(clauses, **options))

    def _visit(self, visit: Callable[..., str], *arguments: Any, **options: Any) -> str:
        self._read.append(set())
        self._guarded.append(set())
        text = visit(*arguments, **options)
        self.unguarded |= self._read.pop() - self._guarded.pop()
        return text


class CheckedDialect(dialect):
    """The dialect of asyncpg, with the compiler that looks for owners."""

    statement_compiler = OwnersCompiler
    supports_statement_cache = True


_CHECKED = CheckedDialect()  # type: ignore[no-untyped-call]


def check_owners(expression: ColumnElement[Any], source: FromClause | None = None) -> None:
    """Raise TypeError for a subquery of an owned table without a condition on the owner.

    `source` is the table of the statement that the expression becomes a part of.
    """
    within = select(expression)
    if source is not None:
        within = within.select_from(source).where(*own_rows(source))
    check_statement(within)


def check_statement(statement: ClauseElement) -> None:
    """Raise TypeError if a statement reads an owned table without the condition."""
    compiled = statement.compile(dialect=_CHECKED)
    assert isinstance(compiled, OwnersCompiler)
    require_owners(compiled.unguarded)


def require_owners(unguarded: Iterable[FromClause]) -> None:
    """Raise TypeError for tables that a statement reads without a condition on the owner."""
    for source in unguarded:
        raise TypeError(
            f"the rows of {_name_of(source)} have owners: add the condition `is_own(…)` of"
            " songbook.models to the WHERE of each query of them, not within OR or NOT, or say"
            " `all_owners=True`"
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


def _has_owner(statement: ClauseElement) -> bool:
    return any(part is OWNER_ID for part in parts_of(statement))


def _confined(conditions: Iterable[Any]) -> Iterator[FromClause]:
    """Yield the tables and aliases of whose owners there are conditions that AND combines."""
    for each in conditions:
        if isinstance(each, _IsOwn):
            owner_id, *_ = each.clauses
            yield owner_id.table
        elif isinstance(each, Grouping) or getattr(each, "operator", None) is operators.is_true:
            yield from _confined([each.element])
        elif getattr(each, "operator", None) is operators.and_:
            yield from _confined(each.get_children())


def _sources_of(source: FromClause) -> set[FromClause]:
    """Return the tables and aliases that a join is made of."""
    if isinstance(source, FromGrouping):
        return _sources_of(source.element)
    if isinstance(source, Join):
        return _sources_of(source.left) | _sources_of(source.right)
    return {source}


def _name_of(source: FromClause) -> str:
    table: Any = getattr(source, "element", source)
    return str(table.name)
