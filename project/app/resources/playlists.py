"""Playlists and their entries: tables, schemas and routes."""

from typing import Annotated, Any

from asyncpg import Record as Row
from fastapi import Depends, Request, Response
from sqlmodel import Field, Index, bindparam, col, func, select, text

from app.resources.songs import Song
from songbook.auth import OPEN, OWNER, SHARED
from songbook.bulk import imports_of
from songbook.crud import (
    Id,
    IfMatch,
    IfNoneMatch,
    ReadDep,
    Records,
    TransactionDep,
    View,
    WriteDep,
    path_id,
    view_of,
)
from songbook.db import CompiledStatement
from songbook.errors import NotFound, errors_at
from songbook.http import Router
from songbook.lists import Page, json_rows, page_of, rows_response
from songbook.models import Owned, Partial, Record, RecordPublic, Schema, Timestamps

router = Router(prefix="/playlists", tags=["playlists"])


class PlaylistBase(Schema):
    """The fields shared by requests, responses and the table."""

    name: str
    is_public: bool = False


class Playlist(PlaylistBase, Timestamps, Owned, Record, table=True):
    """The table; a playlist belongs to the user who creates it."""

    __table_args__ = (Index("ix_playlist_public", "id", postgresql_where=text("is_public")),)


class PlaylistCreate(PlaylistBase):
    """The body of a POST or a PUT."""


class PlaylistUpdate(PlaylistBase, Partial):
    """The body of a PATCH; omitted fields stay unchanged."""


class PlaylistPublic(Timestamps, PlaylistBase, RecordPublic):
    """The representation in responses."""


class EntryBase(Schema):
    """What an entry of a playlist refers to."""

    song_id: int = Field(foreign_key="song.id", ondelete="CASCADE")


class Entry(EntryBase, Record, table=True):
    """The table of entries, which are in the order of their positions.

    An entry moves between two others by a position between theirs: no other row changes.
    """

    __table_args__ = (Index("ix_entry_order", "playlist_id", "position", "id"),)

    playlist_id: int = Field(foreign_key="playlist.id", ondelete="CASCADE")
    position: float


class EntriesCreate(Schema):
    """The body of a POST of entries."""

    entries: list[EntryBase] = Field(min_length=1, max_length=100)


class EntryMove(Schema):
    """The body of a PATCH of an entry."""

    position: float


class EntryPublic(EntryBase, RecordPublic):
    """The representation of an entry in responses."""

    position: float


class ListedSong(Schema):
    """A song, and the number of public playlists that list it."""

    id: int
    name: str
    artist: str
    playlists: int


playlists = Records(Playlist, PlaylistPublic)
visible_playlists = Records(Playlist, PlaylistPublic, readable=col(Playlist.is_public))
PlaylistsPage = Annotated[Page, Depends(page_of(playlists))]
PublicPage = Annotated[Page, Depends(page_of(visible_playlists, where=col(Playlist.is_public)))]
PlaylistView = Annotated[View, Depends(view_of(visible_playlists))]

entries = Records(Entry, EntryPublic)
EntryId = Annotated[int, Depends(path_id("entry_id", "The id of the entry."))]
EntriesPage = Annotated[
    Page,
    Depends(
        page_of(
            entries,
            sort="position",
            where=col(Entry.playlist_id) == bindparam("id"),
            parent=select(Playlist).where(
                col(Playlist.id) == bindparam("id"), visible_playlists.is_readable
            ),
        )
    ),
]

LAST_ENTRY = CompiledStatement(
    select(Entry.position)
    .where(col(Entry.playlist_id) == bindparam("id"))
    .order_by(col(Entry.position).desc())
    .limit(1)
)
ENTRY_OF_PLAYLIST = CompiledStatement(
    select(Entry.id).where(
        col(Entry.id) == bindparam("entry_id"), col(Entry.playlist_id) == bindparam("id")
    )
)
LISTED = func.count(func.distinct(Playlist.id)).label("playlists")
MOST_LISTED = json_rows(
    select(Song.id, Song.name, Song.artist, LISTED)
    .join(Entry, col(Entry.song_id) == col(Song.id))
    .join(Playlist, col(Playlist.id) == col(Entry.playlist_id))
    .where(col(Playlist.is_public))
    .group_by(col(Song.id))
    .order_by(LISTED.desc(), col(Song.id))
    .limit(20),
    all_owners=True,
)


def placed(new: EntriesCreate, playlist_id: int, last: Row | None) -> list[dict[str, Any]]:
    """Return the fields of new entries, in their order after the last one of the playlist."""
    end = last["position"] if last else 0
    return [
        {**entry.model_dump(), "playlist_id": playlist_id, "position": end + nth}
        for nth, entry in enumerate(new.entries, 1)
    ]


async def touch(id: int, db: TransactionDep) -> None:
    """Set `updated_at` of your playlist, which locks it. Raises NotFound if it is not yours."""
    row = await db.fetch(playlists.update(id, {"updated_at": func.clock_timestamp()}))
    playlists.updated(row)


async def insert_entries(rows: list[dict[str, Any]], db: TransactionDep) -> list[Row | None]:
    """Store entries. Raises Conflict, which points to the one whose song does not exist."""
    stored = []
    for nth, fields in enumerate(rows):
        with errors_at("entries", nth):
            stored.append(await db.fetch(entries.insert(fields)))
    return stored


async def require_entry(id: int, entry_id: int, db: TransactionDep) -> None:
    """Raise NotFound if the playlist has no such entry."""
    if await db.fetch(ENTRY_OF_PLAYLIST.bind({"id": id, "entry_id": entry_id})) is None:
        raise NotFound("Entry not found")


@router.get("", response_model=list[PlaylistPublic], dependencies=[OWNER])
async def list_playlists(page: PlaylistsPage, db: ReadDep) -> Response:
    """List your playlists, a page at a time."""
    return await page.response(db)


@router.get("/public", response_model=list[PlaylistPublic], dependencies=[SHARED])
async def list_public_playlists(page: PublicPage, db: ReadDep) -> Response:
    """List the public playlists of all users, a page at a time."""
    return await page.response(db)


@router.get("/most-listed-songs", response_model=list[ListedSong], dependencies=[OPEN])
async def list_most_listed_songs(if_none_match: IfNoneMatch, db: ReadDep) -> Response:
    """List the twenty songs that most public playlists list."""
    return rows_response(await db.fetch(MOST_LISTED.bind({})), if_none_match)


@router.post(
    "",
    response_model=PlaylistPublic,
    status_code=201,
    bulk=imports_of(playlists, PlaylistCreate),
    dependencies=[OWNER],
)
async def create_playlist(body: PlaylistCreate, request: Request, db: WriteDep) -> Response:
    """Create a playlist, which belongs to you."""
    row = await db.fetch(playlists.insert(body.model_dump()))
    return playlists.created(row, request)


@router.get("/{id}", response_model=PlaylistPublic, dependencies=[SHARED])
async def read_playlist(
    id: Id, view: PlaylistView, if_none_match: IfNoneMatch, db: ReadDep
) -> Response:
    """Read a playlist that is yours or public."""
    row = await db.fetch(visible_playlists.select(id, view))
    return visible_playlists.found(row, if_none_match)


@router.put("/{id}", response_model=PlaylistPublic, dependencies=[OWNER])
async def replace_playlist(
    id: Id, if_match: IfMatch, body: PlaylistCreate, db: WriteDep
) -> Response:
    """Replace a playlist; omitted optional fields are reset."""
    row = await db.fetch(playlists.update(id, body.model_dump(), if_match))
    return playlists.updated(row)


@router.patch("/{id}", response_model=PlaylistPublic, dependencies=[OWNER])
async def update_playlist(
    id: Id, if_match: IfMatch, body: PlaylistUpdate, db: WriteDep
) -> Response:
    """Change some fields of a playlist."""
    row = await db.fetch(playlists.update(id, body.model_dump(exclude_unset=True), if_match))
    return playlists.updated(row)


@router.delete("/{id}", status_code=204, dependencies=[OWNER])
async def delete_playlist(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    """Delete a playlist with its entries."""
    row = await db.fetch(playlists.delete(id, if_match))
    return playlists.deleted(row)


@router.get("/{id}/entries", response_model=list[EntryPublic], dependencies=[SHARED])
async def list_entries(id: Id, page: EntriesPage, db: ReadDep) -> Response:
    """List the entries of a playlist in their order, a page at a time."""
    return await page.response(db, id=id)


@router.post(
    "/{id}/entries", response_model=list[EntryPublic], status_code=201, dependencies=[OWNER]
)
async def add_entries(id: Id, body: EntriesCreate, db: TransactionDep) -> Response:
    """Add songs at the end of a playlist: all of them or none."""
    await touch(id, db)
    last = await db.fetch(LAST_ENTRY.bind({"id": id}))
    rows = await insert_entries(placed(body, id, last), db)
    return entries.all_created(rows)


@router.patch("/{id}/entries/{entry_id}", response_model=EntryPublic, dependencies=[OWNER])
async def move_entry(
    id: Id, entry_id: EntryId, if_match: IfMatch, body: EntryMove, db: TransactionDep
) -> Response:
    """Move an entry to another position, such as one between those of two others."""
    await touch(id, db)
    await require_entry(id, entry_id, db)
    row = await db.fetch(entries.update(entry_id, body.model_dump(), if_match))
    return entries.updated(row)


@router.delete("/{id}/entries/{entry_id}", status_code=204, dependencies=[OWNER])
async def remove_entry(
    id: Id, entry_id: EntryId, if_match: IfMatch, db: TransactionDep
) -> Response:
    """Remove an entry from a playlist."""
    await touch(id, db)
    await require_entry(id, entry_id, db)
    row = await db.fetch(entries.delete(entry_id, if_match))
    return entries.deleted(row)
