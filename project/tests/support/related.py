"""Resources that refer to each other and to themselves, and some that not everyone may read."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar

import pytest
from fastapi import Depends, FastAPI, Request, Response
from httpx import AsyncClient
from sqlalchemy import MetaData
from sqlalchemy.engine import URL
from sqlmodel import Field, SQLModel

from songbook.application import create_app
from songbook.auth import OPEN, SIGNED_IN, SUPERUSER
from songbook.bulk import imports_of
from songbook.crud import Id, IfMatch, IfNoneMatch, ReadDep, Records, View, WriteDep, view_of
from songbook.db import Database
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import Record, RecordPublic, Schema, SoftDelete
from tests.samples.resources.members import Member
from tests.samples.settings import Settings
from tests.support.clients import client_of
from tests.support.databases import empty, spelled


class Apart(Record):
    """Keeps the tables of this file out of the migrations of any service."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=SQLModel.metadata.naming_convention)


class CategoryBase(Schema):
    """A reference to the same table."""

    name: str
    parent_id: int | None = Field(default=None, foreign_key="category.id")


class Category(CategoryBase, SoftDelete, Apart, table=True):
    """A tree, whose records are deleted softly."""


class CategoryPublic(CategoryBase, RecordPublic):
    """The representation in responses."""


class TeamBase(Schema):
    """Refers to a player, who refers to a team."""

    name: str
    captain_id: int | None = Field(default=None, foreign_key="player.id")


class Team(TeamBase, Apart, table=True):
    """Half of a circle."""


class TeamPublic(TeamBase, RecordPublic):
    """The representation in responses."""


class PlayerBase(Schema):
    """Goes with the team."""

    name: str
    team_id: int | None = Field(default=None, foreign_key="team.id", ondelete="CASCADE")
    former_id: int | None = Field(default=None, foreign_key="team.id", ondelete="SET NULL")


class Player(PlayerBase, Apart, table=True):
    """The other half of the circle."""


class PlayerPublic(PlayerBase, RecordPublic):
    """The representation in responses."""


class VaultBase(Schema):
    """What not everyone may read."""

    secret: str


class Vault(VaultBase, Apart, table=True):
    """The table."""


class VaultPublic(VaultBase, RecordPublic):
    """The representation in responses."""


class InVault(Schema):
    """A reference to what not everyone may read."""

    name: str
    vault_id: int = Field(foreign_key="vault.id")


class Coin(InVault, Apart, table=True):
    """The table of a list that everyone may read."""


class CoinPublic(InVault, RecordPublic):
    """The representation in responses."""


class Jewel(InVault, Apart, table=True):
    """The table of a list that the readers of vaults may read, and of records for others, too."""


class JewelPublic(InVault, RecordPublic):
    """The representation in responses."""


class Guard(InVault, Apart, table=True):
    """The table of a list that everyone who is signed in may read."""


class GuardPublic(InVault, RecordPublic):
    """The representation in responses."""


def routes_of(
    table: type[Record], public: type[SQLModel], create: type[SQLModel], lists: Any, reads: Any
) -> Router:
    """Return the routes of a resource; `lists` and `reads` are the permissions of its reads."""
    records, name = Records(table, public), table.__name__.lower()
    path = f"/{name.removesuffix('y')}ies" if name.endswith("y") else f"/{name}s"
    router = Router(tags=[name])

    async def list_records(page: Page, db: ReadDep) -> Response:
        """List records."""
        return await page.response(db)

    async def create_record(body: Any, request: Request, db: WriteDep) -> Response:
        """Create a record."""
        return records.created(await db.fetch(records.insert(body.model_dump())), request)

    async def read_record(id: Id, view: View, if_none_match: IfNoneMatch, db: ReadDep) -> Response:
        """Read a record."""
        return records.found(await db.fetch(records.select(id, view)), if_none_match)

    async def replace_record(id: Id, if_match: IfMatch, body: Any, db: WriteDep) -> Response:
        """Replace a record."""
        return records.updated(await db.fetch(records.update(id, body.model_dump(), if_match)))

    async def delete_record(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
        """Delete a record."""
        return records.deleted(await db.fetch(records.delete(id, if_match)))

    async def restore_record(id: Id, db: WriteDep) -> Response:
        """Restore a record."""
        return records.updated(await db.fetch(records.restore(id)))

    list_records.__annotations__["page"] = Annotated[Page, Depends(page_of(records))]
    read_record.__annotations__["view"] = Annotated[View, Depends(view_of(records))]
    create_record.__annotations__["body"] = replace_record.__annotations__["body"] = create

    def named(verb: str, permission: Any = OPEN) -> dict[str, Any]:
        return {"name": f"{verb}_{name}", "dependencies": [permission]}

    router.get(path, response_model=list[public], **named("list", lists))(list_records)  # type: ignore[valid-type]
    router.post(
        path,
        response_model=public,
        status_code=201,
        bulk=imports_of(records, create),
        **named("create"),
    )(create_record)
    one = f"{path}/{{id}}"
    router.get(one, response_model=public, **named("read", reads))(read_record)
    router.put(one, response_model=public, **named("replace"))(replace_record)
    router.delete(one, status_code=204, **named("delete"))(delete_record)
    if "deleted_at" in table.model_fields:
        router.post(f"{one}/restore", response_model=public, **named("restore"))(restore_record)
    return router


RESOURCES = [
    routes_of(Category, CategoryPublic, CategoryBase, OPEN, OPEN),
    routes_of(Team, TeamPublic, TeamBase, OPEN, OPEN),
    routes_of(Player, PlayerPublic, PlayerBase, OPEN, OPEN),
    routes_of(Vault, VaultPublic, VaultBase, SUPERUSER, SUPERUSER),
    routes_of(Coin, CoinPublic, InVault, OPEN, OPEN),
    routes_of(Jewel, JewelPublic, InVault, SUPERUSER, SIGNED_IN),
    routes_of(Guard, GuardPublic, InVault, SIGNED_IN, SIGNED_IN),
]


@pytest.fixture(scope="module")
async def relating(app: FastAPI, database_url: URL) -> AsyncIterator[FastAPI]:
    """Give a service of these resources."""
    database: Database = app.state.service.database
    async with database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.create_all)
    settings = Settings(database_url=spelled(database_url))
    other = create_app(settings, RESOURCES, accounts=Member)
    async with other.router.lifespan_context(other):
        yield other
    async with database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.drop_all)


@pytest.fixture
async def related(relating: FastAPI) -> AsyncIterator[AsyncClient]:
    """Give a client of a service of these resources, which are empty."""
    async with relating.state.service.database.engine.connect() as connection:
        await empty(connection)
    async with client_of(relating) as client:
        yield client
