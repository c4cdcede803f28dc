"""What the OpenAPI document says of many rows in one body or answer, and of writes tried dry."""

from typing import Any

from songbook.http import CSV, ENDINGS, JSON, NDJSON

_TEXTS = {
    CSV: "A line with the names of the fields, then a line for each row (RFC 4180).",
    NDJSON: "A JSON object on each line.",
}
_REPORT = {"$ref": "#/components/schemas/ImportReport"}


def add_exports(operation: dict[str, Any]) -> None:
    """Let a list be answered with all of its rows, as CSV and NDJSON."""
    operation["responses"]["200"]["content"] |= {each: _text(each) for each in ENDINGS}


def add_imports(operation: dict[str, Any], media_types: tuple[str, ...]) -> None:
    """Let the body of a POST have many rows, and its answer tell what became of them."""
    body = operation["requestBody"]["content"]
    one = body[JSON]["schema"]
    for media_type in media_types:
        described = {"type": "array", "items": one, "description": _TEXTS[media_type]}
        body[media_type] = {"schema": described}
    content = operation["responses"]["201"]["content"][JSON]
    content["schema"] = {"anyOf": [content["schema"], _REPORT]}
    operation["responses"]["201"]["description"] = "The record, or what became of many rows"


def add_tries(operation: dict[str, Any]) -> None:
    """Let a write be tried: it answers 200 where it would answer 201 or 204."""
    responses = operation["responses"]
    tried: dict[str, Any] = {"description": "What would be answered, of a write that is only tried"}
    if "201" in responses:
        tried["content"] = {JSON: {**responses["201"]["content"][JSON]}}
    responses.setdefault("200", tried)


def _text(media_type: str) -> dict[str, Any]:
    return {"schema": {"type": "string", "description": _TEXTS[media_type]}}
