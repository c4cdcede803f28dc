"""What the table of a model is: its columns, its keys, its words."""

from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, Table, UniqueConstraint, text
from sqlmodel import SQLModel

from songbook.models.bases import Fields, Record
from songbook.models.fields import kind_of
from songbook.models.text_search import words_of


def table_of(model: type[Record]) -> Table:
    """Return the table of a model."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def next_version(table: Table) -> ColumnElement[int]:
    """Return the version of a row after a change."""
    return table.c.version + text("1")


def living(model: type[Record]) -> list[ColumnElement[bool]]:
    """Return the condition that a row is not deleted; none where a deleted row is gone."""
    deleted_at = table_of(model).c.get("deleted_at")
    return [] if deleted_at is None else [deleted_at.is_(None)]


def written_fields(model: type[SQLModel]) -> list[str]:
    """Return the names of the fields that the Base class of a table declares."""
    bases = [base for base in model.__mro__[1:] if issubclass(base, Fields)]
    return [name for name in model.model_fields if any(name in base.model_fields for base in bases)]


def unique_fields(model: type[Record]) -> set[str]:
    """Return the names of the fields whose values, alone or together, no two rows share."""
    table = table_of(model)
    found = [index.columns for index in table.indexes if index.unique]
    found += [each.columns for each in table.constraints if isinstance(each, UniqueConstraint)]
    return {column.name for columns in found for column in columns}


class NaturalKey(NamedTuple):
    """What tells a record from all others beside its id: of the living ones, where some are not."""

    parts: list[ColumnElement[Any]]
    where: ColumnElement[bool] | None


def natural_key(model: type[Record]) -> NaturalKey | None:
    """Return what no two rows share, None if there is no such thing, or more than one."""
    table = table_of(model)
    found = [
        NaturalKey(
            cast("list[ColumnElement[Any]]", [*index.expressions]),
            index.dialect_options["postgresql"]["where"],
        )
        for index in table.indexes
        if index.unique
    ]
    unique = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    found += [NaturalKey([*each.columns], None) for each in unique]
    return found[0] if len(found) == 1 else None


def searched_words(model: type[Record]) -> ColumnElement[Any]:
    """Return the words of all the texts that a client writes."""
    columns = [table_of(model).c[name] for name in written_fields(model)]
    return words_of([column for column in columns if kind_of(column) is str])
