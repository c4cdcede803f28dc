"""Field types whose values are arrays and objects of JSON."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from sqlalchemy import Column, ColumnElement, Text, and_, func, null, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from typing_extensions import override

from songbook.models.field_types import HAS, FieldType, TextType
from songbook.models.text_values import without_nul

_ITEM = TextType()
_MAX_ITEMS = 100
_MAX_DEPTH = 32
_MAX_CHARACTERS = 10_000
_MAX_WRITTEN = 8  # bytes of a character as jsonb writes it: 1e30 has 31 digits
# jsonb writes 1e400 as 401 digits
_LEAST, _GREATEST = 1e-30, 1e30


@dataclass(frozen=True, kw_only=True)
class ListType(FieldType):
    """A list of `min_length` to `max_length` texts, at most 100, each as in a field of type str."""

    python_type = list
    sql_type = ARRAY(Text())
    filters = (HAS,)
    is_json = True
    min_length: int = 0
    max_length: int = _MAX_ITEMS

    def __post_init__(self) -> None:
        if not 0 <= self.min_length <= self.max_length <= _MAX_ITEMS:
            raise TypeError(
                "min_length should be 0 or more, max_length not less than min_length and at most"
                f" {_MAX_ITEMS}"
            )

    @property
    @override
    def max_bytes(self) -> int:
        return self.max_length * _ITEM.max_bytes

    @property
    @override
    def is_sortable(self) -> bool:
        return False

    @override
    def check(self, column: Column[Any]) -> ColumnElement[bool] | None:
        """Return the CHECK constraint: one dimension, and no item is null or empty."""
        number = func.cardinality(column)
        checks = [
            func.array_ndims(column) == text("1"),
            func.array_position(column, null()).is_(None),
            func.array_position(column, text("''")).is_(None),
            number <= text(str(self.max_length)),
        ]
        if self.min_length:
            checks.append(number >= text(str(self.min_length)))
        return and_(*checks)

    @override
    def parse(self, value: str) -> Any:
        """Return the item of a filter. Raises ValueError."""
        return _ITEM.parse(value)

    @override
    def filter_schema(self) -> dict[str, Any]:
        """Return the JSON schema of the item of a filter."""
        return _ITEM.filter_schema()

    @override
    def pydantic_schema(self) -> CoreSchema:
        return core_schema.list_schema(
            _ITEM.pydantic_schema(),
            min_length=self.min_length or None,
            max_length=self.max_length,
            strict=True,
        )

    @override
    def json_schema(self) -> dict[str, Any]:
        item = _ITEM.json_schema()
        least = {"minItems": self.min_length} if self.min_length else {}
        return {"type": "array", "items": item, **least, "maxItems": self.max_length}


@dataclass(frozen=True, kw_only=True)
class ObjectType(FieldType):
    """An object of JSON, of at most 10,000 characters and 32 levels."""

    python_type = dict
    sql_type = JSONB(none_as_null=True)
    filters = ()
    is_json = True

    @property
    @override
    def max_bytes(self) -> int:
        return _MAX_CHARACTERS * _MAX_WRITTEN

    @property
    @override
    def is_sortable(self) -> bool:
        return False

    @override
    def check(self, column: Column[Any]) -> ColumnElement[bool] | None:
        return func.jsonb_typeof(column) == text("'object'")

    @override
    def pydantic_schema(self) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            _storable, core_schema.dict_schema(core_schema.str_schema(), strict=True)
        )

    @override
    def json_schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": True}


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    """Return an object. Raises PydanticCustomError for what jsonb cannot store or give back."""
    _check_values(value, 1)
    if len(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) > _MAX_CHARACTERS:
        message = "Object should have at most {most} characters as JSON"
        raise PydanticCustomError("json_too_long", message, {"most": _MAX_CHARACTERS})
    return value


def _check_values(value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH and isinstance(value, dict | list):
        message = "Object should have at most {most} levels"
        raise PydanticCustomError("json_too_deep", message, {"most": _MAX_DEPTH})
    match value:
        case dict():
            for name, each in value.items():
                _check_values(name, depth + 1)
                _check_values(each, depth + 1)
        case list():
            for each in value:
                _check_values(each, depth + 1)
        case str():
            _check_text(value)
        case int() | float() if not (value == 0 or _LEAST <= abs(value) <= _GREATEST):
            message = "Numbers should be from 1e-30 to 1e30 in size"
            raise PydanticCustomError("json_number", message)


def _check_text(value: str) -> None:
    without_nul(value)
    try:
        value.encode()
    except UnicodeEncodeError:
        message = "String should not contain lone surrogates"
        raise PydanticCustomError("string_unicode", message) from None
