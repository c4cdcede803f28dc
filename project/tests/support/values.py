"""Values of every field type: ones unlike all others, all that there are, and as JSON has them."""

import math
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import singledispatch
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from songbook.models.field_types import (
    BooleanType,
    ChoiceType,
    DateTimeType,
    DateType,
    DecimalType,
    FieldType,
    FloatType,
    IntegerType,
    NumberType,
    TextType,
    TimeType,
    UuidType,
)
from songbook.models.json_types import ListType, ObjectType
from tests.support.texts import CHARACTERS, NAUGHTY, texts

SOME_DAY = datetime(2001, 2, 3, tzinfo=UTC)
OF_ARRAYS = ["{}", "{NULL}", "NULL", "null", "a,b", '"a","b"', "{a,b}", "\\", '\\"', "[", "'"]
"""Items that break an array literal of PostgreSQL where they are not quoted."""

ITEMS = [*NAUGHTY, *OF_ARRAYS]


@singledispatch
def numbered(type_: FieldType, name: str, number: int) -> Any:
    """Return a value, unlike that of any other number if the type has so many."""
    raise NotImplementedError(type_, name, number)


@numbered.register
def _(type_: TextType, name: str, number: int) -> str:
    spelled = (
        *(f"{name} {number}", f"{name}{number}", f"{name}-{number}", f"{number}"),
        *(f"{name}{number}@x.org", f"https://x.org/{name}/{number}", type_.example or ""),
    )
    fitting = (text.ljust(type_.min_length, ".")[: type_.max_length] for text in spelled)
    return next(text for text in fitting if re.search(type_.pattern or "", text))


@numbered.register
def _(type_: IntegerType, _: str, number: int) -> int:
    return type_.low + number % (type_.high - type_.low + 1)


@numbered.register
def _(_type: BooleanType, _: str, number: int) -> bool:
    return number % 2 == 0


@numbered.register
def _(type_: FloatType, _: str, number: int) -> float:
    low, high = _floats(type_)
    middle = min(max(low, 0), high)
    return next(value for value in (number / 8, -number / 8, middle) if low <= value <= high)


@numbered.register
def _(type_: DecimalType, _: str, number: int) -> Decimal:
    low, high = _units(type_)
    return _decimal(type_, low + number % (high - low + 1))


@numbered.register
def _(_type: DateType, _: str, number: int) -> date:
    return (SOME_DAY + timedelta(days=number)).date()


@numbered.register
def _(_type: DateTimeType, _: str, number: int) -> datetime:
    return SOME_DAY + timedelta(days=number, microseconds=number * 100)


@numbered.register
def _(_type: TimeType, _: str, number: int) -> time:
    return (SOME_DAY + timedelta(seconds=number, microseconds=number * 100)).time()


@numbered.register
def _(_type: UuidType, _: str, number: int) -> UUID:
    return UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)


@numbered.register
def _(type_: ChoiceType, _: str, number: int) -> str:
    return type_.choices[number % len(type_.choices)]


@numbered.register
def _(type_: ListType, name: str, number: int) -> list[str]:
    length = min(max(type_.min_length, 1 + number % 3), type_.max_length)
    return [f"{name} {number}, {nth}" for nth in range(length)]


@numbered.register
def _(_type: ObjectType, name: str, number: int) -> dict[str, Any]:
    return {name: number, "of": [number / 8, None, {"": f"{name} {number}"}]}


def _numbers() -> st.SearchStrategy[int | float]:
    """Return the numbers that an object may have: zero, and 1e-30 to 1e30 in size."""
    sizes = st.floats(1e-30, 1e30)
    return st.integers(-(10**30), 10**30) | sizes | sizes.map(lambda size: -size)


def _nested(levels: int) -> dict[str, Any]:
    return {"\\": _nested(levels - 1)} if levels > 1 else {}


_TEXTS = st.text(CHARACTERS, max_size=8) | st.sampled_from(ITEMS)
_LEAVES = st.none() | st.booleans() | _numbers() | _TEXTS
_MEMBERS = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_OBJECTS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(_TEXTS, _MEMBERS, max_size=3)


@singledispatch
def extremes(_type: FieldType) -> list[Any]:
    """Return the values of a type that break what does not expect them."""
    return []


@extremes.register
def _(type_: TextType) -> list[str]:
    if type_.pattern:
        return []
    cut = [text.strip()[: type_.max_length].strip() for text in NAUGHTY]
    return [text.ljust(type_.min_length, ".") for text in cut]


@extremes.register
def _(type_: IntegerType) -> list[int]:
    return [type_.low, type_.high]


@extremes.register
def _(_type: BooleanType) -> list[bool]:
    return [False, True]


@extremes.register
def _(type_: FloatType) -> list[float]:
    low, high = _floats(type_)
    most = math.nextafter(math.inf, 0)
    found = [low, high, 5e-324, -5e-324, most, -most, -0.0, 0.1, 1 / 3, 2.0**53, 1e22, 1e23]
    return [each for each in found if low <= each <= high]


@extremes.register
def _(type_: DecimalType) -> list[Decimal]:
    low, high = _units(type_)
    return [_decimal(type_, each) for each in (low, high, 0, 1, -1) if low <= each <= high]


@extremes.register
def _(_type: DateType) -> list[date]:
    return [date.min, date.max]


@extremes.register
def _(_type: DateTimeType) -> list[datetime]:
    ends = (datetime.min, datetime.max)  # noqa: DTZ901
    return [each.replace(tzinfo=UTC) for each in (*ends, datetime(1970, 1, 1))]  # noqa: DTZ001


@extremes.register
def _(_type: TimeType) -> list[time]:
    return [time.min, time.max]


@extremes.register
def _(_type: UuidType) -> list[UUID]:
    return [UUID(int=0), UUID(int=2**128 - 1)]


@extremes.register
def _(type_: ChoiceType) -> list[str]:
    return [*type_.choices]


@extremes.register
def _(type_: ListType) -> list[list[str]]:
    full = (ITEMS * type_.max_length)[: type_.max_length]
    return [full, ITEMS[: max(type_.min_length, 1)], full[: type_.min_length]]


@extremes.register
def _(_type: ObjectType) -> list[dict[str, Any]]:
    naughty = {text: f"{{{text}}}" for text in ITEMS if len(text) < 20}
    numbers = {"of": [1e-30, -1e-30, 1e30, 10**30, -(10**30), 1e23, 2**53 + 1, 0.1, 0, -0.0]}
    return [{}, naughty, numbers, _nested(32), {"x" * 4000: "\U0001f600" * 4000}]


@singledispatch
def _any(type_: FieldType) -> st.SearchStrategy[Any]:
    raise NotImplementedError(type_)


_any.register(BooleanType, lambda _: st.booleans())
_any.register(IntegerType, lambda type_: st.integers(type_.low, type_.high))
_any.register(FloatType, lambda type_: st.floats(*_floats(type_)))
_any.register(DecimalType, lambda type_: _decimals(type_, *_units(type_)))
_any.register(DateType, lambda _: st.dates())
_any.register(DateTimeType, lambda _: st.datetimes(timezones=st.just(UTC)))
_any.register(TimeType, lambda _: st.times())
_any.register(UuidType, lambda _: st.uuids())
_any.register(ChoiceType, lambda type_: st.sampled_from(type_.choices))
_any.register(ObjectType, lambda _: _OBJECTS)


def values(type_: FieldType, *, stripped: bool) -> st.SearchStrategy[Any]:
    """Return all values of a type, its extremes often; `stripped` as they are from bodies."""
    if isinstance(type_, TextType):
        return texts(type_, stripped=stripped)
    if isinstance(type_, ListType):
        item, low = texts(TextType(max_length=20), stripped=stripped), type_.min_length
        found = st.lists(item, min_size=low, max_size=min(low + 3, type_.max_length))
    else:
        found = _any(type_)
    return found | st.sampled_from(extremes(type_))


def shown(value: Any) -> Any:
    """Return a value as the JSON of a response has it."""
    match value:
        case Decimal():
            return f"{value:f}"
        case datetime():
            return _without_zeros(value.replace(tzinfo=None)) + "+00:00"
        case time() | date():
            return _without_zeros(value)
        case UUID():
            return str(value)
    return _as_jsonb(value) if isinstance(value, dict) else value


def _as_jsonb(value: Any) -> Any:
    """Return a value with the numbers that jsonb writes without an exponent, 1e23 as 24 digits."""
    if isinstance(value, list):
        return [_as_jsonb(each) for each in value]
    if isinstance(value, dict):
        return {name: _as_jsonb(each) for name, each in value.items()}
    is_whole = isinstance(value, float) and value.is_integer()
    return int(Decimal(repr(value))) if is_whole else value


def _without_zeros(value: date | time) -> str:
    """Return a time without the zeros at the end of a fraction, as PostgreSQL spells it."""
    text = value.isoformat()
    return text.rstrip("0") if "." in text else text


def _floats(type_: NumberType) -> tuple[float, float]:
    """Return the least and the greatest float of a type."""
    largest = math.nextafter(math.inf, 0)
    lows = [-largest] if type_.ge is None else [float(type_.ge)]
    lows += [] if type_.gt is None else [math.nextafter(type_.gt, math.inf)]
    highs = [largest] if type_.le is None else [float(type_.le)]
    highs += [] if type_.lt is None else [math.nextafter(type_.lt, -math.inf)]
    return max(lows), min(highs)


def _units(type_: DecimalType) -> tuple[int, int]:
    """Return the least and the greatest value of a type, in units of its last place."""
    most = 10**type_.max_digits - 1
    unit = Decimal((0, (1,), -type_.decimal_places))
    lows = [-most] if type_.ge is None else [math.ceil(Decimal(str(type_.ge)) / unit)]
    lows += [] if type_.gt is None else [math.floor(Decimal(str(type_.gt)) / unit) + 1]
    highs = [most] if type_.le is None else [math.floor(Decimal(str(type_.le)) / unit)]
    highs += [] if type_.lt is None else [math.ceil(Decimal(str(type_.lt)) / unit) - 1]
    return max(*lows, -most), min(*highs, most)


def _decimals(type_: DecimalType, low: int, high: int) -> st.SearchStrategy[Decimal]:
    return st.integers(low, high).map(lambda units: _decimal(type_, units))


def _decimal(type_: DecimalType, units: int) -> Decimal:
    """Return so many units of the last place, with all places."""
    return Decimal(f"{units}E-{type_.decimal_places}")


_NO_SCALARS: list[Any] = [[], {}, ["a"], "", " ", "null", "a", "1\0", "\ud800", "\uff11"]
_NO_NUMBERS = [*_NO_SCALARS, True, "true", "1_000", " 1", "1 ", "+1", "0x1", "NaN", "inf", "٣"]
_NO_TIMES = [*_NO_SCALARS, 0, 1.5, True, "0", "2026", "infinity", "now", "today"]
_UUID = "0190163d-8694-739b-aea5-966c26f8ad91"

_INVALID: dict[type[FieldType], list[Any]] = {
    BooleanType: [*_NO_SCALARS, 0, 1, 0.0, "0", "1", "yes", "on", "True", "t", " true"],
    IntegerType: [
        *_NO_NUMBERS,
        1.5,
        1e22,
        2**63,
        -(2**63) - 1,
        "5.0",
        "5e0",
        "05",
        "-0",
        "9" * 5000,
    ],
    FloatType: [*_NO_NUMBERS, "1e999", "-Infinity", ".5", "1.", "1,5"],
    DecimalType: [*_NO_NUMBERS, "1e2", "1e5000", ".5", "1.", "1,5", 0.1234567890123456, "9" * 5000],
    DateType: [
        *(*_NO_TIMES, "2026-02-30", "0000-01-01", "10000-01-01", "2026-1-31", "20260131"),
        *("2026-01-31T00:00:00", "2026-01-31 ", "2026-W05-6", "-2026-01-31", "\uff12026-01-31"),
    ],
    DateTimeType: [
        *(*_NO_TIMES, "2026-01-31", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z"),
        *("2026-01-31T24:30:00Z", "2026-01-31T12:00Z", "2026-01-31T12:00:00.1234567Z"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-01-31T12:00:00+99:00"),
    ],
    TimeType: [*_NO_TIMES, "12:00", "24:00:00", "12:60:00", "12:00:00Z", "12:00:00.1234567"],
    UuidType: [
        *(*_NO_SCALARS, 0, True, f"{{{_UUID}}}", f"urn:uuid:{_UUID}", _UUID.replace("-", "")),
        *(f"{_UUID} ", _UUID[:-1], _UUID.replace("9", "g")),
    ],
    ChoiceType: [*_NO_SCALARS, 0, 1.5, True, "no such member", "x" * 256],
    ListType: [
        *("", "a", "[]", "{}", {}, 0, True, [1], [None], [[]], [""], [" "], ["a", "b\0"]),
        *(["\ud800"], ["x" * 256], ["a"] * 101),
    ],
    ObjectType: [
        *("", "a", "{}", [], [{}], 0, True, {"a": "\0"}, {"\0": 1}, {"a": [{"\ud800": 1}]}),
        *({"a": "\ud800"}, {"a": 1e31}, {"a": -1e31}, {"a": 1e-31}, {"a": [10**31]}, _nested(33)),
        {"a": "x" * 10_000},
    ],
}


def invalid(type_: FieldType) -> list[Any]:
    """Return values of JSON that no field of a type takes."""
    if isinstance(type_, TextType):
        found: list[Any] = [1, 1.5, True, [], {}, ["a"]]
        found += ["a\0b", "\0", "\ud800", "a\udfff", "\ude00\ud83d", "x" * (type_.max_length + 1)]
        return found + (["", " ", "\n", "\u3000\u2003"] if type_.min_length else [])
    beyond: list[Any] = []
    if isinstance(type_, DecimalType):
        low, high = _units(type_)
        beyond = [shown(_decimal(type_, low - 1)), shown(_decimal(type_, high + 1))]
        beyond += ["0." + "0" * type_.decimal_places + "1"]
    if isinstance(type_, FloatType):
        least, most = _floats(type_)
        ends = (math.nextafter(least, -math.inf), math.nextafter(most, math.inf))
        beyond = [each for each in ends if math.isfinite(each)]
    members = getattr(type_, "choices", ())
    return [each for each in _INVALID[type(type_)] if each not in members] + beyond
