"""Cities, from the table to the wire."""

from typing import Annotated

from fastapi import Depends, Response
from sqlmodel import Field

from songbook.auth import OPEN
from songbook.bulk import imports_of
from songbook.crud import (
    Here,
    IfMatch,
    IfNoneMatch,
    OnceDep,
    WriteDep,
    answer_changed,
    answer_created,
    answer_found,
    answer_removed,
    changed,
    created,
    found,
    removed,
)
from songbook.http import DatabaseDep, Id, Router
from songbook.lists import Page, Top, page_of, top_of
from songbook.models import Fields, Partial, Record, RecordPublic, Text, Whole

router = Router(prefix="/cities", tags=["cities"], dependencies=[OPEN])

Population = Annotated[int, Whole(0)]


class CityBase(Fields):
    """What a client writes and reads."""

    name: Text = Field(unique=True)
    population: Population = Field(index=True)


class City(CityBase, Record, table=True):
    """What is stored."""

    __tablename__ = "cities"


class CityCreate(CityBase):
    """The body of a POST or a PUT."""


class CityUpdate(CityBase, Partial):
    """The body of a PATCH: a field left out stays as it is."""


class CityPublic(CityBase, RecordPublic):
    """What a client is shown."""


CitiesPage = Annotated[Page, Depends(page_of(City, CityPublic))]
Biggest = Annotated[Top, Depends(top_of(City, CityBase, "-population", rows=20))]

IMPORTS = imports_of(City, CityCreate)


@router.get("", response_model=list[CityPublic])
async def list_cities(page: CitiesPage, db: DatabaseDep) -> Response:
    """List cities, a page at a time."""
    return await page.answer(db)


@router.get("/biggest", response_model=list[CityBase])
async def list_biggest_cities(top: Biggest, db: DatabaseDep) -> Response:
    """List the twenty cities with the largest population."""
    return top.answer(await db.fetch(top.query))


@router.post("", response_model=CityPublic, status_code=201, dependencies=[IMPORTS])
async def create_city(body: CityCreate, here: Here, db: OnceDep) -> Response:
    """Create a city."""
    row = await db.fetch(created(City, CityPublic, body.model_dump()))
    return answer_created(row, CityPublic, here)


@router.get("/{id}", response_model=CityPublic)
async def read_city(id: Id, if_none_match: IfNoneMatch, db: DatabaseDep) -> Response:
    """Read a city."""
    row = await db.fetch(found(City, CityPublic, id))
    return answer_found(row, CityPublic, if_none_match)


@router.put("/{id}", response_model=CityPublic)
async def replace_city(id: Id, if_match: IfMatch, body: CityCreate, db: WriteDep) -> Response:
    """Replace a city: an optional field that is left out is reset."""
    row = await db.fetch(changed(City, CityPublic, id, body.model_dump(), if_match))
    return answer_changed(row, CityPublic)


@router.patch("/{id}", response_model=CityPublic)
async def update_city(id: Id, if_match: IfMatch, body: CityUpdate, db: OnceDep) -> Response:
    """Change some fields of a city."""
    row = await db.fetch(changed(City, CityPublic, id, body.sent(), if_match))
    return answer_changed(row, CityPublic)


@router.delete("/{id}", status_code=204)
async def delete_city(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a city."""
    row = await db.fetch(removed(City, CityPublic, id, if_match))
    return answer_removed(row, CityPublic)
