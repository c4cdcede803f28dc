"""The query string: its parameters, and the few options that a write may ask for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from songbook.errors import MOST_ERRORS, FieldError, Unacceptable, did_you_mean, field_error

_MOST_OPTIONS = 100


def read_pairs(query_string: bytes, most: int) -> list[tuple[str, str]]:
    """Return the parameters in their order; raise Unacceptable if there are more than `most`."""
    try:
        text = query_string.decode("ascii", "replace")
        return parse_qsl(text, keep_blank_values=True, max_num_fields=most)
    except ValueError:
        raise Unacceptable(f"There are more than {most} parameters.") from None


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return all values of each parameter by its name."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        given.setdefault(name, []).append(value)
    return given


def option(name: str, description: str, *values: str, many: bool = False) -> dict[str, Any]:
    """Return the OpenAPI parameter of an option: one of these values, the first by default.

    With `many` it is any text, and may be repeated.
    """
    schema: dict[str, Any] = {"type": "array", "items": {"type": "string", "minLength": 1}}
    if not many:
        schema = {"type": "string", "enum": [*values], "default": values[0]}
    return {"name": name, "in": "query", "description": description, "schema": schema}


DRY_RUN = {
    "name": "dry_run",
    "in": "query",
    "description": "`true` does everything and takes it back: 200, and nothing is stored.",
    "schema": {"type": "boolean", "default": False},
}


def read_options(query_string: bytes, offered: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return what a query string asks for, by name; raise Unacceptable for what is not offered."""
    if not query_string:
        return {}
    given = grouped(read_pairs(query_string, _MOST_OPTIONS))
    schemas = {parameter["name"]: parameter["schema"] for parameter in offered}
    errors = [error for name in given for error in _faults(name, given[name], schemas)]
    if errors:
        raise Unacceptable(errors=errors[:MOST_ERRORS])
    return given


def is_tried(options: Mapping[str, list[str]]) -> bool:
    """Return whether a write is to be taken back."""
    return options.get("dry_run") == ["true"]


def _faults(
    name: str, values: list[str], schemas: Mapping[str, Mapping[str, Any]]
) -> list[FieldError]:
    """Return what is wrong with one parameter."""
    if name not in schemas:
        detail = f"There is no such parameter{did_you_mean(name, [*schemas])}"
        return [field_error("query", name, detail, "unknown_parameter")]
    schema = schemas[name]
    if schema["type"] == "array":
        return []
    if len(values) > 1:
        return [field_error("query", name, "Should be given once", "repeated_parameter")]
    choices = ["true", "false"] if schema["type"] == "boolean" else schema["enum"]
    if values[0] not in choices:
        detail = f"Should be {' or '.join(f'`{choice}`' for choice in choices)}"
        return [field_error("query", name, detail, "choice")]
    return []
