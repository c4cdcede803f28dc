"""The parameters of a list, and of a record's address, as the OpenAPI document describes them."""

from datetime import date, datetime, time
from typing import Any

from sqlalchemy import BigInteger
from sqlmodel import SQLModel

from app.fields import INT4, INT8, NO_NUL
from app.filters import CONTAINS, EQUAL, Parameter, offered
from app.queries import DEFAULT_LIMIT, MOST_ROWS, MOST_VALUES
from app.records import Record, table_of

_SAYS = {
    CONTAINS: "Contains this text, in any case.",
    "_gt": "Is greater than this.",
    "_gte": "Is at least this.",
    "_lt": "Is less than this.",
    "_lte": "Is at most this.",
}
_FORMATS = {datetime: "date-time", date: "date", time: "time"}


def _schema_of(model: type[Record], parameter: Parameter) -> dict[str, Any]:
    """Return the schema of one value of a filter."""
    if parameter.kind is int:
        wide = isinstance(table_of(model).c[parameter.field].type, BigInteger)
        low, high = INT8 if wide else INT4
        return {"type": "integer", "minimum": low, "maximum": high}
    if parameter.kind is bool:
        return {"type": "boolean"}
    if parameter.kind in _FORMATS:
        return {"type": "string", "format": _FORMATS[parameter.kind]}
    return {"type": "string", "pattern": NO_NUL}


def _query(name: str, description: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


def _filter(model: type[Record], name: str, parameter: Parameter) -> dict[str, Any]:
    """Return the parameter of one filter."""
    schema = _schema_of(model, parameter)
    if parameter.comparison != EQUAL:
        return _query(name, _SAYS[parameter.comparison], schema)
    description = "Is this; repeated: is any of these."
    if parameter.nullable:
        description += " Empty: is null."
        schema = {"anyOf": [schema, {"type": "string", "maxLength": 0}]}
    return _query(name, description, {"type": "array", "items": schema, "maxItems": MOST_VALUES})


def _sort(public: type[SQLModel]) -> dict[str, Any]:
    """Return the parameter of the order: each field once, in one direction."""
    both = [
        [{"contains": {"const": sign + name}} for sign in ("", "-")] for name in public.model_fields
    ]
    schema = {
        "type": "array",
        "items": {"enum": [sign + name for name in public.model_fields for sign in ("", "-")]},
        "minItems": 1,
        "uniqueItems": True,
        "not": {"anyOf": [{"allOf": pair} for pair in both]},
    }
    description = "The order: public fields separated by commas, `-` for descending."
    return _query("sort", description, schema, style="form", explode=False)


def list_parameters(model: type[Record], public: type[SQLModel]) -> list[dict[str, Any]]:
    """Return the parameters of a list."""
    limit = {"type": "integer", "minimum": 1, "maximum": MOST_ROWS, "default": DEFAULT_LIMIT}
    words = {"type": "string", "pattern": NO_NUL}
    return [
        _query("limit", "How many rows at most.", limit),
        _sort(public),
        _query(
            "after",
            "The cursor of a `Link`: opaque, bound to these filters and this order.",
            {"type": "string"},
        ),
        _query("q", "Words that must all occur in the texts, whole and in any case.", words),
        _query("count", "`exact` adds X-Total-Count.", {"const": "exact"}),
        *(_filter(model, name, parameter) for name, parameter in offered(model, public).items()),
    ]
