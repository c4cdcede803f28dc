"""Examples of bodies and parameters, made from their schemas: each is accepted as it is."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import inf
from typing import Any

from songbook.http import FILE_SUFFIXES
from songbook.openapi.files import file_of
from songbook.openapi.schemas import sentence

Schemas = Mapping[str, Any]

_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00+00:00",
    "partial-time": "12:00:00",
    "password": "correct horse",
    "uuid": "0190163d-8694-739b-aea5-966c26f8ad91",
}
_INTEGER, _NUMBER = 2000, 1.5
_TEXTS = ("9.90", "9", "0", "a")
"""What may match the pattern of a text where its name does not."""


def add_examples(operation: dict[str, Any], schemas: Schemas, row: str | None) -> None:
    """Add an example to the body, and to each successful response that has one.

    `row` is the name of the schema of the rows in its files.
    """
    successes = (each for status, each in operation["responses"].items() if status[0] == "2")
    for described in (operation.get("requestBody", {}), *successes):
        for media_type, content in described.get("content", {}).items():
            if not content.keys() & {"example", "examples"}:
                is_file = media_type in FILE_SUFFIXES
                with suppress(LookupError):
                    schema = {"$ref": f"/{row}"} if is_file else content["schema"]
                    example = example_of(schema, schemas)
                    content["example"] = file_of(media_type, example) if is_file else example


def add_parameter_examples(operation: dict[str, Any], schemas: Schemas) -> None:
    """Add an example to each required parameter that has none."""
    for parameter in operation.get("parameters", []):
        if parameter.get("required") and not parameter.keys() & {"example", "examples"}:
            with suppress(LookupError):
                parameter["example"] = example_of(parameter["schema"], schemas, parameter["name"])


def example_of(schema: dict[str, Any], schemas: Schemas, name: str = "value") -> Any:
    """Return a value of a schema, a text after the `name`. Raises LookupError if there is none."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    for key in ("examples", "enum"):
        if key in schema:
            return schema[key][0]
    for key in ("example", "const", "default"):
        if key in schema:
            return schema[key]
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], schemas, name)
    return _of_type(schema, schemas, name)


def _of_type(schema: dict[str, Any], schemas: Schemas, name: str) -> Any:
    match schema.get("type"):
        case "object":
            return dict(_members(schema, schemas)) or {"key": "value"}
        case "array":
            number = max(1, schema.get("minItems", 1))
            return [example_of(schema["items"], schemas, name)] * number
        case "boolean":
            return True
        case "integer":  # the others are ids
            return _within(schema, _INTEGER if schema["format"] == "int32" else 1)
        case "number":
            return _within(schema, _NUMBER)
        case "string":
            return _text(schema, name)
    raise LookupError(name)


def _members(schema: dict[str, Any], schemas: Schemas) -> Iterator[tuple[str, Any]]:
    """Yield the members of an object, but for those that are optional and have no example."""
    for name, each in schema.get("properties", {}).items():
        try:
            yield name, example_of(each, schemas, name)
        except LookupError:
            if name in schema.get("required", ()):
                raise


def _within(schema: dict[str, Any], value: float) -> float:
    """Return a number within the bounds, this value if it is. Raises LookupError."""
    low = schema.get("minimum", schema.get("exclusiveMinimum", -inf))
    high = schema.get("maximum", schema.get("exclusiveMaximum", inf))
    for each in (value, low, high, low + 1, high - 1, (low + high) / 2):
        if low <= each <= high and each not in {
            schema.get("exclusiveMinimum"),
            schema.get("exclusiveMaximum"),
        }:
            return each
    raise LookupError(value)


def _text(schema: dict[str, Any], name: str) -> str:
    low, high = schema.get("minLength", 0), schema["maxLength"]
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    for text in (sentence(name).ljust(low, ".")[:high], *_TEXTS):
        if low <= len(text) <= high and re.search(schema.get("pattern", ""), text):
            return text
    raise LookupError(name)
