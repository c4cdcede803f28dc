"""What Schemathesis has to know beside the OpenAPI document; schemathesis.toml names it."""

import secrets
from typing import Annotated, Any
from urllib.parse import urlsplit

import jsonschema_rs
import schemathesis
from pydantic import BaseModel, TypeAdapter, ValidationError
from schemathesis.transport import SerializationContext

from app import resources
from songbook.http import CSV, NDJSON, Route
from songbook.http.media_types import FILE_SUFFIXES
from songbook.models.field_types import DecimalType, FieldType, FloatType, TextType
from songbook.models.fields import field_type_of
from songbook.models.json_types import ObjectType
from tests.support.reports import written
from tests.support.values import numbered, shown


@schemathesis.serializer(CSV, NDJSON)
def as_file(context: SerializationContext, value: Any) -> bytes:
    """Write as many rows as a text has characters, up to three, that fit; one in eight as it is."""
    path = context.case.operation.path
    model, content = (
        model_at(context.case.operation),
        value if isinstance(value, bytes) else str(value).encode(),
    )
    if model is None or len(content) % 8 == 7:
        return content
    types = {name: field_type_of(info.annotation) for name, info in model.model_fields.items()}
    rows = [
        {name: shown(numbered(type_, name, nth)) for name, type_ in types.items() if type_}
        for nth in range(len(content) % 4)
    ]
    kind = NDJSON if path.endswith(FILE_SUFFIXES[NDJSON]) else CSV
    return written(rows, kind) if rows or kind == NDJSON else ",".join(types).encode()


@schemathesis.hook
def before_call(_context: Any, case: Any, _options: Any) -> None:
    """Leave out what no schema can say: that keys differ, and which columns a file has."""
    if isinstance(case.body, dict):
        case.body = expressible(model_at(case.operation), case.body)
    if key := (case.headers or {}).get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = unlike_all_others(key)
    for name in ("ignore", "fields"):  # the schema of a response requires all fields
        (case.query or {}).pop(name, None)


def expressible(model: type[BaseModel] | None, row: Any) -> Any:
    """Return a row with other values in the place of those that are refused, though they fit.

    No schema says how many digits a number has, or which objects jsonb gives back as they were.
    Texts that urlsplit refuses, such as `http://[e]`, break Schemathesis where responses have them.
    """
    if model is None or not isinstance(row, dict):
        return row
    types = {name: field_type_of(info.annotation) for name, info in model.model_fields.items()}
    return {
        name: shown(numbered(type_, name, 1))
        if (type_ := types.get(name)) and is_inexpressible(type_, value)
        else value
        for name, value in row.items()
    }


def model_at(operation: Any) -> type[BaseModel] | None:
    """Return the class of the bodies of an operation, None if it is of no resource."""
    path = operation.path.removesuffix(FILE_SUFFIXES[CSV]).removesuffix(FILE_SUFFIXES[NDJSON])
    for module in resources.modules().values():
        for route in module.router.routes:
            is_it = isinstance(route, Route) and route.path == path
            if is_it and operation.method.upper() in route.methods:
                return next(iter(route.bodies.values()), None)
    return None


def is_inexpressible(type_: FieldType, value: Any) -> bool:
    if isinstance(value, str) and isinstance(type_, TextType):
        return is_taken(type_, value) and not is_split(value)
    if not isinstance(type_, DecimalType | FloatType | ObjectType):
        return False
    return jsonschema_rs.is_valid(type_.json_schema(), value) and not is_taken(type_, value)


def is_taken(type_: FieldType, value: Any) -> bool:
    try:
        TypeAdapter(Annotated[Any, type_]).validate_python(value)
    except ValidationError:
        return False
    return True


def is_split(value: str) -> bool:
    try:
        urlsplit(value)
    except ValueError:
        return False
    return True


def unlike_all_others(key: str) -> str:
    """Return a key that no request has had, if it is one."""
    mark, number = key[: key.startswith('"')], secrets.token_hex(8)
    return f"{mark}{number}{key.removeprefix(mark)}"[:255]
