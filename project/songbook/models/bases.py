"""The base classes of resources and tables."""

import re
from datetime import datetime
from typing import Any

from pydantic.config import JsonDict
from sqlalchemy import BigInteger, Identity, func, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import conv
from sqlmodel import Field, SQLModel
from sqlmodel.main import default_registry

from songbook.models.fields import is_typed, set_field_type
from songbook.models.text_values import INT8

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


_PREPARER = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]


def stored_name(name: str) -> str:
    """Return the name of a constraint in PostgreSQL, which has 63 characters at most."""
    return str(_PREPARER.truncate_and_render_constraint_name(conv(name), _alembic_quote=False))


class Schema(SQLModel):
    """The base of a resource's Base class: the fields that clients write and read.

    A field has a plain annotation: str, int, bool, float, Decimal, date, datetime, time, UUID, a
    Literal of strings, a StrEnum, list[str] or dict[str, Any], each also with `| None`. Raises
    TypeError, naming class and field, for any other, and for constraints that do not apply.
    """

    model_config = {
        "extra": "forbid",
        "json_schema_serialization_defaults_required": True,
        # pydantic's own error about a type names no field
        "arbitrary_types_allowed": True,
    }

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        _check_bases(cls)
        others = [base for base in cls.__mro__ if not issubclass(base, Schema)]
        plain = {name for base in others for name in getattr(base, "__pydantic_fields__", ())}
        new = {
            name: field
            for name, field in cls.model_fields.items()
            if name not in plain and not is_typed(field)
        }
        for name, field in new.items():
            set_field_type(cls, name, field)
        if new:
            cls.model_rebuild(force=True)


def _check_bases(cls: type[SQLModel]) -> None:
    """Raise TypeError for a field that hides a column of another base, such as `version`."""
    for base in cls.__mro__[1:]:
        for other in cls.__mro__:
            if issubclass(other, Schema) or not issubclass(base, Schema) or issubclass(base, other):
                continue
            if hidden := base.model_fields.keys() & getattr(other, "__pydantic_fields__", ()):
                raise TypeError(
                    f"{base.__name__}.{min(hidden)}: {other.__name__} has a field of this name:"
                    " choose another"
                )


class Record(SQLModel):
    """The base of every table: a primary key, and a version that each write increments."""

    id: int | None = Field(
        default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity()]
    )
    version: int = Field(default=None, sa_column_kwargs={"server_default": text("1")})


class RecordPublic(SQLModel):
    """The base of a resource's Public class, with the id."""

    id: int = Field(ge=1, le=INT8[1], description="The id of the record.")


class Timestamps(SQLModel):
    """`created_at` and `updated_at`, set by PostgreSQL; for the table and its Public class."""

    created_at: datetime = Field(
        description="When the record was created.",
        index=True,
        sa_column_kwargs={"server_default": func.now()},
    )
    updated_at: datetime = Field(
        description="When the record was last changed.",
        sa_column_kwargs={"server_default": func.now(), "onupdate": func.clock_timestamp()},
    )


class SoftDelete(SQLModel):
    """Soft deletion: every statement ignores rows with `deleted_at`, until restored or purged.

    The indexes ignore them, too, so that unique values of deleted rows can be used again.
    """

    deleted_at: datetime | None = None


def _without_default(schema: JsonDict) -> None:
    schema.pop("default", None)


class Partial(SQLModel):
    """Makes every inherited field optional; values that are sent are validated as before."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for field in cls.model_fields.values():
            field.default, field.default_factory, field.validate_default = None, None, False
            field.json_schema_extra = _without_default
        cls.model_rebuild(force=True)


def display_name(model: type[Any]) -> str:
    """Return the noun of a class: "Guest book" for GuestBook and GuestBookPublic."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", model.__name__.removesuffix("Public")).capitalize()


def plural_name(model: type[Any]) -> str:
    """Return the plural of the noun of a class, in lower case: "cities" for City."""
    noun = display_name(model).lower()
    if re.search("[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}{'es' if re.search('(s|x|z|ch|sh)$', noun) else 's'}"


def mapped_classes() -> list[type[Any]]:
    """Return the classes with `table=True` that have been imported."""
    return [mapper.class_ for mapper in default_registry.mappers]
