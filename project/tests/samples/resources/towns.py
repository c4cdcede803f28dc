"""Towns, from the table to the wire."""

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
from songbook.models import Fields, Partial, RecordPublic, Text, Whole
from tests.samples.tables import Stored

router = Router(prefix="/towns", tags=["towns"], dependencies=[OPEN])

Population = Annotated[int, Whole(0)]


class TownBase(Fields):
    """What a client writes and reads."""

    name: Text = Field(unique=True)
    population: Population = Field(index=True)


class Town(TownBase, Stored, table=True):
    """What is stored."""

    __tablename__ = "towns"


class TownCreate(TownBase):
    """The body of a POST or a PUT."""


class TownUpdate(TownBase, Partial):
    """The body of a PATCH: a field left out stays as it is."""


class TownPublic(TownBase, RecordPublic):
    """What a client is shown."""


TownsPage = Annotated[Page, Depends(page_of(Town, TownPublic))]
Biggest = Annotated[Top, Depends(top_of(Town, TownBase, "-population", rows=20))]

IMPORTS = imports_of(Town, TownCreate)


@router.get("", response_model=list[TownPublic])
async def list_towns(page: TownsPage, db: DatabaseDep) -> Response:
    """List towns, a page at a time."""
    return await page.answer(db)


@router.get("/biggest", response_model=list[TownBase])
async def list_biggest_towns(top: Biggest, db: DatabaseDep) -> Response:
    """List the twenty towns with the largest population."""
    return top.answer(await db.fetch(top.query))


@router.post("", response_model=TownPublic, status_code=201, dependencies=[IMPORTS])
async def create_town(body: TownCreate, here: Here, db: OnceDep) -> Response:
    """Create a town."""
    row = await db.fetch(created(Town, TownPublic, body.model_dump()))
    return answer_created(row, TownPublic, here)


@router.get("/{id}", response_model=TownPublic)
async def read_town(id: Id, if_none_match: IfNoneMatch, db: DatabaseDep) -> Response:
    """Read a town."""
    row = await db.fetch(found(Town, TownPublic, id))
    return answer_found(row, TownPublic, if_none_match)


@router.put("/{id}", response_model=TownPublic)
async def replace_town(id: Id, if_match: IfMatch, body: TownCreate, db: WriteDep) -> Response:
    """Replace a town: an optional field that is left out is reset."""
    row = await db.fetch(changed(Town, TownPublic, id, body.model_dump(), if_match))
    return answer_changed(row, TownPublic)


@router.patch("/{id}", response_model=TownPublic)
async def update_town(id: Id, if_match: IfMatch, body: TownUpdate, db: OnceDep) -> Response:
    """Change some fields of a town."""
    row = await db.fetch(changed(Town, TownPublic, id, body.sent(), if_match))
    return answer_changed(row, TownPublic)


@router.delete("/{id}", status_code=204)
async def delete_town(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a town."""
    row = await db.fetch(removed(Town, TownPublic, id, if_match))
    return answer_removed(row, TownPublic)
