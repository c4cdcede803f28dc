"""Towns: table, schemas and routes."""

from typing import Annotated

from fastapi import Depends, Request, Response
from sqlmodel import Field, col, select

from songbook.auth import OPEN
from songbook.bulk import imports_of
from songbook.crud import Id, IfMatch, IfNoneMatch, ReadDep, Records, View, WriteDep, view_of
from songbook.http import Router
from songbook.lists import Page, json_rows, page_of, rows_response
from songbook.models import Partial, RecordPublic, Schema
from tests.samples.tables import Stored

router = Router(prefix="/towns", tags=["towns"], dependencies=[OPEN])


class TownBase(Schema):
    """The fields shared by requests, responses and the table."""

    name: str = Field(unique=True)
    population: int = Field(ge=0, index=True)


class Town(TownBase, Stored, table=True):
    """The table."""

    __tablename__ = "towns"


class TownCreate(TownBase):
    """The body of a POST or a PUT."""


class TownUpdate(TownBase, Partial):
    """The body of a PATCH; omitted fields stay unchanged."""


class TownPublic(TownBase, RecordPublic):
    """The representation in responses."""


towns = Records(Town, TownPublic)
TownsPage = Annotated[Page, Depends(page_of(towns))]
TownView = Annotated[View, Depends(view_of(towns))]

BIGGEST = json_rows(
    select(Town.name, Town.population)
    .order_by(col(Town.population).desc(), col(Town.id).desc())
    .limit(20)
)


@router.get("", response_model=list[TownPublic])
async def list_towns(page: TownsPage, db: ReadDep) -> Response:
    """List towns, a page at a time."""
    return await page.response(db)


@router.get("/biggest", response_model=list[TownBase])
async def list_biggest_towns(if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """List the twenty towns with the largest population."""
    return rows_response(await db.fetch(BIGGEST.bind({})), if_none_match)


@router.post("", response_model=TownPublic, status_code=201, bulk=imports_of(towns, TownCreate))
async def create_town(body: TownCreate, request: Request, db: WriteDep) -> Response:
    """Create a town."""
    row = await db.fetch(towns.insert(body.model_dump()))
    return towns.created(row, request)


@router.get("/{id}", response_model=TownPublic)
async def read_town(id: Id, view: TownView, if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """Read a town."""
    row = await db.fetch(towns.select(id, view))
    return towns.found(row, if_none_match)


@router.put("/{id}", response_model=TownPublic)
async def replace_town(id: Id, if_match: IfMatch, body: TownCreate, db: WriteDep) -> Response:
    """Replace a town: an optional field that is left out is reset."""
    row = await db.fetch(towns.update(id, body.model_dump(), if_match))
    return towns.updated(row)


@router.patch("/{id}", response_model=TownPublic)
async def update_town(id: Id, if_match: IfMatch, body: TownUpdate, db: WriteDep) -> Response:
    """Change some fields of a town."""
    row = await db.fetch(towns.update(id, body.model_dump(exclude_unset=True), if_match))
    return towns.updated(row)


@router.delete("/{id}", status_code=204)
async def delete_town(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a town."""
    row = await db.fetch(towns.delete(id, if_match))
    return towns.deleted(row)
