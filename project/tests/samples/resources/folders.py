"""Folders, which belong to the member who makes them: table, schemas and routes."""

from typing import Annotated

from fastapi import Depends, Request, Response
from sqlmodel import Field

from songbook.auth import OWNER
from songbook.bulk import imports_of
from songbook.crud import Id, IfMatch, IfNoneMatch, ReadDep, Records, View, WriteDep, view_of
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import Owned, Partial, RecordPublic, Schema
from tests.samples.tables import Stored

router = Router(prefix="/folders", tags=["folders"], dependencies=[OWNER])


class FolderBase(Schema):
    """The fields shared by requests, responses and the table."""

    name: str = Field(unique=True)
    year: int | None = Field(default=None, ge=1, le=9999, index=True)


class Folder(FolderBase, Owned, Stored, table=True):
    """The table."""


class FolderCreate(FolderBase):
    """The body of a POST or a PUT."""


class FolderUpdate(FolderBase, Partial):
    """The body of a PATCH; omitted fields stay unchanged."""


class FolderPublic(FolderBase, RecordPublic):
    """The representation in responses."""


folders = Records(Folder, FolderPublic)
FoldersPage = Annotated[Page, Depends(page_of(folders))]
FolderView = Annotated[View, Depends(view_of(folders))]


@router.get("", response_model=list[FolderPublic])
async def list_folders(page: FoldersPage, db: ReadDep) -> Response:
    """List folders, a page at a time."""
    return await page.response(db)


@router.post(
    "", response_model=FolderPublic, status_code=201, bulk=imports_of(folders, FolderCreate)
)
async def create_folder(body: FolderCreate, request: Request, db: WriteDep) -> Response:
    """Create a folder."""
    row = await db.fetch(folders.insert(body.model_dump()))
    return folders.created(row, request)


@router.get("/{id}", response_model=FolderPublic)
async def read_folder(
    id: Id, view: FolderView, if_none_match: IfNoneMatch, db: ReadDep
) -> Response:
    """Read a folder."""
    row = await db.fetch(folders.select(id, view))
    return folders.found(row, if_none_match)


@router.put("/{id}", response_model=FolderPublic)
async def replace_folder(id: Id, if_match: IfMatch, body: FolderCreate, db: WriteDep) -> Response:
    """Replace a folder: an optional field that is left out is reset."""
    row = await db.fetch(folders.update(id, body.model_dump(), if_match))
    return folders.updated(row)


@router.patch("/{id}", response_model=FolderPublic)
async def update_folder(id: Id, if_match: IfMatch, body: FolderUpdate, db: WriteDep) -> Response:
    """Change some fields of a folder."""
    row = await db.fetch(folders.update(id, body.model_dump(exclude_unset=True), if_match))
    return folders.updated(row)


@router.delete("/{id}", status_code=204)
async def delete_folder(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a folder."""
    row = await db.fetch(folders.delete(id, if_match))
    return folders.deleted(row)
