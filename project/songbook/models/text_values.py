"""The texts of values, in query strings and in strings of JSON: stricter than pydantic's."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache, partial
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import AwareDatetime, FiniteFloat, TypeAdapter
from pydantic_core import PydanticCustomError

INT4 = (-(2**31), 2**31 - 1)
INT8 = (-(2**63), 2**63 - 1)

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_SPACE_FOR_PLUS = re.compile(r" (?=[0-9]{2}:?[0-9]{2}$)")
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"


class Syntax(NamedTuple):
    """The texts of a type: their regular expression, and what such a text is."""

    regex: re.Pattern[str]
    expected: str


SYNTAX: dict[type, Syntax] = {
    bool: Syntax(re.compile("true|false"), "`true` or `false`"),
    int: Syntax(re.compile("0|-?[1-9][0-9]*"), "a valid integer"),
    float: Syntax(re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"), "a number like 1.5"),
    Decimal: Syntax(re.compile(r"-?[0-9]{1,1000}(\.[0-9]{1,1000})?"), "a decimal number like 1.50"),
    date: Syntax(re.compile(_DATE), "a date like 2026-01-31"),
    datetime: Syntax(
        re.compile(rf"{_DATE}[Tt ]{_TIME}([Zz]|[+-][0-9]{{2}}:[0-9]{{2}})"),
        "a time with its offset, like 2026-01-31T12:00:00Z",
    ),
    time: Syntax(re.compile(_TIME), "a time of day like 12:00:00"),
    UUID: Syntax(
        re.compile("[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"),
        "a UUID like 0190163d-8694-739b-aea5-966c26f8ad91",
    ),
}

_SHORT_DATETIME = Syntax(
    re.compile(rf"{_DATE}[Tt ][0-9:.]+([Zz]|[-+][0-9:]+)"), SYNTAX[datetime].expected
)
"""The syntax in query strings, where the seconds may be left out."""

_STRICT: dict[Any, Any] = {float: FiniteFloat, datetime: AwareDatetime}


def without_nul(value: str) -> str:
    """Return `value`. Raises PydanticCustomError for NUL, which PostgreSQL cannot store."""
    if "\0" in value:
        raise PydanticCustomError("string_nul", "String should not contain NUL (U+0000)")
    return value


def in_utc(value: datetime) -> datetime:
    """Return a time in UTC. Raises PydanticCustomError if that is not within the years 1 to 9999.

    PostgreSQL would store such a time, and no Python could read it.
    """
    try:
        return value.astimezone(UTC)
    except OverflowError:
        message = "Should be within the years 1 to 9999"
        raise PydanticCustomError("datetime_range", message) from None


@cache
def text_parser(kind: Any, *, wide: bool = True) -> Callable[[str], Any]:
    """Return the parser of a type, which raises ValueError; `wide` integers are BIGINT."""
    if kind is int:
        return partial(_integer, *(INT8 if wide else INT4))
    if kind is str:
        return without_nul
    parse = TypeAdapter(_STRICT.get(kind, kind)).validate_strings
    if kind is datetime:
        return partial(_datetime, parse)
    return partial(_matching, SYNTAX.get(kind), parse)


def _integer(low: int, high: int, value: str) -> int:
    if not _INTEGER.fullmatch(value):
        raise PydanticCustomError("int_parsing", "Input should be a valid integer")
    if not low <= int(value) <= high:
        raise PydanticCustomError(
            "int_range", "Should be from {low} to {high}", {"low": low, "high": high}
        )
    return int(value)


def _matching(syntax: Syntax | None, parse: Callable[[str], Any], value: str) -> Any:
    if syntax and not syntax.regex.fullmatch(value):
        raise PydanticCustomError("spelling", "Should be {expected}", {"expected": syntax.expected})
    return parse(value)


def _datetime(parse: Callable[[str], Any], value: str) -> datetime:
    """Parse a time with its offset, whose `+` may have been decoded as a space."""
    return in_utc(_matching(_SHORT_DATETIME, parse, _SPACE_FOR_PLUS.sub("+", value)))
