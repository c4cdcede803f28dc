"""Clippings, each in a folder of the same member: table, schemas and routes."""

from typing import Annotated

from fastapi import Depends, Request, Response
from sqlmodel import Field

from songbook.auth import OWNER
from songbook.bulk import imports_of
from songbook.crud import Id, IfMatch, IfNoneMatch, ReadDep, Records, View, WriteDep, view_of
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import Owned, Partial, RecordPublic, Schema, SoftDelete
from tests.samples.tables import Stored

router = Router(prefix="/clippings", tags=["clippings"], dependencies=[OWNER])


class ClippingBase(Schema):
    """The fields shared by requests, responses and the table."""

    text: str
    folder_id: int | None = Field(default=None, foreign_key="folder.id")


class Clipping(ClippingBase, Owned, SoftDelete, Stored, table=True):
    """The table."""


class ClippingCreate(ClippingBase):
    """The body of a POST or a PUT."""


class ClippingUpdate(ClippingBase, Partial):
    """The body of a PATCH; omitted fields stay unchanged."""


class ClippingPublic(ClippingBase, RecordPublic):
    """The representation in responses."""


clippings = Records(Clipping, ClippingPublic)
ClippingsPage = Annotated[Page, Depends(page_of(clippings))]
ClippingView = Annotated[View, Depends(view_of(clippings))]


@router.get("", response_model=list[ClippingPublic])
async def list_clippings(page: ClippingsPage, db: ReadDep) -> Response:
    """List clippings, a page at a time."""
    return await page.response(db)


@router.post(
    "", response_model=ClippingPublic, status_code=201, bulk=imports_of(clippings, ClippingCreate)
)
async def create_clipping(body: ClippingCreate, request: Request, db: WriteDep) -> Response:
    """Create a clipping."""
    row = await db.fetch(clippings.insert(body.model_dump()))
    return clippings.created(row, request)


@router.get("/{id}", response_model=ClippingPublic)
async def read_clipping(
    id: Id, view: ClippingView, if_none_match: IfNoneMatch, db: ReadDep
) -> Response:
    """Read a clipping."""
    row = await db.fetch(clippings.select(id, view))
    return clippings.found(row, if_none_match)


@router.put("/{id}", response_model=ClippingPublic)
async def replace_clipping(
    id: Id, if_match: IfMatch, body: ClippingCreate, db: WriteDep
) -> Response:
    """Replace a clipping: an optional field that is left out is reset."""
    row = await db.fetch(clippings.update(id, body.model_dump(), if_match))
    return clippings.updated(row)


@router.patch("/{id}", response_model=ClippingPublic)
async def update_clipping(
    id: Id, if_match: IfMatch, body: ClippingUpdate, db: WriteDep
) -> Response:
    """Change some fields of a clipping."""
    row = await db.fetch(clippings.update(id, body.model_dump(exclude_unset=True), if_match))
    return clippings.updated(row)


@router.delete("/{id}", status_code=204)
async def delete_clipping(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a clipping: it can be restored until it is purged."""
    row = await db.fetch(clippings.delete(id, if_match))
    return clippings.deleted(row)


@router.post("/{id}/restore", response_model=ClippingPublic)
async def restore_clipping(id: Id, db: WriteDep) -> Response:
    """Take the deletion of a clipping back; one that is not deleted stays as it is."""
    row = await db.fetch(clippings.restore(id))
    return clippings.updated(row)
