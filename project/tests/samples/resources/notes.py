"""Notes: table, schemas and routes."""

from typing import Annotated

from fastapi import Depends, Request, Response
from sqlmodel import Field

from songbook.auth import OPEN
from songbook.bulk import imports_of
from songbook.crud import Id, IfMatch, IfNoneMatch, ReadDep, Records, View, WriteDep, view_of
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import (
    Partial,
    RecordPublic,
    Schema,
    SoftDelete,
    Timestamps,
)
from tests.samples.tables import Stored

router = Router(prefix="/notes", tags=["notes"], dependencies=[OPEN])


class NoteBase(Schema):
    """The fields shared by requests, responses and the table."""

    content: str = Field(max_length=10_000)


class Note(NoteBase, Timestamps, SoftDelete, Stored, table=True):
    """The table."""


class NoteCreate(NoteBase):
    """The body of a POST or a PUT."""


class NoteUpdate(NoteBase, Partial):
    """The body of a PATCH; omitted fields stay unchanged."""


class NotePublic(Timestamps, NoteBase, RecordPublic):
    """The representation in responses."""


class NoteList(Schema):
    """A page of notes, and how many there are on all pages."""

    count: int = Field(ge=0)
    items: list[NotePublic]


notes = Records(Note, NotePublic)
NotesPage = Annotated[Page, Depends(page_of(notes, sort="-created_at", counted=True))]
NoteView = Annotated[View, Depends(view_of(notes))]


@router.get("", response_model=NoteList, summary="List all notes")
async def list_notes(page: NotesPage, db: ReadDep) -> Response:
    """List the notes that are not deleted, a page at a time."""
    return await page.response(db)


@router.post(
    "",
    response_model=NotePublic,
    status_code=201,
    bulk=imports_of(notes, NoteCreate),
    summary="Create a new note",
)
async def create_note(body: NoteCreate, request: Request, db: WriteDep) -> Response:
    """Create a note."""
    row = await db.fetch(notes.insert(body.model_dump()))
    return notes.created(row, request)


@router.get("/{id}", response_model=NotePublic, summary="Retrieve a note")
async def read_note(id: Id, view: NoteView, if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """Read a note."""
    row = await db.fetch(notes.select(id, view))
    return notes.found(row, if_none_match)


@router.put("/{id}", response_model=NotePublic, summary="Update a note")
async def replace_note(id: Id, if_match: IfMatch, body: NoteCreate, db: WriteDep) -> Response:
    """Replace the content of a note."""
    row = await db.fetch(notes.update(id, body.model_dump(), if_match))
    return notes.updated(row)


@router.patch("/{id}", response_model=NotePublic)
async def update_note(id: Id, if_match: IfMatch, body: NoteUpdate, db: WriteDep) -> Response:
    """Change some fields of a note."""
    row = await db.fetch(notes.update(id, body.model_dump(exclude_unset=True), if_match))
    return notes.updated(row)


@router.delete("/{id}", status_code=204, summary="Delete a note")
async def delete_note(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a note: it can be restored until it is purged."""
    row = await db.fetch(notes.delete(id, if_match))
    return notes.deleted(row)


@router.post("/{id}/restore", response_model=NotePublic)
async def restore_note(id: Id, db: WriteDep) -> Response:
    """Take the deletion of a note back; one that is not deleted stays as it is."""
    row = await db.fetch(notes.restore(id))
    return notes.updated(row)
