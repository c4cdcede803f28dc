"""A resource with a field of every type, served beside those of the sample."""

from collections.abc import AsyncIterator
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import pytest
from fastapi import Depends, FastAPI, Request, Response
from httpx import ASGITransport, AsyncClient
from sqlalchemy import CheckConstraint, MetaData, UniqueConstraint, text
from sqlalchemy.engine import URL
from sqlmodel import Field, SQLModel

from songbook.auth import PUBLIC
from songbook.bulk import imports_of
from songbook.crud import Id, IfMatch, IfNoneMatch, ReadDep, Records, WriteDep
from songbook.db import Database
from songbook.http import NDJSON, Router
from songbook.lists import Page, page_of
from songbook.models import Email, Partial, Record, RecordPublic, Schema, Url
from tests.support.databases import spelled
from tests.support.services import SAMPLES


class Apart(Record):
    """Keeps the tables of this file out of the migrations of any service."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=SQLModel.metadata.naming_convention)


class MakerBase(Schema):
    """The field of what an offer refers to."""

    name: str | None = None


class Maker(MakerBase, Apart, table=True):
    """What an offer refers to, with a column that no client writes."""

    __table_args__ = (UniqueConstraint("hall", "name"),)

    hall: int = Field(sa_column_kwargs={"server_default": "1"})


class MakerPublic(MakerBase, RecordPublic):
    """The representation in responses."""


class Mood(StrEnum):
    """A member has another name than value."""

    CALM = "calm"
    WILD = "very wild"


class OfferBase(Schema):
    """A field of every type; what is left out is null."""

    name: str
    nick: str | None = Field(default=None, max_length=20, regex="^[a-z]+$")
    note: str | None = Field(default=None, min_length=0, max_length=5000)
    year: int | None = None
    tempo: int | None = Field(default=None, ge=20, le=400)
    plays: int | None = Field(default=None, ge=0, le=10**12)
    maker_id: int | None = Field(default=None, foreign_key="maker.id")
    live: bool | None = None
    gain: float | None = None
    share: float | None = Field(default=None, ge=0, lt=1)
    price: Decimal | None = Field(default=None, max_digits=8, decimal_places=2)
    fee: Decimal | None = Field(default=None, max_digits=30, decimal_places=9, gt=0)
    day: date | None = None
    moment: datetime | None = None
    starts: time | None = None
    token: UUID | None = None
    genre: Literal["rock", "R&B, 'soul'"] | None = None
    mood: Mood | None = None
    tags: list[str] | None = None
    details: dict[str, Any] | None = None
    email: Email | None = None
    site: Url | None = None


class Offer(OfferBase, Apart, table=True):
    """The table, with a rule of its own about two columns."""

    __table_args__ = (CheckConstraint("year <= plays", name="order"),)


class OfferCreate(OfferBase):
    """The body of a POST or a PUT."""


class OfferUpdate(OfferBase, Partial):
    """The body of a PATCH."""


class OfferPublic(OfferBase, RecordPublic):
    """The representation in responses."""


router = Router(tags=["offers"], dependencies=[PUBLIC])
makers_of = Records(Maker, MakerPublic)
offers_of = Records(Offer, OfferPublic)
OffersPage = Annotated[Page, Depends(page_of(offers_of))]


@router.post("/makers", response_model=MakerPublic, status_code=201)
async def create_maker(body: MakerBase, request: Request, db: WriteDep) -> Response:
    """Create a maker."""
    row = await db.fetch(makers_of.insert(body.model_dump()))
    return makers_of.created(row, request)


@router.get("/offers", response_model=list[OfferPublic])
async def list_offers(page: OffersPage, db: ReadDep) -> Response:
    """List offers."""
    return await page.response(db)


@router.post(
    "/offers", response_model=OfferPublic, status_code=201, bulk=imports_of(offers_of, OfferCreate)
)
async def create_offer(body: OfferCreate, request: Request, db: WriteDep) -> Response:
    """Create an offer."""
    row = await db.fetch(offers_of.insert(body.model_dump()))
    return offers_of.created(row, request)


@router.get("/offers/{id}", response_model=OfferPublic)
async def read_offer(id: Id, if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """Read an offer."""
    row = await db.fetch(offers_of.select(id))
    return offers_of.found(row, if_none_match)


@router.put("/offers/{id}", response_model=OfferPublic)
async def replace_offer(id: Id, if_match: IfMatch, body: OfferCreate, db: WriteDep) -> Response:
    """Replace an offer."""
    row = await db.fetch(offers_of.update(id, body.model_dump(), if_match))
    return offers_of.updated(row)


@router.patch("/offers/{id}", response_model=OfferPublic)
async def update_offer(id: Id, if_match: IfMatch, body: OfferUpdate, db: WriteDep) -> Response:
    """Change some fields of an offer."""
    row = await db.fetch(offers_of.update(id, body.model_dump(exclude_unset=True), if_match))
    return offers_of.updated(row)


@pytest.fixture(scope="module")
async def offering(app: FastAPI, database_url: URL) -> AsyncIterator[FastAPI]:
    """Give a service that has offers as well."""
    database: Database = app.state.service.database
    async with database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.create_all)
    other = SAMPLES.app(database_url=spelled(database_url))
    other.router.routes.extend(router.routes)
    async with other.router.lifespan_context(other):
        yield other
    async with database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.drop_all)


@pytest.fixture
async def offers(offering: FastAPI) -> AsyncIterator[AsyncClient]:
    """Give a client of a service without offers, and with one maker."""
    async with offering.state.service.database.engine.begin() as connection:
        await connection.execute(text("TRUNCATE offer, maker RESTART IDENTITY"))
        await connection.execute(text("INSERT INTO maker DEFAULT VALUES"))
    transport = ASGITransport(offering)
    async with AsyncClient(transport=transport, base_url="http://songbook") as client:
        yield client


async def offer(client: AsyncClient, **fields: Any) -> dict[str, Any]:
    """Store an offer; return what is answered."""
    answer = await client.post("/offers", json={"name": "a", **fields})
    assert answer.status_code == 201, answer.text
    stored: dict[str, Any] = answer.json()
    return stored


async def found(client: AsyncClient, query: str) -> list[int]:
    """Return the ids of the offers that a query finds."""
    answer = await client.get(f"/offers?{query}")
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()]


async def exported(client: AsyncClient, kind: str = NDJSON, query: str = "") -> bytes:
    """Return the export of all offers."""
    answer = await client.get(f"/offers{query}", headers={"Accept": kind})
    assert answer.status_code == 200, answer.text
    return answer.content
