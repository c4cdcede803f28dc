"""What every stored row has, and what every family of classes is made of."""

import re
from datetime import datetime
from typing import Any

from pydantic.config import JsonDict
from sqlalchemy import BigInteger, Identity, func, text
from sqlmodel import Field, SQLModel

from songbook.models.fields import INT8

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Schema(SQLModel):
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


def display_name(model: type[Any]) -> str:
    """Return what a class of a family is about: "Guest book" of GuestBook and GuestBookPublic."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", model.__name__.removesuffix("Public")).capitalize()
