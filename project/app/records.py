"""What every stored row has, and the types its fields are made of.

A rule about a field is written once, in its type: it says what a client may send, what the JSON schema promises, how
long the column is and which CHECK constraint PostgreSQL holds.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from annotated_types import MaxLen
from pydantic import ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    Identity,
    Index,
    Table,
    TextClause,
    TypeDecorator,
    and_,
    event,
    func,
    text,
)
from sqlalchemy.orm import Mapper
from sqlmodel import Field, SQLModel

from app.decimals import decimal_pattern

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

INT4 = (-(2**31), 2**31 - 1)
INT8 = (-(2**63), 2**63 - 1)

# Unicode's White_Space, which is what pydantic strips; the `\s` of a JSON schema is another set.
_SPACE = r"\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NOT_BLANK = rf"^[^\u0000]*[^\u0000{_SPACE}][^\u0000]*$"
NO_NUL = r"^[^\u0000]*$"
_DECIMAL = re.compile(r"0|-?[1-9][0-9]*")

# Every ASCII punctuation mark ends a word: PostgreSQL's parser alone takes AC/DC for a file path and drops <b>.
_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_TO_SPACES = str.maketrans(dict.fromkeys(_PUNCTUATION, " "))


def without_nul(value: str) -> str:
    """Return `value`; refuse the one character that no PostgreSQL text can hold."""
    if "\0" in value:
        raise PydanticCustomError("string_nul", "String should not contain NUL (U+0000)")
    return value


@dataclass(frozen=True)
class Characters(MaxLen):
    """A text of `min_length` to `max_length` characters without NUL, outer white space stripped."""

    max_length: int = 255
    min_length: int = 1

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            without_nul,
            core_schema.str_schema(
                strip_whitespace=True, min_length=self.min_length, max_length=self.max_length
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"pattern": _NOT_BLANK if self.min_length else NO_NUL}

    def check(self, column: Column[Any]) -> ColumnElement[bool] | None:
        """Return what PostgreSQL checks; the length limit is the column's own."""
        return func.char_length(column) >= text(str(self.min_length)) if self.min_length else None


@dataclass(frozen=True)
class Whole:
    """A whole number of `low` to `high`, both included; its decimal digits in a string are accepted too."""

    low: int = INT4[0]
    high: int = INT4[1]

    @staticmethod
    def _strict(value: Any) -> Any:
        """Refuse what pydantic would read as a number and nobody means: true, "1_000", " 5 ", "1.0"."""
        if isinstance(value, bool):
            raise PydanticCustomError("int_type", "Input should be a valid integer")
        if isinstance(value, str) and not _DECIMAL.fullmatch(value):
            raise PydanticCustomError("int_parsing", "Input should be a valid integer")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            self._strict, core_schema.int_schema(ge=self.low, le=self.high)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        number = {"type": "integer", "minimum": self.low, "maximum": self.high}
        if handler.mode == "serialization":
            return number
        digits = {"type": "string", "pattern": decimal_pattern(self.low, self.high)}
        return {"anyOf": [number, digits]}

    def check(self, column: Column[Any]) -> ColumnElement[bool] | None:
        """Return what PostgreSQL checks beyond the range of the column itself."""
        bounds = []
        low, high = INT8 if isinstance(column.type, BigInteger) else INT4
        if self.low > low:
            bounds.append(column >= text(str(self.low)))
        if self.high < high:
            bounds.append(column <= text(str(self.high)))
        return and_(*bounds) if bounds else None


def rules_of(annotation: Any) -> list[Characters | Whole]:
    """Return the rules written in a field's annotation, of an optional field too."""
    found = [rule for rule in getattr(annotation, "__metadata__", ()) if isinstance(rule, Characters | Whole)]
    return found + [rule for part in get_args(annotation) for rule in rules_of(part)]


Text = Annotated[str, Characters()]
Integer = Annotated[int, Whole()]


class Fields(SQLModel):
    """The Base class of a resource: what a client writes and reads, and nothing else."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


class Record(SQLModel):
    """What every table has: a primary key, and a version that each write increments."""

    id: int | None = Field(
        default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity()]
    )
    version: int = Field(default=None, sa_column_kwargs={"server_default": text("1")})


class RecordPublic(SQLModel):
    """What a client is shown of a record beside the fields."""

    id: int = Field(ge=INT8[0], le=INT8[1])


class Partial(SQLModel):
    """Makes every inherited field one that may be left out; what is sent keeps its rules, null included."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for field in cls.model_fields.values():
            field.default = None
            field.json_schema_extra = lambda schema: schema.pop("default", None)
        cls.model_rebuild(force=True)

    def sent(self) -> dict[str, Any]:
        """Return the fields that the client sent."""
        return self.model_dump(exclude_unset=True)


def table_of(model: type[Record]) -> Table:
    """Return the table of a model."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def kind_of(column: Column[Any]) -> type:
    """Return the Python type of a column's values."""
    kind = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    return kind.python_type


def written_fields(model: type[SQLModel]) -> list[str]:
    """Return the names of the fields that the Base class of a table declares."""
    bases = [base for base in model.__mro__[1:] if issubclass(base, Fields)]
    return [name for name in model.model_fields if any(name in base.model_fields for base in bases)]


def words(model: type[Record]) -> ColumnElement[Any] | None:
    """Return the words of all texts that a client writes, as PostgreSQL's text search sees them.

    https://www.postgresql.org/docs/18/textsearch-controls.html
    """
    columns = [table_of(model).columns[name] for name in written_fields(model)]
    texts = [func.coalesce(column, _quoted("")) if column.nullable else column for column in columns if kind_of(column) is str]
    if not texts:
        return None
    joined = texts[0]
    for more in texts[1:]:
        joined = joined.op("||")(_quoted(" ")).op("||")(more)
    spaced = func.translate(joined, _quoted(_PUNCTUATION), _quoted(" " * len(_PUNCTUATION)))
    return func.to_tsvector(text("'simple'::regconfig"), spaced)


def query_words(query: str) -> str:
    """Return a search query with its words separated as in `words`."""
    return query.translate(_TO_SPACES)


def _quoted(value: str) -> TextClause:
    """Return a text that is part of the statement: an index serves only the very expression it was made of."""
    return text("'" + value.replace("'", "''") + "'")


@event.listens_for(Mapper, "after_mapper_constructed")
def constrain(mapper: Mapper[Any], model: type[Any]) -> None:
    """Give a new table the CHECK constraints of its fields' types and the index of its words."""
    if not issubclass(model, Record):
        return
    table = mapper.local_table
    for name, field in model.model_fields.items():
        column = table.columns[name]
        for rule in [*rules_of(field.annotation), *(rule for rule in field.metadata if isinstance(rule, Characters | Whole))]:
            if (check := rule.check(column)) is not None:
                table.append_constraint(CheckConstraint(check, name=name))
    if (searched := words(model)) is not None:
        Index(f"ix_{table.name}_words", searched, postgresql_using="gin")
