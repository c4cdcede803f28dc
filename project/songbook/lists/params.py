"""The query string of a list: what it asks for; nothing that is not offered is accepted."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import PydanticCustomError
from sqlmodel import SQLModel

from songbook.errors import MOST_ERRORS, FieldError, Unacceptable, did_you_mean, field_error
from songbook.http import grouped, read_pairs
from songbook.lists.filters import CONTAINS, EQUAL, Parameter, offered, sortable
from songbook.models import Record, separated, without_nul

DEFAULT_LIMIT = 100
MOST_ROWS = 1000
MOST_VALUES = 100
MOST_PARAMETERS = 1000

WORDS = "words"
SCALARS = ("limit", "sort", "after", "q", "count", "escape")

_DIGITS = re.compile(r"[0-9]{1,19}")
_LIKE = re.compile(r"[%_\\]")


class Condition(NamedTuple):
    """What a filter asks of a field, as part of a statement; its value is bound as `bind`."""

    field: str
    comparison: str
    bind: str
    many: bool = False
    or_null: bool = False


class Key(NamedTuple):
    """One field of an order."""

    field: str
    descending: bool


@dataclass
class Asked:
    """What a query string asks for; `pairs` are its parameters as they were given."""

    order: tuple[Key, ...]
    limit: int | None = None
    conditions: tuple[Condition, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)
    after: str | None = None
    counted: bool = False
    escaped: bool = False
    pairs: list[tuple[str, str]] = field(default_factory=list)


def order_of(sort: str) -> tuple[Key, ...]:
    """Return an order that is total: the primary key follows in the last field's direction."""
    keys = [Key(part.removeprefix("-"), part.startswith("-")) for part in sort.split(",")]
    if "id" not in [key.field for key in keys]:
        keys.append(Key("id", keys[-1].descending))
    return tuple(keys)


def ask(model: type[Record], public: type[SQLModel], query_string: bytes, sort: str) -> Asked:
    """Read a query string; `sort` is the order where it names none.

    Raises Unacceptable with every parameter that does not fit.
    """
    if not query_string:
        return Asked(order_of(sort))
    pairs = read_pairs(query_string, MOST_PARAMETERS)
    reading = _Reading(
        offered(model, public), sortable(model, public), Asked(order_of(sort), pairs=pairs)
    )
    for name, values in grouped(pairs).items():
        try:
            reading.take(name, values)
        except ValueError as error:
            reading.errors.append(_field_error(name, error))
    if reading.errors:
        raise Unacceptable(errors=reading.errors[:MOST_ERRORS])
    return reading.asked


class _Reading:
    """The reading of one query string."""

    def __init__(self, filters: Mapping[str, Parameter], sortable: list[str], asked: Asked) -> None:
        self.filters = filters
        self.sortable = sortable
        self.asked = asked
        self.errors: list[FieldError] = []

    def take(self, name: str, values: list[str]) -> None:
        """Read one parameter with all its values."""
        if parameter := self.filters.get(name):
            self.take_filter(parameter, values)
        elif name not in SCALARS:
            raise PydanticCustomError("unknown_parameter", "{why}", {"why": self.unknown(name)})
        elif len(values) > 1:
            raise PydanticCustomError("repeated_parameter", "Should be given once")
        else:
            getattr(self, f"take_{name}")(values[0])

    def unknown(self, name: str) -> str:
        """Say that there is no such parameter, and which one was probably meant."""
        return "There is no such parameter" + did_you_mean(name, [*self.filters, *SCALARS])

    def take_filter(self, parameter: Parameter, values: list[str]) -> None:
        """Ask that a field has one of the values; an empty one means null where null can be."""
        equal = parameter.comparison == EQUAL
        if len(values) > (MOST_VALUES if equal else 1):
            most = f"at most {MOST_VALUES} times" if equal else "once"
            raise PydanticCustomError("too_many_values", "Should be given {most}", {"most": most})
        wanted = [parameter.read(value) for value in values if value or not parameter.nullable]
        if parameter.comparison == CONTAINS:
            wanted = [f"%{_escaped(wanted[0])}%"]
        bind = f"f{len(self.asked.values)}"
        many = len(wanted) > 1
        condition = Condition(
            parameter.field,
            parameter.comparison,
            bind if wanted else "",
            many,
            len(wanted) < len(values),
        )
        self.asked.conditions += (condition,)
        self.asked.values[bind] = wanted if many else next(iter(wanted), None)

    def take_limit(self, value: str) -> None:
        """Ask for at most so many rows."""
        if not (_DIGITS.fullmatch(value) and 1 <= int(value) <= MOST_ROWS):
            raise PydanticCustomError(
                "limit", "Should be a whole number from 1 to {most}", {"most": MOST_ROWS}
            )
        self.asked.limit = int(value)

    def take_sort(self, value: str) -> None:
        """Ask for an order."""
        names = [part.removeprefix("-") for part in value.split(",")]
        if unknown := [name for name in names if name not in self.sortable]:
            hint = did_you_mean(unknown[0], self.sortable)
            raise PydanticCustomError(
                "sort", "Should name public fields, separated by commas{hint}", {"hint": hint}
            )
        if len(set(names)) < len(names):
            raise PydanticCustomError("sort", "Should name a field once")
        self.asked.order = order_of(value)

    def take_after(self, value: str) -> None:
        """Ask for the rows behind a cursor."""
        self.asked.after = value

    def take_q(self, value: str) -> None:
        """Ask for rows with all these words; none is no condition."""
        if words := separated(without_nul(value)):
            self.asked.conditions += (Condition("", WORDS, "q"),)
            self.asked.values["q"] = words

    def take_count(self, value: str) -> None:
        """Ask for the number of all rows."""
        if value != "exact":
            raise PydanticCustomError("count", "Should be `exact`")
        self.asked.counted = True

    def take_escape(self, value: str) -> None:
        """Ask that no text is taken for a formula by a spreadsheet."""
        if value != "formulas":
            raise PydanticCustomError("escape", "Should be `formulas`")
        self.asked.escaped = True


def _field_error(name: str, error: ValueError) -> FieldError:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return field_error("query", name, first["msg"], first["type"])
    if isinstance(error, PydanticCustomError):
        return field_error("query", name, error.message(), error.type)
    return field_error("query", name, "Should be a value of the field's type", "value_error")


def _escaped(value: str) -> str:
    r"""Return a text that LIKE takes literally: `%`, `_` and `\` lose their meaning."""
    return _LIKE.sub(r"\\\g<0>", value)
