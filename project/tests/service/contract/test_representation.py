"""What PostgreSQL writes of a record: exactly what its Public class says of the stored row."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sqlalchemy import BigInteger, DateTime, Table, delete, insert, select
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from songbook.crud.statements import changed, created, found
from songbook.db.database import Database
from songbook.models.bases import Fields, Record, RecordPublic, Timestamps
from songbook.models.fields import INT8, NO_NUL, Text, ignores_case
from songbook.models.tables import table_of
from tests.conftest import PRINCIPAL, RESOURCES, Resource

# What every encoder, escaper and column has to get right.
AWKWARD = [
    '",\n"',
    "},\n{",
    "a\r\nb\tc\x1f\x7f\x85\u2028\u2029d",
    "<script>alert(1)</script> &amp; \\u0000 \\ / %s ${x} {{7*7}} ' OR 1=1--",
    "\u202eright to left\u202c אב\u200dג",
    "e\u0301 é 👩\u200d👩\u200d👧 🏴\U000e0067\U000e007f \ufeff \ufffd \uffff \U0010ffff",
    "𝄞" * 255,
]
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
FREE = {NO_NUL, TypeAdapter(Text).json_schema()["pattern"]}


def texts(schema: dict[str, Any], *, stripped: bool) -> st.SearchStrategy[str]:
    """Return all of Unicode that a field takes, or all that fits its pattern."""
    low, high = schema.get("minLength", 0), schema["maxLength"]
    if schema.get("pattern", NO_NUL) not in FREE:
        pattern: str = schema["pattern"]
        return st.from_regex(pattern, fullmatch=True).filter(lambda text: low <= len(text) <= high)
    awkward = st.sampled_from([text for text in AWKWARD if low <= len(text) <= high])
    any_text = st.text(CHARACTERS, min_size=low, max_size=high) | awkward
    if not stripped:
        return any_text
    return any_text.filter(lambda text: text == text.strip() and len(text) >= low)


def values(kinds: dict[str, dict[str, Any]], *, stripped: bool) -> st.SearchStrategy[Any]:
    """Return all that a field takes and that is stored as it is."""
    found: list[st.SearchStrategy[Any]] = []
    if "null" in kinds:
        found.append(st.none())
    if "boolean" in kinds:
        found.append(st.booleans())
    if "integer" in kinds:
        found.append(st.integers(kinds["integer"]["minimum"], kinds["integer"]["maximum"]))
    elif "string" in kinds and "boolean" not in kinds:
        found.append(texts(kinds["string"], stripped=stripped))
    return st.one_of(found)


def bodies(resource: Resource, *, stripped: bool) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {name: values(kinds, stripped=stripped) for name, kinds in resource.fields.items()}
    )


def rows(resource: Resource) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Return rows that unique indexes let stand beside each other."""
    names = [name for name in resource.fields if is_unique(resource, name)]
    keys = tuple(partial(as_indexed, resource, name) for name in names)
    found = bodies(resource, stripped=False).map(hashed)
    return st.lists(found, max_size=6, unique_by=keys or None)


def is_unique(resource: Resource, name: str) -> bool:
    column = table_of(resource.table).c.get(name)
    return column is not None and bool(column.unique)


def as_indexed(resource: Resource, name: str, row: dict[str, Any]) -> Any:
    """Return a value as its unique index sees it."""
    field = resource.table.model_fields[name]
    return row[name].lower() if ignores_case(field.annotation, *field.metadata) else row[name]


def hashed(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as a table has them: of a password only a hash, which is none here."""
    secret = {"hashed_password": "none"} if "password" in fields else {}
    return {name: value for name, value in fields.items() if name != "password"} | secret


# A test is run for one resource at a time, and takes that one's bodies or rows.
A_BODY = st.fixed_dictionaries({each.name: bodies(each, stripped=True) for each in RESOURCES})
ROWS = st.fixed_dictionaries({each.name: rows(each) for each in RESOURCES})


def pairs(text: str) -> list[list[tuple[str, Any]]]:
    """Return the members of the objects of a JSON text, in its order."""
    found: list[list[tuple[str, Any]]] = []
    json.loads(text, object_pairs_hook=found.append)
    return found


def array_of(page: Response) -> str:
    """Return the text of the array of a page."""
    return page.text[page.text.index("[") : page.text.rindex("]") + 1]


async def stored(session: AsyncSession, table: Table) -> list[dict[str, Any]]:
    """Return the rows of a table, all columns of them, but not the row of who asks."""
    connection = await session.connection()
    rows = await connection.execute(
        select(table).where(table.c.id != PRINCIPAL).order_by(table.c.id)
    )
    return [dict(row) for row in rows.mappings()]


async def store(
    session: AsyncSession, resource: Resource, rows: Sequence[dict[str, Any]] = ()
) -> None:
    """Make these the rows of a resource's table, beside the one of who asks."""
    table = table_of(resource.table)
    connection = await session.connection()
    await connection.execute(delete(table).where(table.c.id != PRINCIPAL))
    for row in rows:
        await connection.execute(insert(table).values(row))
    await session.commit()


def shown(resource: Resource, row: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return what a client may see of a row, in its order, as a JSON text spells it."""
    found = {name: row[name] for name in resource.public.model_fields}
    return [
        (name, spelt(value) if isinstance(value, datetime) else value)
        for name, value in found.items()
    ]


def spelt(moment: datetime) -> str:
    """Return a moment as PostgreSQL spells it: without the zeros at the end of a fraction."""
    spelling = moment.isoformat()
    return re.sub(r"0+(?=\+)", "", spelling) if moment.microsecond else spelling


def unmoved(answer: Response) -> list[list[tuple[str, Any]]]:
    """Return the members of an answer but the one that every write moves."""
    return [
        [member for member in members if member[0] != "updated_at"]
        for members in pairs(answer.text)
    ]


@settings(max_examples=60)
@given(drawn=A_BODY)
async def test_every_answer_shows_the_stored_row(
    client: AsyncClient, session: AsyncSession, resource: Resource, drawn: dict[str, dict[str, Any]]
) -> None:
    body = drawn[resource.name]
    await store(session, resource)

    created = await client.post(resource.path, json=body)
    address = created.headers["location"]
    read = await client.get(address)
    replaced = await client.put(address, json=body)
    unchanged = await client.patch(address, json={})
    changed = await client.patch(address, json=body)
    last = await client.get(address)
    page = await resource.page(client)

    assert (read.text, unchanged.text, last.text) == (created.text, replaced.text, changed.text)
    assert unmoved(created) == unmoved(replaced) == unmoved(changed)
    assert issubclass(resource.public, Timestamps) or last.text == created.text
    assert array_of(page) == f"[{last.text}]"
    [row] = await stored(session, table_of(resource.table))
    assert pairs(last.text) == [shown(resource, row)]
    assert {name: row[name] for name in body if name != "password"}.items() <= body.items()
    assert resource.public.model_validate_json(last.text).model_dump() == {
        name: row[name] for name in resource.public.model_fields
    }


@settings(max_examples=40)
@given(drawn=ROWS, limit=st.integers(1, 7))
async def test_a_list_shows_whatever_rows_are_stored(
    client: AsyncClient,
    session: AsyncSession,
    resource: Resource,
    drawn: dict[str, list[dict[str, Any]]],
    limit: int,
) -> None:
    rows = drawn[resource.name]
    await store(session, resource, rows)

    page = await resource.page(client, limit=limit)

    expected = [shown(resource, row) for row in await stored(session, table_of(resource.table))]
    assert pairs(array_of(page)) == expected[:limit]
    assert len(expected) == len(rows)
    assert ("link" in page.headers) is (len(rows) > limit)


async def test_a_change_of_one_field_shows_in_every_later_answer(
    client: AsyncClient, session: AsyncSession, resource: Resource
) -> None:
    address = (await resource.add(client)).headers["location"]

    for name in resource.fields:
        value = resource.value(name)
        changed = await client.patch(address, json={name: value})

        [row] = await stored(session, table_of(resource.table))
        assert pairs(changed.text) == [shown(resource, row)]
        assert name == "password" or row[name] == value
        assert (await client.get(address)).text == changed.text


class Apart(SQLModel, registry=registry()):
    """Keeps the tables of this file out of the service's own."""


class SampleBase(Fields):
    """A field of every kind that a resource may have."""

    text: Text | None
    yes: bool | None
    number: int | None = Field(sa_type=BigInteger)
    ratio: float | None
    amount: Decimal | None
    day: date | None
    hour: time | None
    moment: datetime | None = Field(sa_type=DateTime(timezone=True))
    token: UUID | None


class Sample(SampleBase, Record, Apart, table=True):
    """A table with a column that is not public."""

    hashed_password: str = Field(sa_column_kwargs={"server_default": "$argon2id$"})


class SamplePublic(SampleBase, RecordPublic):
    """What a client is shown."""


# asyncpg takes the first and the last day, and moment, for infinity: no rule excludes them yet.
INFINITE = {
    date.min,
    date.max,
    datetime.min.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
}
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "text": texts({"maxLength": 255, "minLength": 1}, stripped=True),
    "yes": st.booleans(),
    "number": st.integers(*INT8),
    "ratio": st.floats(allow_nan=False, allow_infinity=False),
    "amount": st.decimals(-(10**15), 10**15, places=9),
    "day": st.dates().filter(lambda day: day not in INFINITE),
    "hour": st.times(),
    "moment": st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment not in INFINITE),
    "token": st.uuids(),
}
SAMPLES = st.fixed_dictionaries({name: st.none() | kind for name, kind in KINDS.items()})


@pytest.fixture
async def database(app: FastAPI) -> AsyncIterator[Database]:
    """Give the service's database with a table of samples."""
    database: Database = app.state.database
    async with database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.create_all)
    yield database
    async with database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.drop_all)


@settings(max_examples=60)
@given(before=SAMPLES, after=SAMPLES)
async def test_every_kind_of_value_is_shown_as_it_was_stored(
    database: Database, before: dict[str, Any], after: dict[str, Any]
) -> None:
    row = await database.fetch(created(Sample, SamplePublic, before))
    assert row
    number, answers = row[0], [row[2]]
    for query in (
        found(Sample, SamplePublic, number),
        changed(Sample, SamplePublic, number, after, None),
        found(Sample, SamplePublic, number),
    ):
        row = await database.fetch(query)
        assert row
        answers.append(row[-1])

    for document, fields in zip(answers, [before, before, after, after], strict=True):
        members = json.loads(document, parse_float=Decimal)
        assert list(members) == list(SamplePublic.model_fields)
        assert SamplePublic.model_validate(members).model_dump() == {"id": number, **fields}
        assert "argon2id" not in document
