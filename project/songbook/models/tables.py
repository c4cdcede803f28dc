"""The table of a model: columns, keys, search, constraints and indexes."""

from functools import cache
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    DDL,
    CheckConstraint,
    Column,
    ColumnElement,
    FromClause,
    Index,
    Table,
    UniqueConstraint,
    event,
    func,
    text,
)
from sqlalchemy.orm import Mapper
from sqlalchemy.schema import conv
from sqlmodel import SQLModel

from songbook.models.bases import Record, Schema
from songbook.models.field_types import FieldType, TextType
from songbook.models.fields import field_type_of, is_typed, name_of, type_of_column
from songbook.models.owners import owner_columns
from songbook.models.text_search import create_search_text, search_vector


def table_of(model: type[Record]) -> Table:
    """Return the table of a model."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def next_version(table: Table) -> ColumnElement[int]:
    """Return the version of a row after an UPDATE."""
    return table.c.version + text("1")


def living(source: FromClause) -> list[ColumnElement[bool]]:
    """Return the condition that excludes soft-deleted rows, empty without soft deletion."""
    deleted_at = source.c.get("deleted_at")
    return [] if deleted_at is None else [deleted_at.is_(None)]


def not_deleted(model: type[Record]) -> list[ColumnElement[bool]]:
    """Return the condition of `living` for the table of a model."""
    return living(table_of(model))


def client_fields(model: type[SQLModel]) -> list[str]:
    """Return the names of the fields that the Base class of a table declares."""
    bases = [base for base in model.__mro__[1:] if issubclass(base, Schema)]
    return [name for name in model.model_fields if any(name in base.model_fields for base in bases)]


@cache
def column_types(model: type[Record]) -> dict[str, FieldType]:
    """Return the field types of the columns that have one."""
    declared = {name: field_type_of(info.annotation) for name, info in model.model_fields.items()}
    found = {
        column.name: declared.get(column.name) or type_of_column(column)
        for column in table_of(model).c
    }
    return {name: type_ for name, type_ in found.items() if type_}


def _unique(model: type[Record]) -> list[Index | UniqueConstraint]:
    """Return the unique indexes and constraints of a table."""
    table = table_of(model)
    constraints = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    return [*(index for index in table.indexes if index.unique), *constraints]


def conflicting_fields(model: type[Record]) -> set[str]:
    """Return the names of the unique fields and of the references."""
    references = {column.name for column in table_of(model).c if column.foreign_keys}
    return references | {column.name for each in _unique(model) for column in each.columns}


class NaturalKey(NamedTuple):
    """The only unique key beside the id; `where` is the predicate of a partial index."""

    parts: list[ColumnElement[Any]]
    where: ColumnElement[bool] | None


def natural_key(model: type[Record]) -> NaturalKey | None:
    """Return the natural key, None if the table has none or several."""
    match _unique(model):
        case [Index() as index]:
            parts = cast("list[ColumnElement[Any]]", [*index.expressions])
            return NaturalKey(parts, index.dialect_options["postgresql"]["where"])
        case [constraint]:
            return NaturalKey([*constraint.columns], None)
    return None


def searched_words(model: type[Record]) -> ColumnElement[Any]:
    """Return the search vector of all texts that clients write."""
    return search_vector([table_of(model).c[name] for name in searched_fields(model)])


@cache
def searched_fields(model: type[Record]) -> list[str]:
    """Return the names of the texts that clients write: a table may have none."""
    types = column_types(model)
    return [name for name in client_fields(model) if isinstance(types.get(name), TextType)]


# For `create_all`; migrations contain the statement.
_CREATE_SEARCH_TEXT = DDL(create_search_text().replace("%", "%%"))  # type: ignore[no-untyped-call]


@event.listens_for(Mapper, "after_mapper_constructed")
def _constrain(mapper: Mapper[Any], model: type[Any]) -> None:
    """Add the CHECK constraints, the search index and the unique indexes to a new table."""
    if not issubclass(model, Record):
        return
    table = cast("Table", mapper.local_table)
    _add_checks(model, table)
    if searched_fields(model):
        Index(f"ix_{table.name}_words", searched_words(model), postgresql_using="gin")
        event.listen(table, "before_create", _CREATE_SEARCH_TEXT)
    for constraint in [each for each in table.constraints if isinstance(each, UniqueConstraint)]:
        _replace_unique(constraint, model)
    _begin_unique_indexes(table)
    _index_orders(table)
    for condition in not_deleted(model):
        for index in table.indexes:
            if not _is_of_reference(index):
                index.dialect_options["postgresql"]["where"] = condition
        due = (table.c.deleted_at, table.c.id)
        Index(f"ix_{table.name}_deleted_at", *due, postgresql_where=~condition)
    if owners := owner_columns(table):  # of deleted rows, too, for the deletion of users
        Index(f"ix_{table.name}_owner_id", *owners, table.c.id)


def _add_checks(model: type[Record], table: Table) -> None:
    """Add the CHECK constraints. Raises TypeError for a field that a table cannot have."""
    for name, info in model.model_fields.items():
        type_ = field_type_of(info.annotation)
        if type_ is None and is_typed(info):
            raise TypeError(
                f"{model.__name__}.{name}: a table cannot have {name_of(info.annotation)}: keep it"
                " in the classes of bodies and responses"
            )
        if type_ and (check := type_.check(table.c[name])) is not None:
            table.append_constraint(CheckConstraint(check, name=name))


def _begin_unique_indexes(table: Table) -> None:
    """Let each unique index begin with the owner: a conflict told the values of other owners."""
    owners = owner_columns(table)
    for index in [each for each in table.indexes if each.unique and owners]:
        if "owner_id" not in index.columns:
            table.indexes.discard(index)
            own = Index(index.name, *owners, *index.expressions, unique=True)
            own.dialect_options["postgresql"].update(index.dialect_options["postgresql"])


def _index_orders(table: Table) -> None:
    """Add the owner and the id, the last key of every order, to the indexes of `index=True`.

    On the field alone, an index would serve filters only: a page had to sort all rows of a year.
    Indexes that a model names itself stay as they are.
    """
    for index in [each for each in table.indexes if isinstance(each.name, conv)]:
        match [*index.expressions]:
            case [Column(index=True, primary_key=False) as column] if not index.unique:
                table.indexes.discard(index)
                owners = [] if column.foreign_keys else owner_columns(table)
                Index(index.name, *owners, column, table.c.id)


def _is_of_reference(index: Index) -> bool:
    """Return whether PostgreSQL looks into an index, for deleted rows too, to delete a parent."""
    first = next(iter(index.columns), None)
    return bool(first is not None and first.foreign_keys and not index.unique)


def _replace_unique(constraint: UniqueConstraint, model: type[Record]) -> None:
    """Let a unique constraint begin with the owner, and ignore case or deleted rows."""
    table, names = constraint.table, [column.name for column in constraint.columns]
    types, owners = column_types(model), [] if "owner_id" in names else owner_columns(table)
    folded = {name for name in names if getattr(types[name], "ignores_case", False)}
    if not (folded or owners or not_deleted(model)):
        return
    table.constraints.discard(constraint)
    parts = [func.lower(table.c[name]) if name in folded else table.c[name] for name in names]
    Index(f"uq_{table.name}_{'_'.join(names)}", *owners, *parts, unique=True)
