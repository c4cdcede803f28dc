"""The peer that Songbook is measured against: the tutorial's handlers, the newest libraries."""

import os
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession


class SongBase(SQLModel):
    """The fields shared by requests, responses and the table."""

    name: str
    artist: str
    year: int | None = None


class Song(SongBase, table=True):
    """The table; Songbook's `version` column has a default and is left to it."""

    id: int | None = Field(default=None, primary_key=True)


class SongCreate(SongBase):
    """The body of a POST."""


class SongUpdate(SQLModel):
    """The body of a PATCH."""

    name: str | None = None
    artist: str | None = None
    year: int | None = None


engine = create_async_engine(
    os.environ["DATABASE_URL"],
    pool_size=int(os.environ.get("POOL_SIZE", "10")),
    max_overflow=0,
)
sessions = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
app = FastAPI()


async def get_session() -> AsyncGenerator[AsyncSession]:
    """Lend a session to one request."""
    async with sessions() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]


@app.get("/songs")
async def list_songs(session: SessionDep) -> list[Song]:
    """List the first hundred songs."""
    songs = await session.exec(select(Song).order_by(col(Song.id)).limit(100))
    return [Song(name=song.name, artist=song.artist, year=song.year, id=song.id) for song in songs]


@app.get("/songs/{song_id}")
async def read_song(song_id: int, session: SessionDep) -> Song:
    """Show one song."""
    song = await session.get(Song, song_id)
    if song is None:
        raise HTTPException(status_code=404, detail="Song not found")
    return song


@app.post("/songs")
async def create_song(body: SongCreate, session: SessionDep) -> Song:
    """Store a song."""
    song = Song(name=body.name, artist=body.artist, year=body.year)
    session.add(song)
    await session.commit()
    await session.refresh(song)
    return song


@app.patch("/songs/{song_id}")
async def update_song(song_id: int, body: SongUpdate, session: SessionDep) -> Song:
    """Change some fields of a song: the tutorial has no such handler, this is its idiom."""
    song = await session.get(Song, song_id)
    if song is None:
        raise HTTPException(status_code=404, detail="Song not found")
    for field, value in body.model_dump(exclude_unset=True).items():
        setattr(song, field, value)
    session.add(song)
    await session.commit()
    await session.refresh(song)
    return song
