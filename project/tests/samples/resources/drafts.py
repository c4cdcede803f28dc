"""Drafts, each in a folder of the same member: table, schemas and routes."""

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

router = Router(prefix="/drafts", tags=["drafts"], dependencies=[OWNER])


class DraftBase(Schema):
    """The fields shared by requests, responses and the table."""

    text: str
    folder_id: int | None = Field(default=None, foreign_key="folder.id")


class Draft(DraftBase, Owned, SoftDelete, Stored, table=True):
    """The table."""


class DraftCreate(DraftBase):
    """The body of a POST or a PUT."""


class DraftUpdate(DraftBase, Partial):
    """The body of a PATCH; omitted fields stay unchanged."""


class DraftPublic(DraftBase, RecordPublic):
    """The representation in responses."""


drafts = Records(Draft, DraftPublic)
DraftsPage = Annotated[Page, Depends(page_of(drafts))]
DraftView = Annotated[View, Depends(view_of(drafts))]


@router.get("", response_model=list[DraftPublic])
async def list_drafts(page: DraftsPage, db: ReadDep) -> Response:
    """List drafts, a page at a time."""
    return await page.response(db)


@router.post("", response_model=DraftPublic, status_code=201, bulk=imports_of(drafts, DraftCreate))
async def create_draft(body: DraftCreate, request: Request, db: WriteDep) -> Response:
    """Create a draft."""
    row = await db.fetch(drafts.insert(body.model_dump()))
    return drafts.created(row, request)


@router.get("/{id}", response_model=DraftPublic)
async def read_draft(id: Id, view: DraftView, if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """Read a draft."""
    row = await db.fetch(drafts.select(id, view))
    return drafts.found(row, if_none_match)


@router.put("/{id}", response_model=DraftPublic)
async def replace_draft(id: Id, if_match: IfMatch, body: DraftCreate, db: WriteDep) -> Response:
    """Replace a draft: an optional field that is left out is reset."""
    row = await db.fetch(drafts.update(id, body.model_dump(), if_match))
    return drafts.updated(row)


@router.patch("/{id}", response_model=DraftPublic)
async def update_draft(id: Id, if_match: IfMatch, body: DraftUpdate, db: WriteDep) -> Response:
    """Change some fields of a draft."""
    row = await db.fetch(drafts.update(id, body.model_dump(exclude_unset=True), if_match))
    return drafts.updated(row)


@router.delete("/{id}", status_code=204)
async def delete_draft(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a draft: it can be restored until it is purged."""
    row = await db.fetch(drafts.delete(id, if_match))
    return drafts.deleted(row)


@router.post("/{id}/restore", response_model=DraftPublic)
async def restore_draft(id: Id, db: WriteDep) -> Response:
    """Take the deletion of a draft back; one that is not deleted stays as it is."""
    row = await db.fetch(drafts.restore(id))
    return drafts.updated(row)
