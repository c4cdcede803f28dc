"""What every stored row has, and what every family of classes is made of."""

import re
from datetime import datetime
from typing import Any, NamedTuple, cast

from pydantic.config import JsonDict
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Identity,
    Index,
    Table,
    UniqueConstraint,
    event,
    func,
    text,
)
from sqlalchemy.orm import Mapper
from sqlmodel import AutoString, Field, SQLModel

from app.fields import INT8, Characters, ignores_case, kind_of, rules_of
from app.words import words_of

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Fields(SQLModel):
    """The Base class of a resource: what a client writes and reads, and nothing else."""

    model_config = {"extra": "forbid", "json_schema_serialization_defaults_required": True}


class Record(SQLModel):
    """What every table has: a primary key, and a version that each write increments."""

    id: int | None = Field(
        default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity()]
    )
    version: int = Field(default=None, sa_column_kwargs={"server_default": text("1")})


class RecordPublic(SQLModel):
    """What a client is shown of a record beside the fields."""

    id: int = Field(ge=INT8[0], le=INT8[1])


class Timestamps(SQLModel):
    """When a record was created and last changed, for its table and for its Public class.

    PostgreSQL sets both, equal at first; no client can.
    """

    created_at: datetime = Field(index=True, sa_column_kwargs={"server_default": func.now()})
    updated_at: datetime = Field(
        sa_column_kwargs={"server_default": func.now(), "onupdate": func.clock_timestamp()}
    )


class SoftDelete(SQLModel):
    """Rows that stay when they are deleted, seen by nobody, until they are restored or purged.

    The indexes of the table leave them out, so that a unique value of a deleted row can be taken
    again; one has them alone, for the purge.
    """

    deleted_at: datetime | None = None


def _without_default(schema: JsonDict) -> None:
    schema.pop("default", None)


class Partial(SQLModel):
    """Makes every inherited field one that may be left out; what is sent keeps its rules."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for field in cls.model_fields.values():
            field.default, field.default_factory = None, None
            field.json_schema_extra = _without_default
        cls.model_rebuild(force=True)

    def sent(self) -> dict[str, Any]:
        """Return the fields that the client sent."""
        return self.model_dump(exclude_unset=True)


def table_of(model: type[Record]) -> Table:
    """Return the table of a model."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def next_version(table: Table) -> ColumnElement[int]:
    """Return the version of a row after a change."""
    return table.c.version + text("1")


def noun_of(model: type[Any]) -> str:
    """Return what a class of a family is about: "Guest book" of GuestBook and GuestBookPublic."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", model.__name__.removesuffix("Public")).capitalize()


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


@event.listens_for(Mapper, "after_mapper_constructed")
def constrain(mapper: Mapper[Any], model: type[Any]) -> None:
    """Give a new table the constraints and the indexes that its fields' types and traits ask for.

    These are the CHECK constraints, the index of the words, and for what is unique regardless of
    case or of deleted rows an index, which a constraint cannot be.
    """
    if not issubclass(model, Record):
        return
    table = cast("Table", mapper.local_table)
    for name, field in model.model_fields.items():
        for rule in rules_of(field.annotation, *field.metadata):
            if isinstance(rule, Characters):  # SQLModel does not find it in an optional field
                table.c[name].type = AutoString(rule.max_length)
            if (check := rule.check(table.c[name])) is not None:
                table.append_constraint(CheckConstraint(check, name=name))
    if any(kind_of(table.c[name]) is str for name in written_fields(model)):
        Index(f"ix_{table.name}_words", searched_words(model), postgresql_using="gin")
    for constraint in [each for each in table.constraints if isinstance(each, UniqueConstraint)]:
        _make_index(constraint, model)
    for condition in living(model):
        for index in table.indexes:
            index.dialect_options["postgresql"]["where"] = condition
        due = (table.c.deleted_at, table.c.id)
        Index(f"ix_{table.name}_deleted_at", *due, postgresql_where=~condition)


def _make_index(constraint: UniqueConstraint, model: type[Record]) -> None:
    """Replace a unique constraint by a unique index where only that can hold what is meant."""
    table, names = constraint.table, [column.name for column in constraint.columns]
    infos = {name: model.model_fields[name] for name in names}
    folded = {name for name, info in infos.items() if ignores_case(info.annotation, *info.metadata)}
    if folded or living(model):
        table.constraints.discard(constraint)
        parts = [func.lower(table.c[name]) if name in folded else table.c[name] for name in names]
        Index(f"uq_{table.name}_{'_'.join(names)}", *parts, unique=True)
