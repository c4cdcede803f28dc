"""The parameters of a list in the OpenAPI document."""

from collections.abc import Mapping, Sequence
from typing import Any

from songbook.crud import expand_parameter, fields_parameter
from songbook.lists.filters import (
    ANY_OF,
    PARTS,
    FilterParam,
    filters_of,
    is_searchable,
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
)

_DESCRIPTIONS = {
    NOT: "{label} not equal to this value; if repeated, to none of them.",
    CONTAINS: "{label} contains this text (case-insensitive).",
    STARTS: "{label} starts with this text (case-sensitive).",
    HAS: "{label} have this item.",
    "_gt": "{label} greater than this value.",
    "_gte": "{label} at least this value.",
    "_lt": "{label} less than this value.",
    "_lte": "{label} at most this value.",
    EQUAL: "{label} equal to this value; if repeated, to any of them.",
}
"""What the filters of a comparison are; the label is the name of the field."""

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

_WORDS = {"type": "string", "pattern": NO_NUL}
_EMPTY = {"type": "string", "pattern": "^$", "maxLength": 0}
_CURSOR = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}


def list_parameters(
    shown: Representation, sort: str, relations: Mapping[str, Relation]
) -> list[dict[str, Any]]:
    """Return the parameters of a list; `sort` is its default order."""
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "default": DEFAULT_LIMIT}
    after = "The cursor from `X-Next-Cursor`, valid only with the same filters and order."
    counts = {"type": "string", "enum": ["exact", "estimated"]}
    formulas = {"type": "string", "enum": ["formulas"]}
    return [
        _query("limit", "Maximum number of rows.", limit),
        _query("after", after, _CURSOR),
        _sort(sortable_fields(shown), sort),
        *([_query("q", _Q, _WORDS)] if is_searchable(shown) else []),
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
    label = parameter.field.replace("_", " ").capitalize()
    if parameter.parent:
        label += f" of the {parameter.parent.name.replace('_', ' ')}"
    description = _DESCRIPTIONS[parameter.comparison].format(label=label)
    if parameter.comparison not in ANY_OF:
        return _query(name, description, schema)
    if parameter.nullable:
        description += _OF_NULL[parameter.comparison]
        schema = {"anyOf": [schema, _EMPTY]}
    return _query(name, description, {"type": "array", "items": schema, "maxItems": MAX_VALUES})


def _sort(fields: Sequence[str], default: str) -> dict[str, Any]:
    """Return the parameter `sort`: a text, because no schema says "each field at most once"."""
    names = "|".join(fields)
    schema = {
        "type": "string",
        "pattern": f"^-?({names})(,-?({names}))*$",
        "maxLength": sum(len(f"-{name},") for name in fields),
        "default": default,
    }
    last = f"-{fields[-1]}"
    example = f"{last},{fields[1]}" if len(fields) > 2 else last
    description = (
        "The order: field names separated by commas, each at most once, with `-` for descending."
    )
    return _query("sort", description, schema, example=example)
