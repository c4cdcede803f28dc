"""The operations of files in the OpenAPI document; lists and imports at their own path are JSON."""

import csv
import io
import json
from typing import Any

from songbook.http import (
    CSV,
    JSON,
    NDJSON,
    OpeningDependency,
    Parameter,
    Related,
    RelatedDependency,
    Route,
)
from songbook.lists import FORMATS

_TEXTS = {
    CSV: "A header with the field names, then one record per row (RFC 4180).",
    NDJSON: "One JSON object per line.",
}
MAX_FILE = 2**53 - 1
"""The characters of a file: more than there is room for."""

# binary: generated clients send and return bytes, which need not fit into a text
_FILE = {"type": "string", "format": "binary", "maxLength": MAX_FILE}
_FORMATS = {**FORMATS, "If-None-Match": (JSON,)}


def parameters_of(route: Route, method: str, related: Related) -> list[Parameter]:
    """Return the parameters of the dependencies that mean something in the format of the route."""
    dependencies = route.request_dependencies.values()
    if route.bulk and route.file_type:
        opening = [each for each in dependencies if isinstance(each, OpeningDependency)]
        own = [each for one in opening for each in one.parameters_for(method, related)]
        return [*own, *route.bulk.parameters]
    parameters: list[Parameter] = []
    for one in dependencies:
        found = one.parameters_for(method, related)
        if isinstance(one, RelatedDependency) and one.file_types:
            shown = route.file_type or JSON
            found = tuple(each for each in found if shown in _FORMATS.get(each["name"], (shown,)))
            found = tuple(map(_unlimited, found)) if route.file_type else found
        parameters += found
    return parameters


def _unlimited(parameter: Parameter) -> Parameter:
    """Return a parameter of a list for its files, which have all rows by default."""
    if parameter["name"] != "limit":
        return parameter
    schema = {name: each for name, each in parameter["schema"].items() if name != "default"}
    return {**parameter, "description": "Maximum number of rows; by default all.", "schema": schema}


def describe_file(operation: dict[str, Any], route: Route) -> None:
    """Describe the body of an import, or the response of an export."""
    assert route.file_type, "the path of a file"
    schema = {**_FILE, "description": _TEXTS[route.file_type]}
    content = {route.file_type: {"schema": schema}}
    if route.bulk:
        operation["requestBody"] = {"required": True, "content": content}
    else:
        operation["responses"]["200"]["content"] = content


def row_of(route: Route) -> str | None:
    """Return the name of the class whose rows the files of a route have, None without files."""
    if route.file_type is None:
        return None
    lists = [each.shown.public for each in route.related_dependencies]
    models = [*route.bodies.values()] if route.bulk else lists
    return next((model.__name__ for model in models), None)


def file_of(media_type: str, row: dict[str, Any]) -> str:
    """Return a file with one row."""
    if media_type == NDJSON:
        return json.dumps(row) + "\n"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(row)
    writer.writerow(each if isinstance(each, str) else json.dumps(each) for each in row.values())
    return text.getvalue()
