"""What every stored row has, and what every family of classes is made of."""

from typing import Any, cast

from pydantic.config import JsonDict
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Identity,
    Index,
    Table,
    event,
    text,
)
from sqlalchemy.orm import Mapper
from sqlmodel import Field, SQLModel

from app.fields import INT8, kind_of, rules_of
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


def _without_default(schema: JsonDict) -> None:
    schema.pop("default", None)


class Partial(SQLModel):
    """Makes every inherited field one that may be left out; what is sent keeps its rules."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for field in cls.model_fields.values():
            field.default = None
            field.json_schema_extra = _without_default
        cls.model_rebuild(force=True)

    def sent(self) -> dict[str, Any]:
        """Return the fields that the client sent."""
        return self.model_dump(exclude_unset=True)


def table_of(model: type[Record]) -> Table:
    """Return the table of a model."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def written_fields(model: type[SQLModel]) -> list[str]:
    """Return the names of the fields that the Base class of a table declares."""
    bases = [base for base in model.__mro__[1:] if issubclass(base, Fields)]
    return [name for name in model.model_fields if any(name in base.model_fields for base in bases)]


def searched_words(model: type[Record]) -> ColumnElement[Any]:
    """Return the words of all the texts that a client writes."""
    columns = [table_of(model).c[name] for name in written_fields(model)]
    return words_of([column for column in columns if kind_of(column) is str])


@event.listens_for(Mapper, "after_mapper_constructed")
def constrain(mapper: Mapper[Any], model: type[Any]) -> None:
    """Give a new table the CHECK constraints of its fields' types and the index of its words."""
    if not issubclass(model, Record):
        return
    table = cast("Table", mapper.local_table)
    for name, field in model.model_fields.items():
        for rule in rules_of(field.annotation, *field.metadata):
            if (check := rule.check(table.c[name])) is not None:
                table.append_constraint(CheckConstraint(check, name=name))
    if any(kind_of(table.c[name]) is str for name in written_fields(model)):
        Index(f"ix_{table.name}_words", searched_words(model), postgresql_using="gin")
