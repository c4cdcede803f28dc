"""The filters of a list, derived from the public fields and their types."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from songbook.models import EQUAL, FieldType, Representation, column_types, table_of


class FilterParam(NamedTuple):
    """A filter: the field, the comparison, and the parser of its values."""

    field: str
    comparison: str
    nullable: bool
    type: FieldType
    parse: Callable[[str], Any]


@cache
def filters_of(shown: Representation) -> dict[str, FilterParam]:
    """Return the filters by name: those that the type of each public field has."""
    filters = {}
    for name, type_ in _public_types(shown).items():
        for comparison in type_.filters:
            nullable = bool(table_of(shown.table).c[name].nullable and comparison == EQUAL)
            filters[name + comparison] = FilterParam(name, comparison, nullable, type_, type_.parse)
    return filters


@cache
def sortable_fields(shown: Representation) -> tuple[str, ...]:
    """Return the public fields to sort by: those whose values fit into a cursor."""
    types = _public_types(shown).items()
    return tuple(name for name, type_ in types if type_.is_sortable)


def _public_types(shown: Representation) -> dict[str, FieldType]:
    types = column_types(shown.table)
    return {name: types[name] for name in shown.public.model_fields if name in types}
