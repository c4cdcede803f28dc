"""Litestar with its SQLAlchemy plugin and data transfer objects."""

import os
from collections.abc import Sequence
from typing import Annotated

from litestar import Litestar, get, patch, post
from litestar.dto import DTOConfig, DTOData
from litestar.exceptions import NotFoundException
from litestar.plugins.sqlalchemy import (
    AsyncSessionConfig,
    EngineConfig,
    SQLAlchemyAsyncConfig,
    SQLAlchemyDTO,
    SQLAlchemyPlugin,
    base,
)
from sqlalchemy import String, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column


class Song(base.IdentityBase):
    """The table; Songbook's `version` column has a default and is left to it."""

    __tablename__ = "song"

    name: Mapped[str] = mapped_column(String(255))
    artist: Mapped[str] = mapped_column(String(255))
    year: Mapped[int | None]


ReadDTO = SQLAlchemyDTO[Song]
WriteDTO = SQLAlchemyDTO[Annotated[Song, DTOConfig(exclude={"id"})]]
PatchDTO = SQLAlchemyDTO[Annotated[Song, DTOConfig(exclude={"id"}, partial=True)]]


@get("/songs", return_dto=ReadDTO)
async def list_songs(db_session: AsyncSession) -> Sequence[Song]:
    """List the first hundred songs."""
    return (await db_session.scalars(select(Song).order_by(Song.id).limit(100))).all()


@get("/songs/{song_id:int}", return_dto=ReadDTO)
async def read_song(song_id: int, db_session: AsyncSession) -> Song:
    """Show one song."""
    song = await db_session.get(Song, song_id)
    if song is None:
        raise NotFoundException(detail="Song not found")
    return song


@post("/songs", dto=WriteDTO, return_dto=ReadDTO)
async def create_song(data: Song, db_session: AsyncSession) -> Song:
    """Store a song; the plugin commits when the answer is a success."""
    db_session.add(data)
    await db_session.flush()
    return data


@patch("/songs/{song_id:int}", dto=PatchDTO, return_dto=ReadDTO)
async def update_song(song_id: int, data: DTOData[Song], db_session: AsyncSession) -> Song:
    """Change some fields of a song."""
    song = await db_session.get(Song, song_id)
    if song is None:
        raise NotFoundException(detail="Song not found")
    return data.update_instance(song)


alchemy = SQLAlchemyAsyncConfig(
    connection_string=os.environ["DATABASE_URL"],
    before_send_handler="autocommit",
    engine_config=EngineConfig(pool_size=int(os.environ.get("POOL_SIZE", "10")), max_overflow=0),
    session_config=AsyncSessionConfig(expire_on_commit=False),
)
app = Litestar(
    [list_songs, read_song, create_song, update_song],
    plugins=[SQLAlchemyPlugin(alchemy)],
)
