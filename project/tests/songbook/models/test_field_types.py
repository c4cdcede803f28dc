"""The types that a field may have, and what is refused when its class is made, by name."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal, Optional
from uuid import UUID

import pydantic
import pytest
from annotated_types import Ge, Le
from fastapi import FastAPI
from pydantic import AfterValidator, SecretStr, StringConstraints, TypeAdapter, create_model
from sqlalchemy import BigInteger, Column, Integer, text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from songbook.crud.records import Records
from songbook.models.bases import Partial, Record, RecordPublic, Schema, Timestamps


class Apart(SQLModel, registry=registry()):
    """Keeps the tables of this file out of the service's own."""


class Mood(StrEnum):
    """What a field may be."""

    CALM = "calm"
    WILD = "wild"


class Nobody(StrEnum):
    """An enumeration of nothing."""


class Named(Enum):
    """An enumeration whose members are no texts."""

    CALM = "calm"


class Numbered(IntEnum):
    """An enumeration of numbers."""

    ONE = 1


class Line(Schema):
    """A line of an order."""

    price: Decimal = Field(max_digits=8, decimal_places=2)


@dataclass
class Opaque:
    """What is no type of a field."""


def schema_of(annotation: Any, field: Any = ..., **bases: Any) -> type[Schema]:
    """Return a class with one field, `x`."""
    made: Any = create_model("PlaneBase", __base__=Schema, x=(annotation, field), **bases)
    found: type[Schema] = made
    return found


def refused(annotation: Any, field: Any = ...) -> str:
    """Return what is said about a field that is refused; class and field come first."""
    with pytest.raises(TypeError) as caught:
        schema_of(annotation, field)
    message = str(caught.value)
    assert message.startswith("PlaneBase.x: ")
    assert "\n" not in message
    return message.removeprefix("PlaneBase.x: ")


UNSUPPORTED = [
    (complex, "complex"),
    (bytes, "bytes"),
    (object, "object"),
    (timedelta, "timedelta"),
    (Opaque, "Opaque"),
    (Named, "Named"),
    (Numbered, "Numbered"),
    (Any, "Any"),
    (None, "NoneType"),
    (list, "list"),
    (dict, "dict"),
    (list[int], "list[int]"),
    (list[str | None], "list[str | None]"),
    (list[list[str]], "list[list[str]]"),
    (dict[str, int], "dict[str, int]"),
    (set[str], "set[str]"),
    (tuple[str, ...], "tuple[str, ...]"),
    (int | str, "int | str"),
    (int | str | None, "int | str | None"),
    (date | datetime, "date | datetime"),
    (Callable[[], int], "Callable[[], int]"),
    (pydantic.AwareDatetime, "AwareDatetime"),
    (pydantic.BaseModel, "BaseModel"),
]


@pytest.mark.parametrize(("annotation", "name"), UNSUPPORTED, ids=[name for _, name in UNSUPPORTED])
def test_a_type_that_no_field_has_is_refused_with_those_there_are(
    annotation: Any, name: str
) -> None:
    message = refused(annotation)

    assert message.startswith(f"{name} is not supported. There are str, int, bool, float, Decimal")
    assert "list[str] and dict[str, Any]" in message
    assert "derived from Schema" in message


REFUSED: list[tuple[Any, Any, str]] = [
    (Literal[1, 2], ..., "1 is no string: write strings"),
    (Literal["a", 1], ..., "1 is no string: write strings"),
    (Literal["a", None], ..., "None is no string: for null, write `| None`"),  # noqa: PYI061
    (Literal["a\0"], ..., r"the member 'a\x00' should have at most 255 characters, none of"),
    (Nobody, ..., "Nobody has no members"),
    (Decimal, ..., "Decimal needs max_digits and decimal_places"),
    (Decimal, Field(max_digits=3), "Decimal needs max_digits and decimal_places"),
    (Decimal, Field(max_digits=3, decimal_places=4), "max_digits should be from 1 to 1000, and"),
    (Decimal, Field(max_digits=0, decimal_places=0), "max_digits should be from 1 to 1000, and"),
    (Decimal, Field(max_digits=1001, decimal_places=0), "max_digits should be from 1 to 1000"),
    (int, Field(max_length=3), "max_length does not apply to int, only ge, gt, le, lt"),
    (str, Field(ge=1), "ge does not apply to str, only max_length, min_length, pattern"),
    (int, Field(multiple_of=3), "multiple_of does not apply to int, only ge, gt, le, lt"),
    (float, Field(max_digits=3), "max_digits does not apply to float, only ge, gt, le, lt"),
    (date, pydantic.Field(ge=date(2000, 1, 1)), "ge does not apply to date: leave it out"),
    (bool, Field(le=1), "le does not apply to bool: leave it out"),
    (int, Field(regex="^a$"), "pattern does not apply to int, only ge, gt, le, lt"),
    (list[str], Field(unique_items=True), "unique_items does not apply to list[str], only min_"),
    (pydantic.StrictInt, ..., "strict does not apply to int, only ge, gt, le, lt"),
    (str, Field(foreign_key="artist.id"), "foreign_key does not apply to str"),
    (int, Field(foreign_key="artist.name"), "foreign_key should be the id of a table"),
    (int, Field(ge=5, le=1), "the bounds leave no value"),
    (int, Field(gt=1, lt=2), "the bounds leave no value"),
    (float, Field(gt=5, lt=1), "the bounds leave no value"),
    (int, Field(le=2**63), "the bounds should be from -9223372036854775808 to 922337203685477580"),
    (float, Field(le=float("inf")), "the bounds should be finite numbers; leave them out for none"),
    (float, Field(ge=float("nan")), "the bounds should be finite numbers"),
    (str, Field(max_length=0), "min_length should be 0 or more, max_length not less than"),
    (str, Field(min_length=5, max_length=2), "min_length should be 0 or more, max_length not"),
    (str, Field(max_length=10**9), "min_length should be 0 or more, max_length not less than"),
    (list[str], Field(max_length=101), "min_length should be 0 or more, max_length not less"),
    (int, "a", "the default 'a' is not valid: Input should be a valid integer"),
    (int, Field(default=0, ge=1), "the default 0 is not valid: Input should be greater than or"),
    (str, "", "the default '' is not valid: String should have at least 1 character"),
    (str, None, "the default None is not valid: write `| None`"),
    (int, Field(default=None), "the default None is not valid: write `| None`"),
    (Literal["a"], "b", "the default 'b' is not valid: Input should be 'a'"),
    (Mood, "CALM", "the default 'CALM' is not valid: Input should be 'calm' or 'wild'"),
    (list[str], [1], "the default [1] is not valid: Input should be a valid string"),
    (datetime, datetime(2026, 1, 1), "the default datetime.datetime(2026, 1, 1, 0, 0) is not"),  # noqa: DTZ001
    (int, Field(sa_type=BigInteger), "leave out sa_type: the annotation says what the column is"),
    (int, Field(sa_column=Column(Integer)), "leave out sa_column: the annotation says what the"),
    (int, Field(nullable=False), "leave out nullable: the annotation says what the column is"),
    (int, pydantic.Field(validation_alias="y"), "leave out validation_alias: requests, table and"),
    (int, pydantic.Field(serialization_alias="y"), "leave out serialization_alias: requests, tab"),
    ("Later", ..., "Later is not defined: define it before"),
    (Annotated["Later", Field()], ..., "Later is not defined: define it before"),  # noqa: F821
]


@pytest.mark.parametrize(("annotation", "field", "begin"), REFUSED)
def test_what_a_field_cannot_have_is_refused_with_what_to_do(
    annotation: Any, field: Any, begin: str
) -> None:
    assert refused(annotation, field).startswith(begin)


NOT_PORTABLE = [
    (r"^\d+$", r"'\\d'"),
    (r"\bword", r"'\\b'"),
    (r"(a)\1", r"'\\1'"),
    (r"\<a", r"'\\<'"),
    ("(?=a)b", "'(?'"),
    ("(?i)a", "'(?'"),
    ("(?P<a>b)", "'(?'"),
    ("a+?", "'+?'"),
    ("a++", "'++'"),
    ("^*a", "'^*'"),
    ("[[:alpha:]]", "'['"),
    ("[a-z&&[^b]]", "'['"),
    ("[a--b]", "'['"),
    ("[a~~b]", "'['"),
    ("[a-c-e]", "'['"),
    ("[]a]", "'['"),
    ("[^]]", "']'"),
    ("a]", "']'"),
    ("a}", "'}'"),
    ("a{,3}", "'{'"),
    ("^a{256}$", "'{'"),
    ("a\0", r"'\x00'"),
]


@pytest.mark.parametrize(("regex", "found"), NOT_PORTABLE)
def test_a_regular_expression_that_is_read_in_several_ways_is_refused(
    regex: str, found: str
) -> None:
    message = refused(str, Field(regex=regex))

    assert message.startswith(f"{found} in the regular expression {regex!r} means something else")


@pytest.mark.parametrize(
    ("regex", "reason"),
    [("(", "unclosed group"), ("[z-a]", "invalid character class range, the start must be <= the")],
)
def test_a_regular_expression_that_is_none_is_refused_with_the_reason(
    regex: str, reason: str
) -> None:
    message = refused(str, Field(regex=regex))

    assert message.startswith(f"the regular expression is not valid: {reason}")


def test_a_table_is_told_which_field_it_cannot_have() -> None:
    for annotation, field, name in (
        (Line, ..., "Line"),
        (list[Line], Field(min_length=1), "list[Line]"),
        (SecretStr, ..., "SecretStr"),
    ):
        base: Any = schema_of(annotation, field)
        with pytest.raises(TypeError, match="keep it in the classes of bodies") as caught:
            type(f"Plane{name[:4]}", (base, Record, Apart), {"__module__": __name__}, table=True)
        assert f".x: a table cannot have {name}: " in str(caught.value)


@pytest.mark.parametrize("name", ["id", "version"])
def test_a_field_cannot_hide_a_column_of_every_table(name: str) -> None:
    fields: dict[str, Any] = {name: (int, ...)}
    base: Any = create_model("PlaneBase", __base__=Schema, **fields)

    with pytest.raises(TypeError, match=f"^PlaneBase.{name}: Record has a field of this name"):
        type("Plane", (base, Record, Apart), {"__module__": __name__}, table=True)


def test_a_field_cannot_hide_a_time() -> None:
    base: Any = create_model("PlaneBase", __base__=Schema, created_at=(datetime, ...))

    with pytest.raises(TypeError, match=r"^PlaneBase.created_at: Timestamps has a field of this"):
        type("PlanePublic", (Timestamps, base), {"__module__": __name__})


def test_a_field_cannot_have_a_name_that_sqlalchemy_uses() -> None:
    with (
        pytest.warns(UserWarning, match="shadows an attribute"),
        pytest.raises(TypeError, match=r"^PlaneBase.metadata: SQLModel uses this name: choose ano"),
    ):
        create_model("PlaneBase", __base__=Schema, metadata=(str, ...))


class PlaneBase(Schema):
    """The fields of a table."""

    name: str


class Plane(PlaneBase, Record, Apart, table=True):
    """The table."""


def test_what_is_shown_is_a_column() -> None:
    class PlaneLong(PlaneBase, RecordPublic):
        wings: int

    class PlaneComputed(PlaneBase, RecordPublic):
        @pydantic.computed_field  # type: ignore[prop-decorator]
        @property
        def wings(self) -> int:
            return 2

    for public in (PlaneLong, PlaneComputed):
        with pytest.raises(TypeError, match="the table Plane has no such column") as caught:
            Records(Plane, public)
        assert str(caught.value).startswith(f"{public.__name__}.wings: ")


UPPER = AfterValidator(str.upper)


@pytest.mark.parametrize(
    ("annotation", "field", "default"),
    [
        (str, " a ", "a"),
        (Annotated[str, UPPER], "a", "A"),
        (int, "5", 5),
        (int | None, None, None),
        (Decimal, Field(default="1.50", max_digits=3, decimal_places=2), Decimal("1.50")),
        (date, "2026-01-31", date(2026, 1, 31)),
        (datetime, "2026-01-31T01:00:00+01:00", datetime(2026, 1, 31, tzinfo=UTC)),
        (Mood, "calm", Mood.CALM),
        (UUID, "0190163D-8694-739B-AEA5-966C26F8AD91", UUID(int=0x190163D8694739BAEA5966C26F8AD91)),
        (list[str], Field(default_factory=list), []),
        (date, Field(default_factory=lambda: "2026-01-31"), date(2026, 1, 31)),
    ],
)
def test_a_default_is_a_value_of_the_field(annotation: Any, field: Any, default: Any) -> None:
    made: Any = schema_of(annotation, field)()

    assert made.x == default
    assert type(made.x) is type(default)


def test_every_spelling_of_a_type_is_understood() -> None:
    same = [
        schema_of(int | None, Field(default=None, ge=1, le=9)),
        schema_of(Optional[int], Field(default=None, ge=1, le=9)),  # noqa: UP045
        schema_of(Annotated[int | None, pydantic.Field(ge=1, le=9)], None),
        schema_of(Annotated[int, Ge(1), Le(9)] | None, None),
        schema_of(Annotated[int, pydantic.Field(ge=1)] | None, Field(default=None, le=9)),
        schema_of(Annotated[Optional[int], Field(ge=1, le=9)], None),  # noqa: UP045
    ]

    documents = [made.model_json_schema() for made in same]
    assert documents == [documents[0]] * len(same)
    assert documents[0]["properties"]["x"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
    }


def test_a_partial_class_has_no_defaults_and_may_tighten_a_field() -> None:
    base: Any = schema_of(str, "a")

    class PlaneUpdate(base, Partial):  # type: ignore[misc]
        """The body of a PATCH."""

        x: str = Field(max_length=2)

    assert PlaneUpdate.model_validate({}).model_dump(exclude_unset=True) == {}
    assert PlaneUpdate.model_json_schema()["properties"]["x"]["maxLength"] == 2
    with pytest.raises(pydantic.ValidationError):
        PlaneUpdate.model_validate({"x": "abc"})


PORTABLE = [
    "^[a-z]+$",
    "a",
    "^a{2,255}$",
    "^a{2,}b{3}$",
    r"^\$\(\)\*\+\.\/\?\[\\\]\^\{\|\}$",
    r"^[\]\[\\^-]+$",
    "^[-a]+$",
    "^[a^]+$",
    "^[^a]$",
    "^[!-~]+$",
    "^(?:ab|c)*$",
    "^(a|b||c)d$",
    "()",
    "^é[à-ÿ]$",
    "^a b$",
    "a$|^b",
    "^[(*+?{|}).]+$",
    "^[a&~]+$",
]
TEXTS = [
    *("a", "b", "aa", "ab", "aab", "aabbb", "abab", "abc", "ababc", "d", "ad", "bd", "cd", "xd"),
    *(r"$()*+./?[\]^{|}", "]", "[", "\\", "^", "-", "-a", "a-", "a^", "!~", "~", "!", " ", "a b"),
    *("éà", "éÿ", "ée", "éé", "a&b", "&", "a&~", "(*+?{|}).", "a\n", "\na", "a\nb", "𝄞", "B", "A"),
    *("a" * 255, "a" * 256, "é", "", "aabbbb"),
]


async def test_a_regular_expression_is_read_alike_by_all_three(app: FastAPI) -> None:
    query = text("SELECT CAST(:value AS text) ~ :regex")
    async with app.state.service.database.engine.connect() as connection:
        for regex in PORTABLE:
            rust = TypeAdapter(Annotated[str, StringConstraints(pattern=regex)]).validator
            schema_of(str, Field(regex=regex))
            for value in TEXTS:
                matches = rust.isinstance_python(value)
                stored = await connection.scalar(query, {"value": value, "regex": regex})
                assert stored is matches, (regex, value)
                if not value.endswith("\n"):  # where Python's `$` is another
                    assert bool(re.search(regex, value)) is matches, (regex, value)
