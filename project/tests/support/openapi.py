"""Reading an OpenAPI document."""

from typing import Any


def resolved(document: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference within the document."""
    found: Any = document
    for name in described.get("$ref", "#").split("/")[1:]:
        found = found[name]
    return found if "$ref" in described else described


def parameters_of(document: dict[str, Any], path: str, method: str = "get") -> list[dict[str, Any]]:
    """Return the parameters of an operation, without references."""
    parameters = document["paths"][path][method].get("parameters", [])
    return [resolved(document, each) for each in parameters]
