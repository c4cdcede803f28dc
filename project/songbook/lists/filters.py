"""The filters that a list offers: they come from the public fields and their columns' types."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache, partial
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import AwareDatetime, TypeAdapter
from pydantic_core import PydanticCustomError
from sqlalchemy import BigInteger, Column
from sqlmodel import SQLModel

from songbook.models import INT4, INT8, Record, kind_of, table_of, without_nul

EQUAL, CONTAINS = "", "_contains"
ORDERED = ("_gt", "_gte", "_lt", "_lte")

_LONGEST_KEY = 255  # characters, of which a cursor in an address takes up to eight bytes each

_WHOLE = re.compile(r"-?[0-9]{1,19}")
_MOMENT = TypeAdapter(AwareDatetime)
_ORDERED_KINDS = {int, float, Decimal, date, datetime, time, timedelta}
_SPACE_FOR_PLUS = re.compile(r" (?=[0-9]{2}:?[0-9]{2}$)")

# A value is spelt as JSON spells it; of what else pydantic would read, "1_000", "yes" and the
# seconds since 1970 are the least surprising.
_DAY, _NUMBER = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_SPELLINGS: dict[type, str] = {
    bool: "true|false",
    float: _NUMBER,
    Decimal: _NUMBER,
    date: _DAY,
    datetime: rf"{_DAY}[Tt ][0-9:.]+([Zz]|[-+ ][0-9:]+)",
    UUID: "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
}


class Parameter(NamedTuple):
    """A filter that a list offers: the field, how it is compared, and how a value is read."""

    field: str
    comparison: str
    nullable: bool
    kind: type
    read: Callable[[str], Any]


_EXAMPLES: dict[type, str] = {
    bool: "true or false",
    float: "1.5",
    Decimal: "1.5",
    date: "2026-01-31",
    datetime: "2026-01-31T12:00:00Z",
    UUID: "0190163d-8694-739b-aea5-966c26f8ad91",
}


@cache
def offered(model: type[Record], public: type[SQLModel]) -> dict[str, Parameter]:
    """Return the filters of a list by name: equality on every public field, more by its type."""
    found = {}
    for name in public.model_fields:
        column = table_of(model).c[name]
        kind = kind_of(column)
        more = (CONTAINS,) if kind is str else ORDERED if kind in _ORDERED_KINDS else ()
        for comparison in (EQUAL, *more):
            nullable = bool(column.nullable and not comparison)
            found[name + comparison] = Parameter(
                name, comparison, nullable, kind, reader_of(column)
            )
    return found


def sortable(model: type[Record], public: type[SQLModel]) -> list[str]:
    """Return the public fields that a list can be ordered by: a cursor has to hold their values."""
    columns = [table_of(model).c[name] for name in public.model_fields]
    lengths = {column.name: getattr(column.type, "length", None) or 0 for column in columns}
    return [name for name, length in lengths.items() if length <= _LONGEST_KEY]


def reader_of(column: Column[Any]) -> Callable[[str], Any]:
    """Return what turns a string into a value that the column can be compared with.

    It raises ValueError, as PydanticCustomError is one, for a value that is not of the type, or
    beyond the column's range.
    """
    kind = kind_of(column)
    if kind is int:
        wide = isinstance(column.type, BigInteger)
        return partial(_whole_number, *(INT8 if wide else INT4))
    if kind is str:
        return without_nul
    read: Callable[[str], Any] = TypeAdapter(kind).validate_strings
    if kind is datetime:
        read = _moment
    like = _EXAMPLES.get(kind, "a value of the field's type")
    return partial(_spelt, re.compile(_SPELLINGS.get(kind, ".*")), read, like)


def _whole_number(low: int, high: int, value: str) -> int:
    if not _WHOLE.fullmatch(value):
        raise PydanticCustomError("int_parsing", "Input should be a valid integer")
    if not low <= int(value) <= high:
        raise PydanticCustomError(
            "int_range", "Should be from {low} to {high}", {"low": low, "high": high}
        )
    return int(value)


def _spelt(spelling: re.Pattern[str], read: Callable[[str], Any], like: str, value: str) -> Any:
    if not spelling.fullmatch(value):
        raise PydanticCustomError("spelling", "Should be like {like}", {"like": like})
    return read(value)


def _moment(value: str) -> datetime:
    """Read a moment with its offset, whose `+` a form decoder may have turned into a space."""
    try:
        return _MOMENT.validate_strings(_SPACE_FOR_PLUS.sub("+", value)).astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError(
            "datetime_range", "Should be within the years 1 to 9999"
        ) from None
