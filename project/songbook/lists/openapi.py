"""The parameters of a list in the OpenAPI document."""

from collections.abc import Mapping, Sequence
from typing import Any

from songbook.crud import expand_parameter, fields_parameter
from songbook.lists.filters import (
    ANY_OF,
    PARTS,
    FilterParam,
    filters_of,
    parents_in,
    sortable_fields,
)
from songbook.lists.params import DEFAULT_LIMIT, MAX_ROWS, MAX_VALUES, MAX_WORDS
from songbook.models import (
    CONTAINS,
    EQUAL,
    HAS,
    NO_NUL,
    NOT,
    STARTS,
    Relation,
    Representation,
    TextType,
    not_deleted,
    searched_fields,
)

_DESCRIPTIONS = {
    EQUAL: "Equal to this value; if repeated, to any of them.",
    NOT: "Not equal to this value; if repeated, to none of them.",
    CONTAINS: "Contains this text (case-insensitive).",
    STARTS: "Starts with this text (case-sensitive).",
    HAS: "Has this item.",
    "_gt": "Greater than this value.",
    "_gte": "Greater than or equal to this value.",
    "_lt": "Less than this value.",
    "_lte": "Less than or equal to this value.",
}
_OF_NULL = {
    EQUAL: " An empty value matches null.",
    NOT: " Null is no such value, and an empty value excludes it.",
}
_Q = (
    f"Words that must all occur in the texts, at most {MAX_WORDS} (case-insensitive);"
    " `mid*` is a word that starts so."
)
_COUNT = "Adds X-Total-Count; `estimated` by an estimate if there are many rows."
_ESCAPE = (
    "For spreadsheets: `formulas` puts an apostrophe before texts that they would run, and a"
    " byte order mark first."
)
DELETED_PARAMETER: dict[str, Any] = {
    "name": "deleted",
    "in": "query",
    "description": "For superusers: `with` lists deleted records, too, and `only` no others.",
    "schema": {"type": "string", "enum": ["with", "only"]},
}
"""Of lists of tables with `SoftDelete`, where there are accounts."""

_TEXT = {"type": "string", "pattern": NO_NUL}


def list_parameters(
    shown: Representation, sort: str, relations: Mapping[str, Relation]
) -> list[dict[str, Any]]:
    """Return the parameters of a list; `sort` is its default order."""
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "default": DEFAULT_LIMIT}
    after = "The cursor from `X-Next-Cursor`, valid only with the same filters and order."
    counts = {"type": "string", "enum": ["exact", "estimated"]}
    formulas = {"type": "string", "const": "formulas"}
    return [
        _query("limit", "Maximum number of rows.", limit),
        _sort(sortable_fields(shown), sort),
        _query("after", after, {"type": "string"}),
        *([_query("q", _Q, _TEXT)] if searched_fields(shown.table) else []),
        _query("count", _COUNT, counts),
        _query("escape", _ESCAPE, formulas),
        fields_parameter(shown),
        *([DELETED_PARAMETER] if not_deleted(shown.table) else []),
        *([expand_parameter(relations)] if relations else []),
        *(
            _filter(name, parameter)
            for name, parameter in filters_of(shown, parents_in(relations)).items()
        ),
    ]


def _query(name: str, description: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


def _filter(name: str, parameter: FilterParam) -> dict[str, Any]:
    schema = parameter.type.filter_schema()
    if parameter.comparison in PARTS and isinstance(parameter.type, TextType):
        schema = {**schema, "maxLength": parameter.type.max_part}
    if parameter.comparison not in ANY_OF:
        return _query(name, _DESCRIPTIONS[parameter.comparison], schema)
    description = _DESCRIPTIONS[parameter.comparison]
    if parameter.nullable:
        description += _OF_NULL[parameter.comparison]
        schema = {"anyOf": [schema, {"type": "string", "maxLength": 0}]}
    return _query(name, description, {"type": "array", "items": schema, "maxItems": MAX_VALUES})


def _sort(fields: Sequence[str], default: str) -> dict[str, Any]:
    """Return the parameter `sort`: each field at most once, in one direction."""
    keys = [(name, f"-{name}") for name in fields]
    twice = [{"allOf": [{"contains": {"const": key}} for key in pair]} for pair in keys]
    schema = {
        "type": "array",
        "items": {"enum": [key for pair in keys for key in pair]},
        "minItems": 1,
        "uniqueItems": True,
        "not": {"anyOf": twice},
        "default": default.split(","),
    }
    description = "The order: field names separated by commas, with `-` for descending."
    return _query("sort", description, schema, style="form", explode=False)
