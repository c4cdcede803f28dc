"""Parsers of values in query strings: stricter than pydantic, which accepts "1_000" and "yes"."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, TypeAdapter
from pydantic_core import PydanticCustomError

from songbook.models.fields import INT4, INT8, without_nul

_WHOLE = re.compile(r"-?[0-9]{1,19}")
_MOMENT = TypeAdapter(AwareDatetime)
_SPACE_FOR_PLUS = re.compile(r" (?=[0-9]{2}:?[0-9]{2}$)")

_DAY, _NUMBER = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_SYNTAX: dict[type, tuple[str, str]] = {
    bool: ("true|false", "`true` or `false`"),
    float: (_NUMBER, "like 1.5"),
    Decimal: (_NUMBER, "like 1.5"),
    date: (_DAY, "like 2026-01-31"),
    datetime: (rf"{_DAY}[Tt ][0-9:.]+([Zz]|[-+ ][0-9:]+)", "like 2026-01-31T12:00:00Z"),
    UUID: (
        "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
        "like 0190163d-8694-739b-aea5-966c26f8ad91",
    ),
}
"""The regular expression of a type, and what a value should be."""


def text_parser(kind: Any, *, wide: bool = True) -> Callable[[str], Any]:
    """Return the parser of a type, which raises ValueError; `wide` integers are BIGINT."""
    if kind is int:
        return partial(_whole_number, *(INT8 if wide else INT4))
    if kind is str:
        return without_nul
    parse: Callable[[str], Any] = TypeAdapter(kind).validate_strings
    if kind is datetime:
        parse = _moment
    pattern, expected = _SYNTAX.get(kind, (".*", "a value of the field's type"))
    return partial(_matching, re.compile(pattern), parse, expected)


def _whole_number(low: int, high: int, value: str) -> int:
    if not _WHOLE.fullmatch(value):
        raise PydanticCustomError("int_parsing", "Input should be a valid integer")
    if not low <= int(value) <= high:
        raise PydanticCustomError(
            "int_range", "Should be from {low} to {high}", {"low": low, "high": high}
        )
    return int(value)


def _matching(
    pattern: re.Pattern[str], parse: Callable[[str], Any], expected: str, value: str
) -> Any:
    if not pattern.fullmatch(value):
        raise PydanticCustomError("spelling", "Should be {expected}", {"expected": expected})
    return parse(value)


def _moment(value: str) -> datetime:
    """Parse a timestamp with its offset, whose `+` may have been decoded as a space."""
    try:
        return _MOMENT.validate_strings(_SPACE_FOR_PLUS.sub("+", value)).astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError(
            "datetime_range", "Should be within the years 1 to 9999"
        ) from None
