"""Rows with owners of which some are readable to everybody."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Response
from sqlalchemy.engine import URL
from sqlmodel import bindparam, col, select

from songbook.application import create_app
from songbook.auth import OWNER, PUBLIC, SHARED
from songbook.crud import Id, ReadDep, Records, WriteDep
from songbook.http import Router
from songbook.lists import Page, page_of
from tests.samples.resources.clippings import Clipping, clippings
from tests.samples.resources.clippings import router as clippings_router
from tests.samples.resources.folders import Folder, FolderPublic
from tests.samples.resources.folders import router as folders_router
from tests.samples.resources.members import Member, MemberPublic
from tests.samples.settings import Settings
from tests.support.asserts import assert_problem
from tests.support.databases import spelled
from tests.support.owners import People, add, people_of

OLD = 1900

shelves = Records(Folder, FolderPublic, readable=col(Folder.year) == OLD)
ShelvesPage = Annotated[Page, Depends(page_of(shelves))]
ClippingsPage = Annotated[
    Page,
    Depends(
        page_of(
            clippings,
            where=col(Clipping.folder_id) == bindparam("id"),
            parent=select(Folder).where(col(Folder.id) == bindparam("id"), shelves.is_readable),
        )
    ),
]
router = Router(prefix="/shelves", dependencies=[SHARED])
open_router = Router(prefix="/open-shelves", dependencies=[PUBLIC])
own_router = Router(prefix="/own-shelves", dependencies=[OWNER])


@router.get("")
@open_router.get("")
async def list_shelves(page: ShelvesPage, db: ReadDep) -> Response:
    """List shelves, a page at a time."""
    return await page.response(db)


@router.get("/{id}")
async def read_shelf(id: Id, db: ReadDep) -> Response:
    """Read a shelf."""
    return shelves.found(await db.fetch(shelves.select(id)))


@router.put("/{id}")
async def rename_shelf(id: Id, db: WriteDep) -> Response:
    """Rename a shelf."""
    return shelves.updated(await db.fetch(shelves.update(id, {"name": "Renamed"})))


@own_router.get("/{id}/clippings")
async def list_shelf_clippings(id: Id, page: ClippingsPage, db: ReadDep) -> Response:
    """List your clippings on a shelf."""
    return await page.response(db, id=id)


@pytest.fixture
async def people(
    empty_tables: None,  # noqa: ARG001
    database_url: URL,
) -> AsyncIterator[People]:
    """Give clients of a service in which ada has an old and a new folder, and bob a new one."""
    app: FastAPI = create_app(
        Settings(database_url=spelled(database_url)),
        [router, open_router, own_router, folders_router, clippings_router],
        accounts=Member,
    )
    async with app.router.lifespan_context(app):
        found = await people_of(app)
        await add(found.ada, name="Old", year=OLD)
        await add(found.ada, name="New")
        await add(found.bob, name="New")
        yield found


async def test_others_see_the_readable_rows_and_their_own(people: People) -> None:
    seen = {"ada": [1, 2], "bob": [1, 3], "superuser": [1, 2, 3], "nobody": [1]}

    async def ids(name: str) -> tuple[str, list[int]]:
        answer = await getattr(people, name).get("/shelves")
        return name, [row["id"] for row in answer.json()]

    async def found(name: str) -> tuple[str, list[int]]:
        asked = [getattr(people, name).get(f"/shelves/{number}") for number in (1, 2, 3)]
        answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} <= {200, 404}
        return name, [nth for nth, answer in enumerate(answers, 1) if answer.is_success]

    for name, listed in await asyncio.gather(
        *(ask(name) for ask in (ids, found) for name in [*seen] * 20)
    ):
        assert (name, listed) == (name, seen[name])
    answer = await people.ada.get("/open-shelves")  # where no token is read
    assert [row["id"] for row in answer.json()] == [1]


async def test_a_readable_row_is_changed_by_its_owner_alone(people: People) -> None:
    assert_problem(await people.nobody.put("/shelves/1"), 401)
    assert_problem(await people.bob.put("/shelves/1"), 404)
    clipping = {"text": "a", "folder_id": 1}
    assert_problem(await people.bob.post("/clippings", json=clipping), 409, "conflict")

    assert (await people.nobody.get("/shelves/1")).json()["name"] == "Old"
    assert (await people.ada.put("/shelves/1")).json()["name"] == "Renamed"


async def test_what_is_under_a_readable_row_is_the_owner_s_all_the_same(people: People) -> None:
    await add(people.ada, "/clippings", text="a", folder_id=1)

    assert [row["text"] for row in (await people.ada.get("/own-shelves/1/clippings")).json()] == [
        "a"
    ]
    assert (await people.bob.get("/own-shelves/1/clippings")).json() == []
    assert_problem(await people.bob.get("/own-shelves/2/clippings"), 404, "not-found")


async def test_a_bad_token_is_not_the_same_as_none(people: People) -> None:
    bad = {"Authorization": "Bearer none"}

    assert_problem(await people.nobody.get("/shelves", headers=bad), 401)


def test_only_rows_with_owners_need_to_be_readable() -> None:
    with pytest.raises(TypeError, match="Member is not Owned: all may read its rows"):
        Records(Member, MemberPublic, readable=col(Member.id) == 1)
