"""Field types: what a Python type is in requests, in the table, in filters and in OpenAPI."""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Double,
    Integer,
    Numeric,
    Time,
    Uuid,
    and_,
    func,
    literal_column,
    text,
)
from sqlalchemy.types import TypeEngine
from sqlmodel import AutoString
from typing_extensions import override

from songbook.models.text_values import INT4, INT8, SYNTAX, in_utc, text_parser, without_nul

# Unicode's White_Space, which pydantic strips; `\s` in a JSON schema is another set.
_SPACE = r"\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_NOT_BLANK = rf"^[^\u0000]*[^\u0000{_SPACE}][^\u0000]*$"
NO_NUL = r"^[^\u0000]*$"
# What Rust's regular expressions, ECMA 262 and PostgreSQL read alike: escapes, sets, repetitions
_ESCAPE = r"\\[$()*+./?\[\]^{|}\\-]"
_ITEM = rf"(?!&&|~~)(?:{_ESCAPE}|[^\]\[\\-])"
_ATOM = re.compile(rf"{_ESCAPE}|\[\^?(?:-?(?:{_ITEM}(?:-{_ITEM})?)+-?|-)\]")
_COUNT = "(?:[0-9]{1,2}|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
_REPETITION = re.compile(rf"\{{{_COUNT}(?:,{_COUNT}?)?\}}")
# and what they do not, in what is left without them.
_NOT_PORTABLE = re.compile(r"\\.?|\(\?(?!:)|[\[\]{}\0]|[\^$*+?][*+?]")

EQUAL, NOT, CONTAINS, STARTS, HAS = "", "_not", "_contains", "_starts", "_has"
RANGES = ("_gt", "_gte", "_lt", "_lte")

_MAX_SORTED = 255  # characters: a cursor in a URL has up to eight bytes for each
_MAX_PART = 255  # characters: ILIKE compares each with each of a long text
_MAX_CHARACTERS = 10_485_760  # https://www.postgresql.org/docs/current/datatype-character.html
_MAX_SCALAR_BYTES = 64
_MAX_ESCAPED = 6  # bytes of a character in JSON, as \u0001
_MAX_DIGITS = 1000  # https://www.postgresql.org/docs/current/datatype-numeric.html
_EXACT_DIGITS = 15  # of a decimal number that a float keeps

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "ge": operator.ge,
    "gt": operator.gt,
    "le": operator.le,
    "lt": operator.lt,
}
_KEYWORDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
}


@dataclass(frozen=True, kw_only=True)
class FieldType:
    """A type of fields with its constraints, which are its attributes; an item of `Annotated`."""

    python_type: ClassVar[Any]
    filters: ClassVar[tuple[str, ...]] = (EQUAL, NOT, *RANGES)
    """The comparisons of the filters, which follow the name of the field."""
    is_json: ClassVar[bool] = False
    """Whether a value in CSV is a JSON text."""
    sql_type: ClassVar[TypeEngine[Any]]

    @property
    def max_bytes(self) -> int:
        """The maximum size of a value in JSON, in bytes."""
        return _MAX_SCALAR_BYTES

    @property
    def is_sortable(self) -> bool:
        """Return whether a cursor can hold a value."""
        return True

    def column_type(self) -> TypeEngine[Any]:
        """Return the type of the column."""
        return self.sql_type

    def check(self, column: Column[Any]) -> ColumnElement[bool] | None:  # noqa: ARG002
        """Return the CHECK constraint, None where the type of the column says it all."""
        return None

    def parse(self, value: str) -> Any:
        """Return the value of a filter or a cursor. Raises ValueError."""
        return text_parser(self.python_type)(value)

    def filter_schema(self) -> dict[str, Any]:
        """Return the JSON schema of the value of a filter."""
        return self.json_schema()

    def pydantic_schema(self) -> CoreSchema:
        """Return pydantic's schema of the values."""
        raise NotImplementedError

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON schema of the values; bodies accept some in other forms, too."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return self.pydantic_schema()

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return self.json_schema()


@dataclass(frozen=True, kw_only=True)
class TextType(FieldType):
    """A text of `min_length` to `max_length` characters without NUL; outer white space is stripped.

    pydantic, JSON schema and PostgreSQL have to read `pattern` alike; `example` is for the message
    about a text that does not match. With `ignores_case` unique constraints are case-insensitive.
    """

    python_type = str
    filters = (EQUAL, NOT, CONTAINS, STARTS)
    max_length: int = 255
    min_length: int = 1
    pattern: str | None = None
    example: str | None = None
    ignores_case: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_length <= self.max_length <= _MAX_CHARACTERS:
            raise TypeError(
                "min_length should be 0 or more, max_length not less than min_length (1 by default)"
                f" and at most {_MAX_CHARACTERS}"
            )
        rest = _REPETITION.sub("*", _ATOM.sub("x", self.pattern or ""))
        if found := _NOT_PORTABLE.search(rest):
            raise TypeError(
                f"{found[0]!r} in the regular expression {self.pattern!r} means something else to"
                " PostgreSQL or to JSON Schema: write sets such as [0-9], groups (?:…), and"
                " repetitions that are greedy and of at most 255"
            )

    @property
    @override
    def max_bytes(self) -> int:
        return _MAX_ESCAPED * self.max_length

    @property
    @override
    def is_sortable(self) -> bool:
        return self.max_length <= _MAX_SORTED

    @override
    def column_type(self) -> TypeEngine[Any]:
        return AutoString(self.max_length)

    @override
    def check(self, column: Column[Any]) -> ColumnElement[bool] | None:
        """Return the CHECK constraint; the column itself limits the length."""
        checks = []
        if self.min_length:
            checks.append(func.char_length(column) >= text(str(self.min_length)))
        if self.pattern:
            checks.append(column.regexp_match(self.pattern))
        return and_(*checks) if checks else None

    @property
    def max_part(self) -> int:
        """The maximum length of a text to search for within the values."""
        return min(self.max_length, _MAX_PART)

    def parse_part(self, value: str) -> Any:
        """Return a text to search for within the values. Raises ValueError if it is too long."""
        if len(value) > self.max_part:
            raise PydanticCustomError(
                "string_too_long", "Should have at most {most} characters", {"most": self.max_part}
            )
        return self.parse(value)

    @override
    def filter_schema(self) -> dict[str, Any]:
        """Return the JSON schema of the value of a filter, which need not be one of the field."""
        return {"type": "string", "pattern": NO_NUL}

    @override
    def pydantic_schema(self) -> CoreSchema:
        free = core_schema.no_info_after_validator_function(
            without_nul,
            core_schema.str_schema(
                strip_whitespace=True, min_length=self.min_length, max_length=self.max_length
            ),
        )
        if self.pattern is None:
            return free
        expected = f"be like {self.example}" if self.example else f"match {self.pattern}"
        formed = core_schema.custom_error_schema(
            core_schema.str_schema(pattern=self.pattern),
            "string_form",
            custom_error_message=f"String should {expected}",
        )
        return core_schema.chain_schema([free, formed])

    @override
    def json_schema(self) -> dict[str, Any]:
        lengths = {"maxLength": self.max_length} | (
            {"minLength": self.min_length} if self.min_length else {}
        )
        free = _NOT_BLANK if self.min_length else NO_NUL
        example = {"examples": [self.example]} if self.example else {}
        return {"type": "string", **lengths, "pattern": self.pattern or free, **example}


@dataclass(frozen=True, kw_only=True)
class ScalarType(FieldType):
    """A type whose values are texts of a syntax, and for some types also other JSON values."""

    json_types: ClassVar[tuple[type, ...]] = ()
    name: ClassVar[str]
    """The name in the types of errors."""
    lax_schema: ClassVar[CoreSchema]
    """pydantic's own schema, which accepts more than it should."""
    limits: ClassVar[dict[str, str]] = {}
    """The bounds, as SQL, beyond which only PostgreSQL has values, such as infinity."""

    @override
    def pydantic_schema(self) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._strict, self._lax_schema())

    def _lax_schema(self) -> CoreSchema:
        """Return `lax_schema` with the constraints."""
        return self.lax_schema

    @override
    def check(self, column: Column[Any]) -> ColumnElement[bool] | None:
        """Return the CHECK constraint of the bounds."""
        bounds = self._sql_bounds().items()
        checks = [_COMPARE[name](column, literal_column(value)) for name, value in bounds]
        return and_(*checks) if checks else None

    def _sql_bounds(self) -> dict[str, str]:
        return self.limits

    def _strict(self, value: Any) -> Any:
        """Refuse what pydantic would convert: true for 1, 0 for a date, "1_000" and " 5 "."""
        kind, syntax = type(value), SYNTAX[self.python_type]
        if kind is str and syntax.regex.fullmatch(value):
            return value
        if kind is self.python_type or kind in self.json_types:
            return value
        error = f"{self.name}_parsing" if kind is str else f"{self.name}_type"
        message = "Input should be {expected}"
        raise PydanticCustomError(error, message, {"expected": syntax.expected})


@dataclass(frozen=True, kw_only=True)
class NumberType(ScalarType):
    """A number with bounds."""

    json_types = (int, float)
    ge: Any = None
    gt: Any = None
    le: Any = None
    lt: Any = None

    def __post_init__(self) -> None:
        bounds = self._bounds()
        if not all(type(each) in {int, float, Decimal} for each in bounds.values()):
            raise TypeError("the bounds should be numbers")
        if not all(math.isfinite(each) for each in bounds.values()):
            raise TypeError("the bounds should be finite numbers; leave them out for none")
        lows = [bounds[name] for name in ("ge", "gt") if name in bounds]
        highs = [bounds[name] for name in ("le", "lt") if name in bounds]
        if lows and highs and max(lows) > min(highs):
            raise TypeError("the bounds leave no value")

    def _bounds(self) -> dict[str, Any]:
        """Return the bounds by the name of their constraint."""
        bounds = {name: getattr(self, name) for name in _COMPARE}
        return {name: value for name, value in bounds.items() if value is not None}

    @override
    def _sql_bounds(self) -> dict[str, str]:
        """Return the bounds, and the limits where there are none."""
        bounds = {name: str(value) for name, value in self._bounds().items()}
        sides = {name[0] for name in bounds}  # `ge` and `gt`, `le` and `lt`
        limits = {name: value for name, value in self.limits.items() if name[0] not in sides}
        return {**limits, **bounds}


@dataclass(frozen=True, kw_only=True)
class IntegerType(NumberType):
    """An integer within its bounds, BIGINT where they or a foreign key need it."""

    python_type = int
    name = "int"
    is_wide: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (INT8[0] <= self.low and self.high <= INT8[1]):
            raise TypeError(f"the bounds should be from {INT8[0]} to {INT8[1]}, those of BIGINT")
        if self.low > self.high:
            raise TypeError("the bounds leave no value")

    @property
    def _column_range(self) -> tuple[int, int]:
        bounds = [bound for bound in self._given() if bound is not None]
        is_wide = self.is_wide or any(not INT4[0] <= bound <= INT4[1] for bound in bounds)
        return INT8 if is_wide else INT4

    def _given(self) -> tuple[int | None, int | None]:
        """Return the bounds, both included."""
        lows = [math.ceil(self.ge)] if self.ge is not None else []
        lows += [math.floor(self.gt) + 1] if self.gt is not None else []
        highs = [math.floor(self.le)] if self.le is not None else []
        highs += [math.ceil(self.lt) - 1] if self.lt is not None else []
        return max(lows, default=None), min(highs, default=None)

    @property
    def low(self) -> int:
        """Return the least value."""
        low = self._given()[0]
        return self._column_range[0] if low is None else low

    @property
    def high(self) -> int:
        """Return the greatest value."""
        high = self._given()[1]
        return self._column_range[1] if high is None else high

    @override
    def column_type(self) -> TypeEngine[Any]:
        return BigInteger() if self._column_range == INT8 else Integer()

    @override
    def check(self, column: Column[Any]) -> ColumnElement[bool] | None:
        """Return the CHECK constraint where the range is narrower than the column's."""
        bounds = []
        low, high = self._column_range
        if self.low > low:
            bounds.append(column >= text(str(self.low)))
        if self.high < high:
            bounds.append(column <= text(str(self.high)))
        return and_(*bounds) if bounds else None

    @override
    def parse(self, value: str) -> Any:
        return text_parser(int, wide=self._column_range == INT8)(value)

    @override
    def filter_schema(self) -> dict[str, Any]:
        """Return the JSON schema of the value of a filter: any that the column could have."""
        low, high = self._column_range
        return {"type": "integer", "minimum": low, "maximum": high}

    @override
    def _lax_schema(self) -> CoreSchema:
        return core_schema.int_schema(ge=self.low, le=self.high)

    @override
    def json_schema(self) -> dict[str, Any]:
        low = 1 if self.is_wide else self.low  # an id
        return {"type": "integer", "minimum": low, "maximum": self.high}


@dataclass(frozen=True, kw_only=True)
class BooleanType(ScalarType):
    """`true` or `false`, also as strings, as in CSV files."""

    python_type = bool
    sql_type = Boolean()
    lax_schema = core_schema.bool_schema()
    filters = (EQUAL, NOT)
    name = "bool"

    @override
    def json_schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, kw_only=True)
class FloatType(NumberType):
    """A finite number in double precision."""

    python_type = float
    sql_type = Double()
    name = "float"
    limits: ClassVar[dict[str, str]] = {"gt": "'-Infinity'", "lt": "'Infinity'"}

    @override
    def _lax_schema(self) -> CoreSchema:
        bounds: dict[str, Any] = {name: float(value) for name, value in self._bounds().items()}
        return core_schema.float_schema(allow_inf_nan=False, **bounds)

    @override
    def filter_schema(self) -> dict[str, Any]:
        return {"type": "number"}

    @override
    def json_schema(self) -> dict[str, Any]:
        bounds = self._bounds().items()
        limits = {_KEYWORDS[name]: float(value) for name, value in bounds}
        return {"type": "number", **limits}


@dataclass(frozen=True, kw_only=True)
class DecimalType(NumberType):
    """A decimal number of `max_digits` digits, `decimal_places` of them after the point.

    Responses have it as a string with all its places, because many clients read a number as float.
    """

    python_type = Decimal
    name = "decimal"
    limits: ClassVar[dict[str, str]] = {"lt": "'NaN'"}
    max_digits: int
    decimal_places: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.decimal_places <= self.max_digits <= _MAX_DIGITS or not self.max_digits:
            raise TypeError(
                f"max_digits should be from 1 to {_MAX_DIGITS}, and decimal_places from 0 to"
                " max_digits"
            )

    @property
    @override
    def max_bytes(self) -> int:
        return self.max_digits + _MAX_SCALAR_BYTES

    @override
    def column_type(self) -> TypeEngine[Any]:
        return Numeric(self.max_digits, self.decimal_places)

    @override
    def _lax_schema(self) -> CoreSchema:
        # Decimal(0.01) is a little more than 0.01
        bounds: dict[str, Any] = {
            name: Decimal(str(value)) for name, value in self._bounds().items()
        }
        return core_schema.decimal_schema(
            max_digits=self.max_digits, decimal_places=self.decimal_places, **bounds
        )

    @override
    def _strict(self, value: Any) -> Any:
        """Refuse floats of more digits than a float keeps, beside what every number refuses."""
        if type(value) is float and len(Decimal(repr(value)).as_tuple().digits) > _EXACT_DIGITS:
            message = "Input should have at most {most} digits, or be a string"
            raise PydanticCustomError("decimal_inexact", message, {"most": _EXACT_DIGITS})
        return super()._strict(value)

    @override
    def filter_schema(self) -> dict[str, Any]:
        pattern = f"^{SYNTAX[Decimal].regex.pattern}$"
        most = 2 * _MAX_DIGITS + len("-.")
        return {"type": "string", "format": "decimal", "pattern": pattern, "maxLength": most}

    @override
    def json_schema(self) -> dict[str, Any]:
        whole, places = self.max_digits - self.decimal_places, self.decimal_places
        least = self._bounds().get("ge", self._bounds().get("gt", -1))
        sign = "-?" if least < 0 else ""
        fraction = rf"(\.[0-9]{{1,{places}}})?" if places else ""
        pattern = rf"^{sign}[0-9]{{1,{whole or 1}}}{fraction}$"
        most = self.max_digits + len("-0.")
        return {"type": "string", "format": "decimal", "pattern": pattern, "maxLength": most}


@dataclass(frozen=True, kw_only=True)
class FormattedType(ScalarType):
    """A type whose values are strings of a format."""

    json_format: ClassVar[str]

    @override
    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "format": self.json_format}


@dataclass(frozen=True, kw_only=True)
class DateType(FormattedType):
    """A date of the years 1 to 9999."""

    python_type = date
    sql_type = Date()
    lax_schema = core_schema.date_schema()
    name = json_format = "date"
    limits: ClassVar[dict[str, str]] = {"ge": "'0001-01-01'", "le": "'9999-12-31'"}


@dataclass(frozen=True, kw_only=True)
class DateTimeType(FormattedType):
    """A time with its offset; it is stored, and shown, in UTC."""

    python_type = datetime
    sql_type = DateTime(timezone=True)
    lax_schema = core_schema.no_info_after_validator_function(
        in_utc, core_schema.datetime_schema(tz_constraint="aware")
    )
    name, json_format = "datetime", "date-time"
    limits: ClassVar[dict[str, str]] = {
        "ge": "'0001-01-01 00:00+00'",
        "lt": "'10000-01-01 00:00+00'",
    }


@dataclass(frozen=True, kw_only=True)
class TimeType(FormattedType):
    """A time of day, without an offset."""

    python_type = time
    sql_type = Time()
    lax_schema = core_schema.time_schema()
    name = "time"
    limits: ClassVar[dict[str, str]] = {"lt": "'24:00'"}
    # not `time`, which has an offset (RFC 3339)
    json_format = "partial-time"

    @override
    def json_schema(self) -> dict[str, Any]:
        pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?$"
        return {"type": "string", "format": self.json_format, "pattern": pattern}


@dataclass(frozen=True, kw_only=True)
class UuidType(FormattedType):
    """A UUID in its canonical form, in any case."""

    python_type = UUID
    sql_type = Uuid()
    lax_schema = core_schema.uuid_schema()
    filters = (EQUAL, NOT)
    name = json_format = "uuid"


@dataclass(frozen=True, kw_only=True)
class ChoiceType(FieldType):
    """One of some texts: a Literal or a StrEnum."""

    python_type = str
    filters = (EQUAL, NOT)
    choices: tuple[str, ...]
    enum: type[StrEnum] | None = None

    def __post_init__(self) -> None:
        if others := [each for each in self.choices if not isinstance(each, str)]:
            advice = "for null, write `| None`" if others == [None] else "write strings"
            raise TypeError(f"{others[0]!r} is no string: {advice}")
        if not self.choices:
            raise TypeError(f"{self.enum.__name__ if self.enum else 'Literal'} has no members")
        for each in self.choices:
            if len(each) > _MAX_SORTED or "\0" in each:
                raise TypeError(
                    f"the member {each[:20]!r} should have at most {_MAX_SORTED} characters, none"
                    " of them NUL"
                )

    @property
    @override
    def max_bytes(self) -> int:
        return _MAX_ESCAPED * _MAX_SORTED

    @override
    def column_type(self) -> TypeEngine[Any]:
        """Return the type of the column, the same for all, so that a new value is a new CHECK."""
        return AutoString(_MAX_SORTED)

    @override
    def check(self, column: Column[Any]) -> ColumnElement[bool] | None:
        return column.in_(self.choices)

    @override
    def parse(self, value: str) -> Any:
        if value not in self.choices:
            expected = " or ".join(f"`{each}`" for each in self.choices)
            raise PydanticCustomError("choice", "Should be {expected}", {"expected": expected})
        return value

    @override
    def pydantic_schema(self) -> CoreSchema:
        if self.enum:
            return core_schema.enum_schema(self.enum, [*self.enum], sub_type="str")
        return core_schema.literal_schema([*self.choices])

    @override
    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": [*self.choices]}
