"""The query string, and the options of writes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from songbook.errors import MAX_ERRORS, FieldError, UnprocessableContent, did_you_mean, field_error

_MAX_OPTIONS = 100

Parameter: TypeAlias = Mapping[str, Any]
"""An OpenAPI Parameter Object."""


class QueryString(NamedTuple):
    """The parameters of a query string, as ordered pairs and by name."""

    pairs: list[tuple[str, str]]
    values: dict[str, list[str]]


def read_query_string(query_string: bytes, limit: int) -> QueryString:
    """Parse a query string. Raises UnprocessableContent above `limit` parameters."""
    values: dict[str, list[str]] = {}
    try:
        text = query_string.decode("ascii", "replace")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=limit)
    except ValueError:
        raise UnprocessableContent(f"The query string has more than {limit} parameters.") from None
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return QueryString(pairs, values)


def option(name: str, description: str, *values: str, many: bool = False) -> dict[str, Any]:
    """Return the OpenAPI parameter of an enumeration, or with `many` of a repeatable string."""
    schema: dict[str, Any] = {"type": "array", "items": {"type": "string", "minLength": 1}}
    if not many:
        schema = {"type": "string", "enum": [*values], "default": values[0]}
    return {"name": name, "in": "query", "description": description, "schema": schema}


DRY_RUN = {
    "name": "dry_run",
    "in": "query",
    "description": "`true` runs the request and rolls it back: 200, and nothing is stored.",
    "schema": {"type": "boolean", "default": False},
}


def defaults_of(parameters: Iterable[Parameter]) -> dict[str, str]:
    """Return the texts of the defaults of parameters by name, without those that have none."""
    defaults = {each["name"]: each["schema"].get("default") for each in parameters}
    return {
        name: default if isinstance(default, str) else json.dumps(default)
        for name, default in defaults.items()
        if isinstance(default, str | int | float)
    }


def read_options(
    query_string: bytes,
    parameters: Sequence[Parameter],
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, list[str]]:
    """Return the texts of the parameters by name. Raises UnprocessableContent for other ones.

    `defaults` are the texts of parameters of another kind of body, which mean nothing here: clients
    made from a document may send every default.
    """
    if not query_string:
        return {}
    found = read_query_string(query_string, _MAX_OPTIONS).values
    known = {parameter["name"]: parameter for parameter in parameters}
    options = {
        name: values
        for name, values in found.items()
        if name in known or values != [defaults.get(name)]
    }
    errors: list[FieldError] = []
    for name, values in options.items():
        errors += _errors(name, values, known, len(errors))
        if len(errors) == MAX_ERRORS:
            break
    if errors:
        raise UnprocessableContent(errors=errors)
    return options


def is_dry_run(options: Mapping[str, list[str]]) -> bool:
    """Return whether a write is rolled back after its response."""
    return options.get("dry_run") == ["true"]


def _errors(
    name: str, values: list[str], known: Mapping[str, Parameter], nth: int
) -> list[FieldError]:
    """Return the error of one parameter, the `nth` of the query string, if there is one."""
    if name not in known:
        detail = f"Unknown parameter{did_you_mean(name, [*known], nth)}"
        return [field_error("query", name, detail, "unknown_parameter")]
    schema = known[name]["schema"]
    if schema.get("type") == "array" and known[name].get("explode", True):
        return []
    if len(values) > 1:
        return [field_error("query", name, "Should occur only once", "repeated_parameter")]
    choices = ["true", "false"] if schema.get("type") == "boolean" else schema.get("enum")
    if choices and values[0] not in choices:
        detail = f"Should be {' or '.join(f'`{choice}`' for choice in choices)}"
        return [field_error("query", name, detail, "choice")]
    return []
