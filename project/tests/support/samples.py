"""A resource of the tests' own: a field of every kind."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from hypothesis import strategies as st
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from songbook.db.database import Database
from songbook.models.bases import Record, RecordPublic, Schema
from songbook.models.text_values import INT8
from tests.support.texts import texts


class Apart(SQLModel, registry=registry()):
    """Keeps the tables of this file out of the service's own."""


class SampleBase(Schema):
    """A field of every kind that a resource may have."""

    text: str | None
    yes: bool | None
    number: int | None = Field(ge=INT8[0], le=INT8[1])
    ratio: float | None
    amount: Decimal | None = Field(max_digits=30, decimal_places=9)
    day: date | None
    hour: time | None
    moment: datetime | None
    token: UUID | None


class Sample(SampleBase, Record, Apart, table=True):
    """A table with a column that is not public."""

    hashed_password: str = Field(sa_column_kwargs={"server_default": "$argon2id$"})


class SamplePublic(SampleBase, RecordPublic):
    """The representation in responses."""


KINDS: dict[str, st.SearchStrategy[Any]] = {
    "text": texts({"maxLength": 255, "minLength": 1}, stripped=True),
    "yes": st.booleans(),
    "number": st.integers(*INT8),
    "ratio": st.floats(allow_nan=False, allow_infinity=False),
    "amount": st.decimals(-(10**15), 10**15, places=9),
    "day": st.dates(),
    "hour": st.times(),
    "moment": st.datetimes(timezones=st.just(UTC)),
    "token": st.uuids(),
}


SAMPLES = st.fixed_dictionaries({name: st.none() | kind for name, kind in KINDS.items()})


@pytest.fixture
async def sample_database(app: FastAPI) -> AsyncIterator[Database]:
    """Give the service's database with a table of samples."""
    database: Database = app.state.service.database
    async with database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.create_all)
    yield database
    async with database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.drop_all)
