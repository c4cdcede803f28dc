"""Validators and bodies of one's own, in a module whose annotations are read late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional
from uuid import UUID, uuid4

import pydantic
import pytest
from fastapi import Depends, FastAPI, Request, Response
from httpx import ASGITransport, AsyncClient
from pydantic import AfterValidator, BeforeValidator, field_validator, model_validator
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlmodel import Field

from songbook.auth import PUBLIC
from songbook.bulk import imports_of
from songbook.crud import Id, IfMatch, ReadDep, Records, WriteDep
from songbook.http import CSV, NDJSON, Router
from songbook.lists import Page, page_of
from songbook.models import Partial, RecordPublic, Schema
from tests.support.asserts import assert_problem
from tests.support.databases import spelled
from tests.support.offers import Apart
from tests.support.reports import counts, refusals, report_of, send_rows
from tests.support.services import SAMPLES


def without_doubles(tags: list[str]) -> list[str]:
    """Return the tags in order, each once."""
    return sorted(set(tags))


def known(code: str) -> str:
    """Return a code. Raises ValueError for one that is not known."""
    if code == "X":
        raise ValueError("is not known")
    return code


Tags = Annotated[list[str], AfterValidator(without_doubles)]
Code = Annotated[
    str, pydantic.Field(max_length=4), AfterValidator(str.upper), AfterValidator(known)
]


class ParcelBase(Schema):
    """Fields with validators of their own."""

    code: Code
    token: UUID = Field(default_factory=uuid4)
    tags: Tags = Field(default_factory=list)
    size: Annotated[Literal["s", "l"], BeforeValidator(str.lower)] = "s"
    weight: Optional[int] = Field(default=None, ge=0)  # noqa: UP045
    first: date | None = None
    last: date | None = None

    @field_validator("weight")
    @classmethod
    def _even(cls, value: int | None) -> int | None:
        if value is not None and value % 2:
            raise ValueError("is odd")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> ParcelBase:
        if self.first and self.last and self.first > self.last:
            raise ValueError("The first day is after the last")
        return self


class Parcel(ParcelBase, Apart, table=True):
    """The table."""


class ParcelCreate(ParcelBase):
    """The body of a POST: every parcel weighs something."""

    weight: int = Field(ge=10, le=100)


class ParcelUpdate(ParcelBase, Partial):
    """The body of a PATCH: a tag at least."""

    tags: Tags = Field(min_length=1)


class ParcelPublic(ParcelBase, RecordPublic):
    """The representation in responses."""


class Heavy(ParcelCreate):
    """A subclass of the body with a field that no table has."""

    weight: int = Field(ge=50)
    reason: str


class Line(Schema):
    """A line of an order."""

    name: str
    price: Decimal = Field(max_digits=8, decimal_places=2, ge=0)
    days: list[str] = Field(default_factory=list)


class Address(Schema):
    """Where to."""

    street: str
    kind: Literal["home", "work"] | None = None


class Order(Schema):
    """A body of several levels."""

    to: Address
    backup: Address | None = None
    lines: list[Line] = Field(min_length=1, max_length=3)
    notes: list[Line] | None = None


router = Router(dependencies=[PUBLIC])
parcels = Records(Parcel, ParcelPublic)
ParcelsPage = Annotated[Page, Depends(page_of(parcels))]


@router.get("/parcels", response_model=list[ParcelPublic])
async def list_parcels(page: ParcelsPage, db: ReadDep) -> Response:
    """List parcels."""
    return await page.response(db)


@router.post(
    "/parcels",
    response_model=ParcelPublic,
    status_code=201,
    bulk=imports_of(parcels, ParcelCreate),
)
async def create_parcel(body: ParcelCreate, request: Request, db: WriteDep) -> Response:
    """Create a parcel."""
    row = await db.fetch(parcels.insert(body.model_dump()))
    return parcels.created(row, request)


@router.patch("/parcels/{id}", response_model=ParcelPublic)
async def update_parcel(id: Id, if_match: IfMatch, body: ParcelUpdate, db: WriteDep) -> Response:
    """Change some fields of a parcel."""
    row = await db.fetch(parcels.update(id, body.model_dump(exclude_unset=True), if_match))
    return parcels.updated(row)


@router.post("/heavy")
async def weigh(body: Heavy) -> Heavy:
    """Return what was sent."""
    return body


@router.post("/orders")
async def order(body: Order) -> Order:
    """Return what was sent."""
    return body


@pytest.fixture(scope="module")
async def serving(app: FastAPI, database_url: URL) -> AsyncIterator[FastAPI]:
    """Give a service that has parcels and orders as well."""
    tables = [Parcel.__table__]  # type: ignore[attr-defined]
    engine = app.state.service.database.engine
    async with engine.begin() as connection:
        await connection.run_sync(Apart.metadata.create_all, tables)
    other = SAMPLES.app(database_url=spelled(database_url))
    other.router.routes.extend(router.routes)
    async with other.router.lifespan_context(other):
        yield other
    async with engine.begin() as connection:
        await connection.run_sync(Apart.metadata.drop_all, tables)


@pytest.fixture
async def post(serving: FastAPI) -> AsyncIterator[AsyncClient]:
    """Give a client of a service without parcels."""
    async with serving.state.service.database.engine.begin() as connection:
        await connection.execute(text("TRUNCATE parcel RESTART IDENTITY"))
    transport = ASGITransport(serving)
    async with AsyncClient(transport=transport, base_url="http://songbook") as client:
        yield client


async def test_validators_of_ones_own_convert_what_is_sent(post: AsyncClient) -> None:
    parcel = {"code": " ab ", "tags": ["b", "a", "b"], "size": "L", "weight": "12"}

    stored = (await post.post("/parcels", json=parcel)).json()
    changed = (await post.patch("/parcels/1", json={"code": "c", "tags": ["z", "y", "z"]})).json()

    assert stored["code"] == "AB"
    assert (stored["tags"], stored["size"], stored["weight"]) == (["a", "b"], "l", 12)
    assert UUID(stored["token"])
    assert changed == {**stored, "code": "C", "tags": ["y", "z"]}


async def test_validators_of_ones_own_convert_what_is_imported(post: AsyncClient) -> None:
    lines = b'{"code":"a","weight":10,"tags":["b","b"]}\n{"code":"b","weight":12,"size":"L"}\n'
    table = b'code,weight,tags,size\nc,14,"[""d"",""c"",""d""]",S\nd,16,,\n'

    for content, kind in ((lines, NDJSON), (table, CSV)):
        sent = await send_rows(post, content, path="/parcels", kind=kind)
        assert counts(report_of(sent)) == (2, 2, 0, 0)

    rows = (await post.get("/parcels")).json()
    assert [row["code"] for row in rows] == ["A", "B", "C", "D"]
    assert [row["tags"] for row in rows] == [["b"], [], ["c", "d"], []]
    assert [row["size"] for row in rows] == ["s", "l", "s", "s"]
    assert len({row["token"] for row in rows}) == 4


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"code": "x"}, "/code", "is not known"),
    ({"code": "abcde"}, "/code", "String should have at most 4 characters"),
    ({"weight": 11}, "/weight", "is odd"),
    ({"weight": 8}, "/weight", "Input should be greater than or equal to 10"),
    ({"weight": None}, "/weight", "Input should be a valid integer"),
    ({"tags": ["a", ""]}, "/tags/1", "String should have at least 1 character"),
    ({"first": "2026-02-01", "last": "2026-01-01"}, "", "The first day is after the"),
]


@pytest.mark.parametrize(("fields", "pointer", "detail"), BAD)
async def test_validators_of_ones_own_refuse_in_bodies_and_in_imports(
    post: AsyncClient, fields: dict[str, Any], pointer: str, detail: str
) -> None:
    body = {"code": "a", "weight": 10} | fields

    answer = await post.post("/parcels", json=body)
    line = await send_rows(post, answer.request.content, path="/parcels", kind=NDJSON)

    [error] = assert_problem(answer, 422, "validation")["errors"]
    assert (error["pointer"], error["detail"].startswith(detail)) == (pointer, True), error
    [(number, at, _)] = refusals(report_of(line, 422))
    assert (number, at) == (1, pointer)


async def test_a_field_that_a_body_defines_anew_has_its_own_rules(post: AsyncClient) -> None:
    await post.post("/parcels", json={"code": "a", "weight": 10})

    for body, pointer in (({"tags": []}, "/tags"), ({"weight": -2}, "/weight")):
        problem = assert_problem(await post.patch("/parcels/1", json=body), 422, "validation")
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
    changed = await post.patch("/parcels/1", json={"weight": 2})
    assert (changed.status_code, changed.json()["weight"]) == (200, 2)


async def test_a_subclass_of_a_body_has_its_fields_and_validators(post: AsyncClient) -> None:
    heavy = {"code": "a", "weight": 60, "reason": " r "}

    taken = await post.post("/heavy", json=heavy)
    problem = assert_problem(await post.post("/heavy", json={"code": "x", "weight": 20}), 422)

    assert taken.status_code == 200, taken.text
    assert (taken.json()["code"], taken.json()["reason"]) == ("A", "r")
    pointers = [error["pointer"] for error in problem["errors"]]
    assert sorted(pointers) == ["/code", "/reason", "/weight"]


ORDER: dict[str, Any] = {"to": {"street": "a"}, "lines": [{"name": "b", "price": "1.5"}]}


async def test_a_body_of_several_levels_is_taken_and_answered(post: AsyncClient) -> None:
    answer = await post.post("/orders", json=ORDER)

    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "to": {"street": "a", "kind": None},
        "backup": None,
        "lines": [{"name": "b", "price": "1.5", "days": []}],
        "notes": None,
    }


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"lines": [{"name": "b", "price": "1.555"}]}, "/lines/0/price"),
        ({"lines": [{"name": "b", "price": True}]}, "/lines/0/price"),
        ({"lines": [*ORDER["lines"], {"name": "", "price": 1}]}, "/lines/1/name"),
        ({"lines": [{"name": "b", "price": 1, "extra": 1}]}, "/lines/0/extra"),
        ({"lines": [{"name": "b", "price": 1, "days": [1]}]}, "/lines/0/days/0"),
        ({"lines": [1]}, "/lines/0"),
        ({"lines": []}, "/lines"),
        ({"lines": ORDER["lines"] * 4}, "/lines"),
        ({"lines": ORDER["lines"][0]}, "/lines"),
        ({"to": {"street": "a\0"}}, "/to/street"),
        ({"to": {"street": "a", "kind": "x"}}, "/to/kind"),
        ({"to": {}}, "/to/street"),
        ({"to": None}, "/to"),
        ({"to": []}, "/to"),
        ({"backup": {"street": ""}}, "/backup/street"),
        ({"notes": [{"name": "a", "price": "NaN"}]}, "/notes/0/price"),
    ],
)
async def test_a_body_of_several_levels_is_refused_where_it_is_wrong(
    post: AsyncClient, fields: dict[str, Any], pointer: str
) -> None:
    problem = assert_problem(await post.post("/orders", json=ORDER | fields), 422, "validation")

    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_a_body_of_several_levels_has_no_imports() -> None:
    with pytest.raises(TypeError, match="Order has fields without a column: it cannot be imported"):
        imports_of(parcels, Order)
