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
from songbook.models.field_types import DecimalType, FieldType, FloatType, ScalarType, TextType
from songbook.models.fields import field_type_of
from songbook.models.json_types import ObjectType
from songbook.openapi.files import MAX_FILE
from songbook.openapi.schemas import MAX_LENGTH
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
def before_load_schema(_context: Any, schema: dict[str, Any]) -> None:
    """Remove what would hide mistakes, or is longer than a request may be.

    Beside a response of all other errors every status would be declared.
    """
    for item in schema["paths"].values():
        for operation in item.values():
            del operation["responses"]["default"]
    parts: list[Any] = [schema]
    for part in parts:
        parts += [each for each in members_of(part) if isinstance(each, dict | list)]
        if isinstance(part, dict) and part.get("maxLength", 0) in {MAX_LENGTH, MAX_FILE}:
            del part["maxLength"]


def members_of(part: Any) -> list[Any]:
    return [*part.values()] if isinstance(part, dict) else part


@schemathesis.hook
def before_call(_context: Any, case: Any, _options: Any) -> None:
    """Leave out what no schema can say: that keys differ, and which columns a file has."""
    if isinstance(case.body, dict):
        case.body = expressible(model_at(case.operation), case.body)
    if key := (case.headers or {}).get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = unlike_all_others(key)
    for name in {"If-Match", "If-None-Match"} & {*(case.headers or {})}:
        if case.headers[name] in {0, "0"}:  # Schemathesis takes a number for any text that fits
            case.headers[name] = '"0"'
    query = case.query or {}
    for name in ("ignore", "fields"):  # the schema of a response requires all fields
        query.pop(name, None)
    for name in {"sort", "expand"} & query.keys():
        query[name] = each_once(query[name])


def each_once(names: Any) -> Any:
    """Return the names in a text, those that are repeated only once."""
    if not isinstance(names, str):
        return names
    found = {name.removeprefix("-"): name for name in names.split(",")}
    return ",".join(found.values())


def expressible(model: type[BaseModel] | None, row: Any) -> Any:
    """Return a row with other values in the place of those that are refused, though they fit.

    No schema says how many digits a number has, or which objects jsonb gives back as they were, and
    a text that is read as a number is no mistake. Texts that urlsplit refuses, such as
    `http://[e]`, break Schemathesis where responses have them.
    """
    if model is None or not isinstance(row, dict):
        return row
    types = {name: field_type_of(info.annotation) for name, info in model.model_fields.items()}
    return {name: expressed(types.get(name), name, value) for name, value in row.items()}


def expressed(type_: FieldType | None, name: str, value: Any) -> Any:
    """Return a value, or another one of the same kind: one that fits, or one that does not."""
    if type_ is None:
        return value
    if is_inexpressible(type_, value):
        return shown(numbered(type_, name, 1))
    is_fitting = jsonschema_rs.is_valid(type_.json_schema(), value)
    is_read = isinstance(type_, ScalarType) and not is_fitting and is_taken(type_, value)
    return "\0" if is_read else value


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
