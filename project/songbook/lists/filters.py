"""The filters that a list offers: they come from the public fields and their columns' types."""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger
from sqlmodel import SQLModel

from songbook.models import Record, kind_of, table_of, text_parser

EQUAL, CONTAINS = "", "_contains"
ORDERED = ("_gt", "_gte", "_lt", "_lte")

_MAX_KEY = 255  # characters, of which a cursor in an address takes up to eight bytes each

_ORDERED_KINDS = {int, float, Decimal, date, datetime, time, timedelta}


class FilterParam(NamedTuple):
    """A filter that a list offers: the field, how it is compared, and how a value is read."""

    field: str
    comparison: str
    nullable: bool
    kind: type
    parse: Callable[[str], Any]


@cache
def filters_of(model: type[Record], public: type[SQLModel]) -> dict[str, FilterParam]:
    """Return the filters of a list by name: equality on every public field, more by its type."""
    filters = {}
    for name in public.model_fields:
        column = table_of(model).c[name]
        kind = kind_of(column)
        parse = text_parser(kind, wide=isinstance(column.type, BigInteger))
        more = (CONTAINS,) if kind is str else ORDERED if kind in _ORDERED_KINDS else ()
        for comparison in (EQUAL, *more):
            nullable = bool(column.nullable and not comparison)
            filters[name + comparison] = FilterParam(name, comparison, nullable, kind, parse)
    return filters


@cache
def sortable_fields(model: type[Record], public: type[SQLModel]) -> tuple[str, ...]:
    """Return the public fields that a list can be ordered by: a cursor has to hold their values."""
    columns = [table_of(model).c[name] for name in public.model_fields]
    lengths = {column.name: getattr(column.type, "length", None) or 0 for column in columns}
    return tuple(name for name, length in lengths.items() if length <= _MAX_KEY)
