"""Unique values of rows that are deleted softly: a deleted row keeps its value for nobody."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from asyncpg import UniqueViolationError
from fastapi import FastAPI
from sqlalchemy import UniqueConstraint, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from songbook.crud.preconditions import EntityTags
from songbook.crud.records import Records
from songbook.db.database import Database
from songbook.db.statements import BoundStatement
from songbook.models.bases import Record, RecordPublic, Schema, SoftDelete
from songbook.models.fields import CaseInsensitive
from tests.support.databases import spelled
from tests.support.paths import PROJECT


class Apart(SQLModel, registry=registry()):
    """Keeps the tables of this file out of the service's own."""


class ShelfBase(Schema):
    """Unique by itself, regardless of case, and together."""

    name: str = Field(unique=True)
    code: Annotated[str, CaseInsensitive()] = Field(unique=True, max_length=20)
    room: str
    place: int


class Shelf(ShelfBase, SoftDelete, Record, Apart, table=True):
    """A table of rows that are deleted softly."""

    __table_args__ = (UniqueConstraint("room", "place"),)


class ShelfPublic(ShelfBase, RecordPublic):
    """The representation in responses."""


shelves_of = Records(Shelf, ShelfPublic)

A = {"name": "A", "code": "Ärger", "room": "cellar", "place": 1}
B = {"name": "B", "code": "Öl", "room": "attic", "place": 2}

# What another row has of A when it takes one of its unique values, and the index that knows.
TAKEN = [
    ({"name": "A"}, "uq_shelf_name"),
    ({"code": "äRGER"}, "uq_shelf_code"),
    ({"room": "cellar", "place": 1}, "uq_shelf_room_place"),
]
taken = pytest.mark.parametrize(("same", "index"), TAKEN)


class Shelves:
    """The statements about shelves, each run at once."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def row(self, query: BoundStatement) -> Any:
        """Return the row of a statement."""
        return await self.database.fetch(query)

    async def create(self, fields: dict[str, Any]) -> int:
        """Store a shelf; return its id."""
        row = await self.row(shelves_of.insert(fields))
        number: int = row["id"]
        return number

    async def change(self, number: int, fields: dict[str, Any]) -> Any:
        """Change a shelf; return the row of the statement."""
        return await self.row(shelves_of.update(number, fields))

    async def remove(self, number: int) -> Any:
        """Delete a shelf; return the row of the statement."""
        return await self.row(shelves_of.delete(number, EntityTags("*")))

    async def restore(self, number: int) -> Any:
        """Restore a shelf; return the row of the statement."""
        return await self.row(shelves_of.restore(number))


@pytest.fixture
async def shelves(app: FastAPI) -> AsyncIterator[Shelves]:
    """Give an empty table of shelves."""
    database: Database = app.state.service.database
    async with database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.create_all)
    yield Shelves(database)
    async with database.engine.begin() as connection:
        await connection.run_sync(Apart.metadata.drop_all)


async def test_what_is_unique_leaves_deleted_rows_and_where_asked_the_case_out(
    shelves: Shelves,
) -> None:
    async with shelves.database.engine.connect() as connection:
        query = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'shelf'"
        found = await connection.execute(text(query))
        indexes = {row.indexname: row.indexdef for row in found}

    assert {name for name in indexes if name.startswith("uq_")} == {index for _, index in TAKEN}
    assert indexes.pop("ix_shelf_deleted_at").endswith("WHERE (deleted_at IS NOT NULL)")
    for name, definition in indexes.items():
        is_of_the_key = not name.startswith(("uq_", "ix_"))
        assert definition.endswith("WHERE (deleted_at IS NULL)") is not is_of_the_key
        assert definition.startswith("CREATE UNIQUE") is not name.startswith("ix_")
    assert "(lower((code)::text))" in indexes["uq_shelf_code"]


@taken
async def test_a_unique_value_is_taken_once_among_the_rows_that_are_there(
    shelves: Shelves, same: dict[str, Any], index: str
) -> None:
    await shelves.create(A)
    other = await shelves.create(B)

    with pytest.raises(UniqueViolationError) as refused:
        await shelves.create(B | {"name": "C", "code": "C", "place": 3} | same)
    assert refused.value.constraint_name == index
    with pytest.raises(UniqueViolationError) as refused:
        await shelves.change(other, same)
    assert refused.value.constraint_name == index


@pytest.mark.long
@taken
async def test_the_unique_value_of_a_deleted_row_can_be_taken_again_and_again(
    shelves: Shelves, same: dict[str, Any], index: str
) -> None:
    for _ in range(3):
        assert await shelves.remove(await shelves.create(A))

    last = await shelves.create(B | same)

    with pytest.raises(UniqueViolationError) as refused:
        await shelves.create(A)
    assert refused.value.constraint_name == index
    assert await shelves.remove(last)
    assert await shelves.create(A)


@taken
async def test_a_row_is_not_restored_beside_one_that_has_its_unique_value_now(
    shelves: Shelves, same: dict[str, Any], index: str
) -> None:
    first = await shelves.create(A)
    await shelves.remove(first)
    second = await shelves.create(B | same)

    with pytest.raises(UniqueViolationError) as refused:
        await shelves.restore(first)
    assert refused.value.constraint_name == index
    assert await shelves.change(first, {"name": "Z"}) is None  # it is as deleted as before

    await shelves.remove(second)
    assert json.loads((await shelves.restore(first))["document"]) == {"id": first, **A}
    with pytest.raises(UniqueViolationError):
        await shelves.restore(second)


MODULE = '''
"""Shelves: table, schemas and routes."""

from typing import Annotated

from fastapi import Request, Response
from sqlmodel import Field

from songbook.auth.permissions import OPEN
from songbook.crud.dependencies import Id
from songbook.crud.records import Records
from songbook.crud.transactions import WriteDep
from songbook.models.fields import CaseInsensitive
from songbook.crud.preconditions import IfMatch
from songbook.models.bases import Schema, Partial, Record, RecordPublic, SoftDelete
from songbook.http.routing import Router

router = Router(prefix="/shelves", dependencies=[OPEN])


class ShelfBase(Schema):
    name: str = Field(unique=True)
    code: Annotated[str, CaseInsensitive()] = Field(unique=True, max_length=20)


class Shelf(ShelfBase, SoftDelete, Record, table=True):
    pass


class ShelfCreate(ShelfBase):
    pass


class ShelfUpdate(ShelfBase, Partial):
    pass


class ShelfPublic(ShelfBase, RecordPublic):
    pass


shelves = Records(Shelf, ShelfPublic)


@router.post("", response_model=ShelfPublic, status_code=201)
async def create_shelf(body: ShelfCreate, request: Request, db: WriteDep) -> Response:
    return shelves.created(await db.fetch(shelves.insert(body.model_dump())), request)


@router.patch("/{id}", response_model=ShelfPublic)
async def update_shelf(id: Id, body: ShelfUpdate, db: WriteDep) -> Response:
    fields = body.model_dump(exclude_unset=True)
    return shelves.updated(await db.fetch(shelves.update(id, fields)))


@router.delete("/{id}", status_code=204)
async def delete_shelf(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
    return shelves.deleted(await db.fetch(shelves.delete(id, if_match)))


@router.post("/{id}/restore", response_model=ShelfPublic)
async def restore_shelf(id: Id, db: WriteDep) -> Response:
    return shelves.updated(await db.fetch(shelves.restore(id)))
'''

SCRIPT = """
import asyncio, json, sys
import tests.samples.resources
tests.samples.resources.__path__.append(sys.argv[1])
from httpx import ASGITransport, AsyncClient
from sqlmodel import SQLModel
from tests.samples.main import app as service

async def ask(asked):
    transport = ASGITransport(service)
    async with (
        service.router.lifespan_context(service),
        AsyncClient(transport=transport, base_url="http://songbook") as client,
    ):
        async with service.state.service.database.engine.begin() as connection:
            await connection.run_sync(SQLModel.metadata.create_all)
        answers = [await client.request(method, url, json=body) for method, url, body in asked]
    return [[answer.status_code, answer.json() if answer.content else None] for answer in answers]

print(json.dumps(asyncio.run(ask(json.load(sys.stdin)))))
"""


@pytest.mark.processes
def test_a_conflict_with_a_unique_value_is_told_by_its_field(
    tmp_path: Path, scratch_url: URL
) -> None:
    """In a process of its own, because the table is one of the service's there."""
    (tmp_path / "shelves.py").write_text(MODULE)
    asked = [
        ("POST", "/shelves", {"name": "A", "code": "Ärger"}),
        ("POST", "/shelves", {"name": "B", "code": "ÄRGER"}),
        ("POST", "/shelves", {"name": "A", "code": "b"}),
        ("DELETE", "/shelves/1", None),
        ("POST", "/shelves", {"name": "B", "code": "ärger"}),
        ("POST", "/shelves/1/restore", None),
        ("PATCH", "/shelves/1", {"code": "c"}),
        ("PATCH", "/shelves/4", {"name": "A", "code": "d"}),
        ("POST", "/shelves/1/restore", None),
        ("DELETE", "/shelves/4", None),
        ("POST", "/shelves/1/restore", None),
        ("POST", "/shelves/4/restore", None),
    ]
    answers = json.loads(
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path)],
            cwd=PROJECT,
            env={**os.environ, "DATABASE_URL": spelled(scratch_url)},
            input=json.dumps(asked),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    )
    told = [
        (status, [error["pointer"] for error in (body or {}).get("errors", [])])
        for status, body in answers
    ]

    assert told == [
        (201, []),
        (409, ["/code"]),
        (409, ["/name"]),
        (204, []),
        (201, []),
        (409, ["/code"]),
        (404, []),
        (200, []),
        (409, ["/name"]),
        (204, []),
        (200, []),
        (409, ["/name"]),
    ]
    assert {body["detail"] for status, body in answers if status == 409} == {
        "The shelf is already stored"
    }
    assert answers[-2][1] == {"id": 1, "name": "A", "code": "Ärger"}
