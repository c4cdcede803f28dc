"""Cities: table, schemas and routes."""

from typing import Annotated

from fastapi import Depends, Request, Response
from sqlmodel import Field, col, select

from songbook.auth import OPEN
from songbook.bulk import imports_of
from songbook.crud import Id, IfMatch, IfNoneMatch, ReadDep, Records, View, WriteDep, view_of
from songbook.http import Router
from songbook.lists import Page, json_rows, page_of, rows_response
from songbook.models import Partial, Record, RecordPublic, Schema

router = Router(prefix="/cities", tags=["cities"], dependencies=[OPEN])


class CityBase(Schema):
    """The fields shared by requests, responses and the table."""

    name: str = Field(unique=True)
    population: int = Field(ge=0, index=True)


class City(CityBase, Record, table=True):
    """The table."""

    __tablename__ = "cities"


class CityCreate(CityBase):
    """The body of a POST or a PUT."""


class CityUpdate(CityBase, Partial):
    """The body of a PATCH; omitted fields stay unchanged."""


class CityPublic(CityBase, RecordPublic):
    """The representation in responses."""


cities = Records(City, CityPublic)
CitiesPage = Annotated[Page, Depends(page_of(cities))]
CityView = Annotated[View, Depends(view_of(cities))]

BIGGEST = json_rows(
    select(City.name, City.population)
    .order_by(col(City.population).desc(), col(City.id).desc())
    .limit(20)
)


@router.get("", response_model=list[CityPublic])
async def list_cities(page: CitiesPage, db: ReadDep) -> Response:
    """List cities, a page at a time."""
    return await page.response(db)


@router.get("/biggest", response_model=list[CityBase])
async def list_biggest_cities(if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """List the twenty cities with the largest population."""
    return rows_response(await db.fetch(BIGGEST.bind({})), if_none_match)


@router.post("", response_model=CityPublic, status_code=201, bulk=imports_of(cities, CityCreate))
async def create_city(body: CityCreate, request: Request, db: WriteDep) -> Response:
    """Create a city."""
    row = await db.fetch(cities.insert(body.model_dump()))
    return cities.created(row, request)


@router.get("/{id}", response_model=CityPublic)
async def read_city(id: Id, view: CityView, if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """Read a city."""
    row = await db.fetch(cities.select(id, view))
    return cities.found(row, if_none_match)


@router.put("/{id}", response_model=CityPublic)
async def replace_city(id: Id, if_match: IfMatch, body: CityCreate, db: WriteDep) -> Response:
    """Replace a city; omitted optional fields are reset."""
    row = await db.fetch(cities.update(id, body.model_dump(), if_match))
    return cities.updated(row)


@router.patch("/{id}", response_model=CityPublic)
async def update_city(id: Id, if_match: IfMatch, body: CityUpdate, db: WriteDep) -> Response:
    """Change some fields of a city."""
    row = await db.fetch(cities.update(id, body.model_dump(exclude_unset=True), if_match))
    return cities.updated(row)


@router.delete("/{id}", status_code=204)
async def delete_city(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a city."""
    row = await db.fetch(cities.delete(id, if_match))
    return cities.deleted(row)
