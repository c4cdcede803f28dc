"""The JSON schemas of the document, completed with descriptions, formats and limits."""

from typing import Any

from songbook.lists import MAX_ROWS
from songbook.models import INT4, INT8

MAX_LENGTH = 65_536
"""The characters of a text without a limit of its own: no larger body or address is read."""

_LENGTHS = {"date": 10, "date-time": 35, "partial-time": 15, "uuid": 36}
_VALUES = {"default", "const", "enum", "example", "examples"}
"""The keywords whose values are no schemas."""


def completed(part: Any, *, names: bool = False) -> Any:
    """Return a part of the document whose schemas have formats, limits and described properties.

    `names`: whether the keys are the names of properties.
    """
    if isinstance(part, list):
        return [completed(each) for each in part]
    if not isinstance(part, dict):
        return part
    if names:
        return {name: _described(name, completed(each)) for name, each in part.items()}
    result = {
        name: each if name in _VALUES else completed(each, names=name == "properties")
        for name, each in part.items()
        if not (name == "default" and each is None)
    }
    return result | _limits(result)


def sentence(name: str) -> str:
    """Return a name of code as words: "Song id"."""
    return name.replace("_", " ").strip().capitalize()


def _described(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a property with a title and a description."""
    words = name.replace("_", " ").strip()
    if name.startswith("is_"):
        text = f"Whether it {words}."
    elif name.endswith("_id"):
        text = f"The id of the {words.removesuffix(' id')}."
    else:
        text = f"The {words}."
    titled = {"title": sentence(name)} if "title" in schema else {}
    return {**schema, **titled, "description": schema.get("description", text)}


def _limits(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the format and the limits that a schema lacks."""
    match schema.get("type"):
        case "integer":
            return _integer(schema)
        case "number":
            return {"format": schema.get("format", "double")}
        case "array":
            return {"maxItems": schema.get("maxItems", MAX_ROWS)}
        case "string" if not schema.keys() & {"const", "enum", "maxLength"}:
            return {"maxLength": _LENGTHS.get(schema.get("format", ""), MAX_LENGTH)}
    return {}


def _integer(schema: dict[str, Any]) -> dict[str, Any]:
    limits = {"minimum": INT8[0], "maximum": INT8[1]} | {
        name: int(schema[name]) for name in ("minimum", "maximum") if name in schema
    }
    if "exclusiveMinimum" in schema:
        limits.pop("minimum")
    if "exclusiveMaximum" in schema:
        limits.pop("maximum")
    is_short = all(INT4[0] <= each <= INT4[1] for each in limits.values())
    return {"format": schema.get("format", "int32" if is_short else "int64"), **limits}
