"""A resource of the tests' own: a field of every type."""

from collections.abc import AsyncIterator
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from fastapi import Depends, FastAPI, Request, Response
from httpx import ASGITransport, AsyncClient
from hypothesis import strategies as st
from sqlalchemy.engine import URL
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from songbook.auth.permissions import PUBLIC
from songbook.bulk.imports import imports_of
from songbook.crud import Id, ReadDep, WriteDep
from songbook.crud.records import Records
from songbook.db.database import Database
from songbook.http.routing import Router
from songbook.lists.pages import Page, page_of
from songbook.models.bases import Record, RecordPublic, Schema
from songbook.models.fields import field_type_of
from songbook.models.text_values import INT8
from tests.support.databases import spelled
from tests.support.services import Tested
from tests.support.values import values


class Apart(SQLModel, registry=registry()):
    """Keeps the tables of this file out of the service's own."""


class Mood(StrEnum):
    """Some members, whose names are not their values."""

    CALM = "calm"
    LOUD = "very loud"
    ODD = 'a,"b"'


class SampleBase(Schema):
    """A field of every type that a resource may have."""

    text: str | None
    yes: bool | None
    number: int | None = Field(ge=INT8[0], le=INT8[1])
    ratio: float | None
    amount: Decimal | None = Field(max_digits=30, decimal_places=9)
    day: date | None
    hour: time | None
    moment: datetime | None
    token: UUID | None
    genre: Literal["rock", "pop", "null", "r&b \\ 'soul'", "=1+1"] | None
    mood: Mood | None
    tags: list[str] | None
    details: dict[str, Any] | None


class Sample(SampleBase, Record, Apart, table=True):
    """A table with a column that is not public."""

    hashed_password: str = Field(sa_column_kwargs={"server_default": "$argon2id$"})


class SampleCreate(SampleBase):
    """The body of a POST."""


class SamplePublic(SampleBase, RecordPublic):
    """The representation in responses."""


TYPES = {
    name: type_
    for name, info in SampleBase.model_fields.items()
    if (type_ := field_type_of(info.annotation))
}
SAMPLES = st.fixed_dictionaries(
    {name: st.none() | values(type_, stripped=True) for name, type_ in TYPES.items()}
)

samples = Records(Sample, SamplePublic)
router = Router(prefix="/samples", dependencies=[PUBLIC])


@router.get("", response_model=list[SamplePublic])
async def list_samples(page: Annotated[Page, Depends(page_of(samples))], db: ReadDep) -> Response:
    """List samples."""
    return await page.response(db)


@router.post(
    "", response_model=SamplePublic, status_code=201, bulk=imports_of(samples, SampleCreate)
)
async def create_sample(body: SampleCreate, request: Request, db: WriteDep) -> Response:
    """Create a sample."""
    row = await db.fetch(samples.insert(body.model_dump()))
    return samples.created(row, request)


@router.get("/{id}", response_model=SamplePublic)
async def read_sample(id: Id, db: ReadDep) -> Response:
    """Read a sample."""
    return samples.found(await db.fetch(samples.select(id)), None)


@pytest.fixture
async def sample_database(app: FastAPI) -> AsyncIterator[Database]:
    """Give the service's database with a table of samples."""
    database: Database = app.state.service.database
    async with database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.create_all)
    yield database
    async with database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.drop_all)


@pytest.fixture
async def sample_client(
    sample_database: Database,  # noqa: ARG001 - it has the table
    tested: Tested,
    database_url: URL,
) -> AsyncIterator[AsyncClient]:
    """Give a client of the service with the routes of samples."""
    app = tested.app(database_url=spelled(database_url))
    app.router.routes.extend(router.routes)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=ASGITransport(app), base_url="http://songbook") as client,
    ):
        yield client
