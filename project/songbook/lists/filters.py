"""The filters of a list, derived from the public fields and their types."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from sqlmodel import SQLModel

from songbook.models import EQUAL, FieldType, Record, column_types, table_of


class FilterParam(NamedTuple):
    """A filter: the field, the comparison, and the parser of its values."""

    field: str
    comparison: str
    nullable: bool
    type: FieldType
    parse: Callable[[str], Any]


@cache
def filters_of(model: type[Record], public: type[SQLModel]) -> dict[str, FilterParam]:
    """Return the filters by name: those that the type of each public field has."""
    filters = {}
    for name, type_ in _public_types(model, public).items():
        for comparison in type_.filters:
            nullable = bool(table_of(model).c[name].nullable and comparison == EQUAL)
            filters[name + comparison] = FilterParam(name, comparison, nullable, type_, type_.parse)
    return filters


@cache
def sortable_fields(model: type[Record], public: type[SQLModel]) -> tuple[str, ...]:
    """Return the public fields to sort by: those whose values fit into a cursor."""
    types = _public_types(model, public).items()
    return tuple(name for name, type_ in types if type_.is_sortable)


def _public_types(model: type[Record], public: type[SQLModel]) -> dict[str, FieldType]:
    types = column_types(model)
    return {name: types[name] for name in public.model_fields if name in types}
