"""Songs, from the table to the wire."""

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
from songbook.lists import Page, page_of
from songbook.models import Fields, Partial, Record, RecordPublic, Text, Whole

router = Router(prefix="/songs", tags=["songs"], dependencies=[OPEN])

Year = Annotated[int, Whole(1, 9999)]


class SongBase(Fields):
    """What a client writes and reads."""

    name: Text
    artist: Text
    year: Year | None = Field(default=None, index=True)


class Song(SongBase, Record, table=True):
    """What is stored."""


class SongCreate(SongBase):
    """The body of a POST or a PUT."""


class SongUpdate(SongBase, Partial):
    """The body of a PATCH: a field left out stays as it is."""


class SongPublic(SongBase, RecordPublic):
    """What a client is shown."""


SongsPage = Annotated[Page, Depends(page_of(Song, SongPublic))]

IMPORTS = imports_of(Song, SongCreate)


@router.get("", response_model=list[SongPublic])
async def list_songs(page: SongsPage, db: DatabaseDep) -> Response:
    """List songs, a page at a time."""
    return await page.answer(db)


@router.post("", response_model=SongPublic, status_code=201, dependencies=[IMPORTS])
async def create_song(body: SongCreate, here: Here, db: OnceDep) -> Response:
    """Create a song."""
    row = await db.fetch(created(Song, SongPublic, body.model_dump()))
    return answer_created(row, SongPublic, here)


@router.get("/{id}", response_model=SongPublic)
async def read_song(id: Id, if_none_match: IfNoneMatch, db: DatabaseDep) -> Response:
    """Read a song."""
    row = await db.fetch(found(Song, SongPublic, id))
    return answer_found(row, SongPublic, if_none_match)


@router.put("/{id}", response_model=SongPublic)
async def replace_song(id: Id, if_match: IfMatch, body: SongCreate, db: WriteDep) -> Response:
    """Replace a song: an optional field that is left out is reset."""
    row = await db.fetch(changed(Song, SongPublic, id, body.model_dump(), if_match))
    return answer_changed(row, SongPublic)


@router.patch("/{id}", response_model=SongPublic)
async def update_song(id: Id, if_match: IfMatch, body: SongUpdate, db: OnceDep) -> Response:
    """Change some fields of a song."""
    row = await db.fetch(changed(Song, SongPublic, id, body.sent(), if_match))
    return answer_changed(row, SongPublic)


@router.delete("/{id}", status_code=204)
async def delete_song(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a song."""
    row = await db.fetch(removed(Song, SongPublic, id, if_match))
    return answer_removed(row, SongPublic)
