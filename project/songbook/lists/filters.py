"""The filters of a list, derived from the public fields and their types."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from songbook.models import (
    CONTAINS,
    EQUAL,
    NOT,
    STARTS,
    FieldType,
    Relation,
    Representation,
    TextType,
    column_types,
    searched_fields,
    table_of,
)

ANY_OF = {EQUAL, NOT}
"""The comparisons with one or more values; null is one of them."""

PARTS = {CONTAINS, STARTS}
"""The comparisons with a part of a text."""


class FilterParam(NamedTuple):
    """A filter: the field, the comparison, and the parser of its values."""

    field: str
    comparison: str
    nullable: bool
    type: FieldType
    parse: Callable[[str], Any]
    parent: Relation | None = None
    """The parent whose field it is."""


@cache
def filters_of(shown: Representation, parents: tuple[Relation, ...] = ()) -> dict[str, FilterParam]:
    """Return the filters by name: those that the type of each public field has.

    The filters of parents follow the name of the relation and a point.
    """
    filters = {}
    for name, type_ in _public_types(shown).items():
        for comparison in type_.filters:
            nullable = bool(table_of(shown.table).c[name].nullable and comparison in ANY_OF)
            parse = type_.parse
            if isinstance(type_, TextType) and comparison in PARTS:
                parse = type_.parse_part
            filters[name + comparison] = FilterParam(name, comparison, nullable, type_, parse)
    for parent in parents:
        for name, found in filters_of(parent.shown).items():
            filters[f"{parent.name}.{name}"] = found._replace(parent=parent)
    return filters


def parents_in(relations: Mapping[str, Relation]) -> tuple[Relation, ...]:
    """Return those of the relations whose fields are filters, too."""
    return tuple(relation for relation in relations.values() if not relation.many)


@cache
def sortable_fields(shown: Representation) -> tuple[str, ...]:
    """Return the public fields to sort by: those whose values fit into a cursor."""
    types = _public_types(shown).items()
    return tuple(name for name, type_ in types if type_.is_sortable)


@cache
def is_searchable(shown: Representation) -> bool:
    """Return whether a list has `q`: if it shows all texts that `q` searches.

    Words that match would tell those of a hidden text and, as `a*`, even its letters.
    """
    searched = searched_fields(shown.table)
    return bool(searched) and {*searched} <= {*shown.members}


def _public_types(shown: Representation) -> dict[str, FieldType]:
    types = column_types(shown.table)
    return {name: types[name] for name in shown.public.model_fields if name in types}
