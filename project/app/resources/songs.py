"""Songs: table, schemas and routes."""

from typing import Annotated

from fastapi import Depends, Request, Response
from sqlmodel import Field

from songbook.auth import OPEN
from songbook.bulk import imports_of
from songbook.crud import Id, IfMatch, IfNoneMatch, ReadDep, Records, View, WriteDep, view_of
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import Partial, Record, RecordPublic, Schema

router = Router(prefix="/songs", tags=["songs"], dependencies=[OPEN])


class SongBase(Schema):
    """The fields shared by requests, responses and the table."""

    name: str
    artist: str
    year: int | None = Field(default=None, ge=1, le=9999, index=True)


class Song(SongBase, Record, table=True):
    """The table."""


class SongCreate(SongBase):
    """The body of a POST or a PUT."""


class SongUpdate(SongBase, Partial):
    """The body of a PATCH; omitted fields stay unchanged."""


class SongPublic(SongBase, RecordPublic):
    """The representation in responses."""


songs = Records(Song, SongPublic)
SongsPage = Annotated[Page, Depends(page_of(songs))]
SongView = Annotated[View, Depends(view_of(songs))]


@router.get("", response_model=list[SongPublic])
async def list_songs(page: SongsPage, db: ReadDep) -> Response:
    """List songs, a page at a time."""
    return await page.response(db)


@router.post("", response_model=SongPublic, status_code=201, bulk=imports_of(songs, SongCreate))
async def create_song(body: SongCreate, request: Request, db: WriteDep) -> Response:
    """Create a song."""
    row = await db.fetch(songs.insert(body.model_dump()))
    return songs.created(row, request)


@router.get("/{id}", response_model=SongPublic)
async def read_song(id: Id, view: SongView, if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """Read a song."""
    row = await db.fetch(songs.select(id, view))
    return songs.found(row, if_none_match)


@router.put("/{id}", response_model=SongPublic)
async def replace_song(id: Id, if_match: IfMatch, body: SongCreate, db: WriteDep) -> Response:
    """Replace a song; omitted optional fields are reset."""
    row = await db.fetch(songs.update(id, body.model_dump(), if_match))
    return songs.updated(row)


@router.patch("/{id}", response_model=SongPublic)
async def update_song(id: Id, if_match: IfMatch, body: SongUpdate, db: WriteDep) -> Response:
    """Change some fields of a song."""
    row = await db.fetch(songs.update(id, body.model_dump(exclude_unset=True), if_match))
    return songs.updated(row)


@router.delete("/{id}", status_code=204)
async def delete_song(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a song."""
    row = await db.fetch(songs.delete(id, if_match))
    return songs.deleted(row)
