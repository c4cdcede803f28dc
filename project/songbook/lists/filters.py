"""The filters of a list, derived from the public fields and the types of their columns."""

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

_MAX_KEY = 255  # characters: a cursor in a URL has up to eight bytes for each

_ORDERED_KINDS = {int, float, Decimal, date, datetime, time, timedelta}


class FilterParam(NamedTuple):
    """A filter: the field, the comparison, and the parser of its values."""

    field: str
    comparison: str
    nullable: bool
    kind: type
    parse: Callable[[str], Any]


@cache
def filters_of(model: type[Record], public: type[SQLModel]) -> dict[str, FilterParam]:
    """Return the filters by name: equality for every public field, others by its type."""
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
    """Return the public fields to sort by: those whose values fit into a cursor."""
    columns = [table_of(model).c[name] for name in public.model_fields]
    lengths = {column.name: getattr(column.type, "length", None) or 0 for column in columns}
    return tuple(name for name, length in lengths.items() if length <= _MAX_KEY)
