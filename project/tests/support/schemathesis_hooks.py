"""What Schemathesis has to know beside the OpenAPI document; schemathesis.toml names it."""

import csv
import io
import json
import secrets
from typing import Annotated, Any
from urllib.parse import urlsplit

import jsonschema_rs
import schemathesis
from pydantic import BaseModel, TypeAdapter, ValidationError
from schemathesis.transport import SerializationContext

from app import resources
from songbook.http import CSV, JSON, NDJSON, Route
from songbook.models.field_types import DecimalType, FieldType, FloatType, TextType
from songbook.models.fields import field_type_of
from songbook.models.json_types import ObjectType
from tests.support.values import numbered, shown

OF_A_FILE = ("ignore",)
OF_MANY_ROWS = ("on_error", "on_conflict", *OF_A_FILE)


@schemathesis.serializer(CSV)
def as_csv(context: SerializationContext, value: Any) -> bytes:
    """Write rows under a line with the names of the fields.

    In a file every value is a text: a row that has one of another type loses its columns.
    """
    model = model_at(context.case.operation)
    assert model is not None, "there is no import without a class of its rows"
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


def fits(model: type[BaseModel], row: Any) -> bool:
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
    model = model_at(case.operation)
    if isinstance(case.body, list):
        case.body = [expressible(model, row) for row in case.body]
    elif isinstance(case.body, dict):
        case.body = expressible(model, case.body)
    if key := (case.headers or {}).get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = unlike_all_others(key)
    if "escape" in (case.query or {}):
        case.headers = {**(case.headers or {}), "Accept": CSV}
        for name in ("count", "expand"):
            case.query.pop(name, None)
    left_out = OF_MANY_ROWS if case.media_type == JSON else OF_A_FILE
    if model and isinstance(case.body, list) and not all(fits(model, row) for row in case.body):
        left_out = ("on_error", *left_out)  # with it the other rows are stored
    for name in left_out:
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
    for module in resources.modules().values():
        for route in module.router.routes:
            is_it = isinstance(route, Route) and route.path == operation.path
            if is_it and operation.method.upper() in route.methods:
                return next(iter(route.bodies.values()), None)
    return None


def is_inexpressible(type_: FieldType, value: Any) -> bool:
    if isinstance(value, str) and isinstance(type_, TextType):
        return is_taken(type_, value) and not is_split(value)
    if not isinstance(type_, DecimalType | FloatType | ObjectType):
        return False
    schema = type_.json_schema(accepts_strings=True)
    return jsonschema_rs.is_valid(schema, value) and not is_taken(type_, value)


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
