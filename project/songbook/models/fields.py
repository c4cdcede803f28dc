"""Field types: one declaration for validation, JSON schema, column and CHECK constraint."""

import re
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, get_args

from annotated_types import MaxLen
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from sqlalchemy import BigInteger, Column, ColumnElement, TypeDecorator, and_, func, text

from songbook.models.digit_patterns import decimal_pattern

INT4 = (-(2**31), 2**31 - 1)
INT8 = (-(2**63), 2**63 - 1)

# Unicode's White_Space, which pydantic strips; `\s` in a JSON schema is another set.
_SPACE = r"\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NOT_BLANK = rf"^[^\u0000]*[^\u0000{_SPACE}][^\u0000]*$"
NO_NUL = r"^[^\u0000]*$"
_DECIMAL = re.compile(r"0|-?[1-9][0-9]*")


def without_nul(value: str) -> str:
    """Return `value`. Raises PydanticCustomError for NUL, which PostgreSQL cannot store."""
    if "\0" in value:
        raise PydanticCustomError("string_nul", "String should not contain NUL (U+0000)")
    return value


@dataclass(frozen=True)
class Characters(MaxLen):
    """A text of `min_length` to `max_length` characters without NUL; outer white space is stripped.

    `pattern` is a regular expression that pydantic, JSON schema and PostgreSQL read alike, anchored
    with ^ and $; `like` is an example for error messages. With `ignores_case` unique constraints
    are case-insensitive.
    """

    max_length: int = 255
    min_length: int = 1
    pattern: str | None = None
    like: str = ""
    ignores_case: bool = False

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        text = core_schema.no_info_after_validator_function(
            without_nul,
            core_schema.str_schema(
                strip_whitespace=True, min_length=self.min_length, max_length=self.max_length
            ),
        )
        if self.pattern is None:
            return text
        formed = core_schema.custom_error_schema(
            core_schema.str_schema(pattern=self.pattern),
            "string_form",
            custom_error_message=f"String should be like {self.like}",
        )
        return core_schema.chain_schema([text, formed])

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        free = _NOT_BLANK if self.min_length else NO_NUL
        example = {"examples": [self.like]} if self.like else {}
        return handler(schema) | {"pattern": self.pattern or free} | example

    def check(self, column: Column[Any]) -> ColumnElement[bool] | None:
        """Return the CHECK constraint; the column itself limits the length."""
        checks = []
        if self.min_length:
            checks.append(func.char_length(column) >= text(str(self.min_length)))
        if self.pattern:
            checks.append(column.regexp_match(self.pattern))
        return and_(*checks) if checks else None


@dataclass(frozen=True)
class Whole:
    """A whole number of `low` to `high`, both included; its digits in a string are accepted."""

    low: int = INT4[0]
    high: int = INT4[1]

    @staticmethod
    def _strict(value: Any) -> Any:
        """Reject true, "1_000" and " 5 ", which pydantic would convert."""
        if isinstance(value, bool):
            raise PydanticCustomError("int_type", "Input should be a valid integer")
        if isinstance(value, str) and not _DECIMAL.fullmatch(value):
            raise PydanticCustomError("int_parsing", "Input should be a valid integer")
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            self._strict, core_schema.int_schema(ge=self.low, le=self.high)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        number = {"type": "integer", "minimum": self.low, "maximum": self.high}
        if handler.mode == "serialization":
            return number
        digits = {"type": "string", "pattern": decimal_pattern(self.low, self.high)}
        return {"anyOf": [number, digits]}

    def check(self, column: Column[Any]) -> ColumnElement[bool] | None:
        """Return the CHECK constraint where the range is narrower than the column's."""
        bounds = []
        low, high = INT8 if isinstance(column.type, BigInteger) else INT4
        if self.low > low:
            bounds.append(column >= text(str(self.low)))
        if self.high < high:
            bounds.append(column <= text(str(self.high)))
        return and_(*bounds) if bounds else None


class TrueOrFalse:
    """`true` or `false`, also as strings, as in CSV files."""

    @staticmethod
    def _from_string(value: Any) -> Any:
        return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            self._from_string, core_schema.bool_schema(strict=True)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        if handler.mode == "serialization":
            return {"type": "boolean"}
        return {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": "^(true|false)$"}]}


def rules_of(*annotations: Any) -> list[Characters | Whole]:
    """Return the rules in the annotation of a field, also of an optional one."""
    rules: list[Characters | Whole] = []
    for part in annotations:
        rules += [part] if isinstance(part, Characters | Whole) else rules_of(*get_args(part))
    return rules


def ignores_case(*annotations: Any) -> bool:
    """Return whether unique constraints on a field are case-insensitive."""
    rules = rules_of(*annotations)
    return any(isinstance(rule, Characters) and rule.ignores_case for rule in rules)


Text = Annotated[str, Characters()]
Flag = Annotated[bool, TrueOrFalse()]


def is_nullable(annotation: Any) -> bool:
    """Return whether a field of this type may be null."""
    return NoneType in get_args(annotation)


def kind_of(column: Column[Any]) -> type:
    """Return the Python type of a column's values."""
    kind = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    return kind.python_type
