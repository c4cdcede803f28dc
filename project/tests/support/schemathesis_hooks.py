"""What Schemathesis has to know beside the OpenAPI document; schemathesis.toml names it."""

import csv
import io
import json
import secrets
from typing import Any

import schemathesis
from pydantic import ValidationError
from schemathesis.transport import SerializationContext
from sqlmodel import SQLModel

from app import resources
from songbook.http.media_types import CSV, JSON, NDJSON
from songbook.models.discovery import family

OF_A_FILE = ("ignore",)
OF_MANY_ROWS = ("on_error", "on_conflict", *OF_A_FILE)


@schemathesis.serializer(CSV)
def as_csv(context: SerializationContext, value: Any) -> bytes:
    """Write rows under a line with the names of the fields.

    In a file every value is a text: a row that has one of another type loses its columns.
    """
    model = rows_of(context.case.operation.path)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(model.model_fields)
    for row in value if isinstance(value, list) else [value]:
        is_one = fits(model, row)
        writer.writerow([spelled(row.get(name)) for name in model.model_fields] if is_one else "??")
    return text.getvalue().encode()


@schemathesis.serializer(NDJSON)
def as_ndjson(_context: SerializationContext, value: Any) -> bytes:
    """Write a row on each line."""
    lines = [json.dumps(row) for row in (value if isinstance(value, list) else [value])]
    return "\n".join(lines).encode()


def rows_of(path: str) -> type[SQLModel]:
    """Return the class of the rows that a list takes."""
    modules = {module.router.prefix: module for module in resources.modules().values()}
    return family(modules[path]).create


def fits(model: type[SQLModel], row: Any) -> bool:
    """Tell whether a row is as its class wants it."""
    try:
        model.model_validate(row)
    except ValidationError:
        return False
    return isinstance(row, dict)


def spelled(value: Any) -> str:
    """Return a value as a file has it."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


@schemathesis.hook
def before_call(_context: Any, case: Any, _options: Any) -> None:
    """Leave out what no schema can say: that keys differ, and what is for other bodies."""
    if key := (case.headers or {}).get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = unlike_all_others(key)
    if "escape" in (case.query or {}):
        case.headers = {**(case.headers or {}), "Accept": CSV}
        case.query.pop("count", None)
    for name in OF_MANY_ROWS if case.media_type == JSON else OF_A_FILE:
        (case.query or {}).pop(name, None)


def unlike_all_others(key: str) -> str:
    """Return a key that no request has had, if it is one."""
    mark, number = key[: key.startswith('"')], secrets.token_hex(8)
    return f"{mark}{number}{key.removeprefix(mark)}"[:255]
