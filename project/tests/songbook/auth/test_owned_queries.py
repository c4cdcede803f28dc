"""Queries, transactions and sessions of a service's own, of tables whose rows have owners."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar

import pytest
from fastapi import Depends, FastAPI, Response
from sqlalchemy import (
    MetaData,
    and_,
    bindparam,
    exists,
    func,
    insert,
    or_,
    true,
    union_all,
    update,
)
from sqlalchemy.engine import URL
from sqlalchemy.orm import aliased
from sqlmodel import Field, Index, col, select, text

from songbook.application import create_app
from songbook.auth import OPEN, PUBLIC, SIGNED_IN, permission
from songbook.crud import Id, ReadDep, Records, SessionDep, TransactionDep
from songbook.db import CompiledStatement, Database
from songbook.http import Principal, Router, StrictRequest
from songbook.lists import Page, json_rows, page_of, rows_response
from songbook.models import Owned, Record, Schema, is_own, table_of, tie_owners
from tests.samples.resources.clippings import Clipping, clippings
from tests.samples.resources.clippings import router as clippings_router
from tests.samples.resources.folders import Folder, FolderPublic, folders, list_folders
from tests.samples.resources.folders import router as folders_router
from tests.samples.resources.members import Member
from tests.samples.settings import Settings
from tests.support.asserts import assert_problem
from tests.support.databases import spelled
from tests.support.owners import add, names_of, people_of

YEARS = json_rows(
    select(col(Folder.year), func.count().label("folders"))
    .where(is_own(Folder))
    .group_by(col(Folder.year))
    .limit(20)
)
ALL_YEARS = json_rows(
    select(col(Folder.year), func.count().label("folders")).group_by(col(Folder.year)).limit(20),
    all_owners=True,
)
queries = Router(prefix="/queries", dependencies=[SIGNED_IN])
open_queries = Router(prefix="/open", dependencies=[PUBLIC])


@queries.get("/years")
@open_queries.get("/years")
async def count_own_folders(db: ReadDep) -> Response:
    """Count the folders of each year."""
    return rows_response(await db.fetch(YEARS.bind({})))


@open_queries.get("/all-years")
async def count_all_folders(db: ReadDep) -> Response:
    """Count the folders of all owners."""
    return rows_response(await db.fetch(ALL_YEARS.bind({})))


clippings_of_folder = page_of(
    clippings,
    where=col(Clipping.folder_id) == bindparam("folder_id"),
    parent=select(Folder).where(col(Folder.id) == bindparam("folder_id")),
)


@queries.get("/folders/{id}/clippings")
async def list_folder_clippings(
    id: Id, page: Annotated[Page, Depends(clippings_of_folder)], db: ReadDep
) -> Response:
    """List the clippings in a folder."""
    return await page.response(db, folder_id=id)


@permission(error_statuses=(404,))
async def has_folder(request: StrictRequest, _user: Principal) -> bool:
    """Allow users who have a first folder."""
    return await request.database.fetch(folders.select(1)) is not None


ruled = Router(prefix="/ruled", dependencies=[Depends(has_folder)])


@ruled.get("")
async def use_rule() -> Response:
    """Answer to whom the rule allows."""
    return Response()


@queries.post("/core")
@open_queries.post("/core")
async def select_a_table(session: SessionDep) -> list[str]:
    """Select from an owned table by the table, not by the class."""
    return [*await session.exec(select(table_of(Folder).c.name))]


@queries.post("/session")
@open_queries.post("/session")
async def use_a_session(session: SessionDep) -> list[Any]:
    """Store, change and read folders by the class."""
    added = Folder(name="By a session")
    session.add(added)
    await session.flush()
    statement = update(Folder).values(year=7).returning(col(Folder.name))
    joined = select(col(Folder.name)).join(
        Clipping, col(Clipping.folder_id) == col(Folder.id), isouter=True
    )
    number = select(func.count()).select_from(Folder)
    other = await session.get(Folder, 1, populate_existing=True)
    return [
        sorted([row.name for row in await session.exec(statement)]),
        sorted(await session.exec(joined)),
        (await session.exec(number)).one(),
        other and other.name,
    ]


@queries.post("/aliases")
async def join_an_alias(session: SessionDep) -> list[Any]:
    """Join folders with themselves."""
    other = aliased(Folder)
    other_id, id_ = col(other.id), col(Folder.id)
    joined = select(col(other.name)).select_from(Folder).join(other, other_id != id_)
    return [*await session.exec(joined)]


@queries.post("/children")
async def add_a_clipping(session: SessionDep) -> None:
    """Store a clipping in the first folder."""
    session.add(Clipping(text="a", folder_id=1))


@queries.put("/merged/{id}")
async def merge_a_folder(id: int, session: SessionDep) -> None:
    """Change a folder by its id, or add it."""
    await session.merge(Folder(id=id, name="Merged"))
    await session.commit()


@queries.post("/refused/{what}")
async def use_a_session_otherwise(what: str, session: SessionDep) -> list[Any]:
    """Run a statement that a session cannot narrow to a principal."""
    table, same = table_of(Folder), {"id": 1, "name": "Changed"}
    joined = select(Member).join(table, table.c.owner_id == col(Member.id))
    statements: dict[str, Any] = {
        "a table beside a class": (joined, None),
        "a table in a subquery": (select(Member).where(col(Member.id) == table.c.owner_id), None),
        "rows by their keys": (update(Folder), [same]),
        "an upsert": (insert(Folder).values(**same), None),
    }
    statement, parameters = statements[what]
    await session.exec(statement, params=parameters)
    return []


@queries.post("/transaction")
@open_queries.post("/transaction")
async def use_a_transaction(db: TransactionDep) -> Response:
    """Read a folder in a transaction."""
    return folders.found(await db.fetch(folders.select(1)))


@pytest.fixture
async def querying(
    empty_tables: None,  # noqa: ARG001
    database_url: URL,
) -> AsyncIterator[FastAPI]:
    """Give a service with these routes, whose database is empty."""
    routers = [queries, open_queries, ruled, folders_router, clippings_router]
    app = create_app(Settings(database_url=spelled(database_url)), routers, accounts=Member)
    async with app.router.lifespan_context(app):
        yield app


async def test_a_query_is_of_the_principal_and_of_all_owners_where_it_says_so(
    querying: FastAPI,
) -> None:
    ada, bob, superuser, _ = await people_of(querying)
    for name in ("a", "b"):
        await add(ada, name=name, year=1)
    await add(bob, name="a", year=1)

    for client, number in ((ada, 2), (bob, 1), (superuser, 3)):
        answer = await client.get("/queries/years")
        assert answer.json() == [{"year": 1, "folders": number}]
    assert (await ada.get("/open/all-years")).json() == [{"year": 1, "folders": 3}]


async def test_a_list_under_a_parent_is_under_an_own_one(querying: FastAPI) -> None:
    ada, bob, superuser, _ = await people_of(querying)
    await add(ada, name="Ada's")
    await add(ada, "/clippings", text="a", folder_id=1)

    for client, status in ((ada, 200), (bob, 404), (superuser, 200)):
        answer = await client.get("/queries/folders/1/clippings")
        assert answer.status_code == status
        exported = await client.get("/queries/folders/1/clippings", headers={"Accept": "text/csv"})
        assert exported.status_code == status
        assert "a" in exported.text or status == 404


async def test_a_rule_of_ones_own_reads_the_rows_of_who_asks(querying: FastAPI) -> None:
    ada, bob, *_ = await people_of(querying)
    await add(ada, name="Ada's")

    assert (await ada.get("/ruled")).status_code == 200
    assert_problem(await bob.get("/ruled"), 403)


async def test_a_session_is_of_the_principal(querying: FastAPI) -> None:
    ada, bob, superuser, _ = await people_of(querying)
    await add(ada, name="Ada's")
    await add(bob, name="Bob's")

    own = ["Bob's", "By a session"]
    assert (await bob.post("/queries/session")).json() == [own, own, 2, None]
    assert await names_of(ada) == ["Ada's"]
    assert (await ada.get("/folders")).json()[0]["year"] is None
    three = ["Ada's", "Bob's", "By a session", "By a session"]
    assert (await superuser.post("/queries/session")).json() == [three, three, 4, "Ada's"]


async def test_a_session_does_not_tell_which_ids_others_have(querying: FastAPI) -> None:
    ada, bob, *_ = await people_of(querying)
    await add(ada, name="Ada's")

    for number in (1, 2):
        problem = assert_problem(await bob.put(f"/queries/merged/{number}"), 404)
        assert problem["detail"] == "Folder not found"
    assert (await names_of(ada), await names_of(bob)) == (["Ada's"], [])


async def test_a_session_refers_to_own_rows_alone(querying: FastAPI) -> None:
    ada, bob, *_ = await people_of(querying)
    await add(ada, name="Ada's")

    problem = assert_problem(await bob.post("/queries/children"), 409)
    assert problem["errors"][0]["pointer"] == "/folder_id"
    assert (await ada.post("/queries/children")).status_code == 200


async def test_an_alias_in_a_session_is_of_the_principal(querying: FastAPI) -> None:
    ada, bob, *_ = await people_of(querying)
    for client in (ada, bob, ada, bob):
        assert (await client.post("/queries/aliases")).json() == []
        await add(client, name=f"{len(await names_of(client))}")
    for client in (ada, bob):
        assert sorted((await client.post("/queries/aliases")).json()) == ["0", "1"]


@pytest.mark.parametrize(
    "what",
    ["a table beside a class", "a table in a subquery", "rows by their keys", "an upsert"],
)
async def test_a_session_refuses_what_it_cannot_narrow(
    querying: FastAPI, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    ada, bob, *_ = await people_of(querying)
    await add(ada, name="Ada's")

    assert_problem(await bob.post(f"/queries/refused/{what}"), 500)
    assert "have owners" in caplog.text
    assert await names_of(ada) == ["Ada's"]


async def test_a_statement_without_a_principal_raises(
    querying: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    ada, *_ = await people_of(querying)
    await add(ada, name="Poems")
    database: Database = querying.state.service.database
    statement = folders.select(1)

    for method, path in (
        ("GET", "/open/years"),
        ("POST", "/open/session"),
        ("POST", "/open/core"),
        ("POST", "/open/transaction"),
        ("POST", "/queries/core"),
    ):
        caplog.clear()
        assert_problem(await ada.request(method, path), 500)
        assert "have owners" in caplog.text or "owned table" in caplog.text, path
    with pytest.raises(RuntimeError, match="give the route the permission OWNER"):
        await database.fetch(statement)
    async with database.connection() as connection:
        with pytest.raises(RuntimeError, match="give the route the permission OWNER"):
            await database.fetch_on(connection, statement)
        assert not await connection.fetchrow(statement.sql, *statement.arguments)


class CountedFolder(FolderPublic):
    """A folder, and the number of its clippings."""

    number: int


def test_a_query_of_an_owned_table_says_whose_rows_it_reads() -> None:
    for query in (
        select(col(Folder.name)),
        select(col(Clipping.text)).join(Folder).where(is_own(Clipping)),
        select(table_of(Folder).alias().c.name),
        select(select(func.count(col(Folder.id))).scalar_subquery().label("folders")),
    ):
        with pytest.raises(TypeError, match="the rows of folder have owners"):
            json_rows(query)
    with pytest.raises(TypeError, match="the rows of folder have owners"):
        CompiledStatement(update(Folder).values(year=1))
    number = select(func.count(col(Clipping.id))).where(col(Clipping.folder_id) == col(Folder.id))
    has_clippings = exists().where(col(Clipping.folder_id) == col(Folder.id))
    with pytest.raises(TypeError, match="the rows of clipping have owners"):
        Records(Folder, CountedFolder, {"number": number.scalar_subquery()})
    with pytest.raises(TypeError, match="the rows of clipping have owners"):
        page_of(folders, where=has_clippings)
    Records(Folder, CountedFolder, {"number": number.where(is_own(Clipping)).scalar_subquery()})
    page_of(folders, where=has_clippings.where(is_own(Clipping)))


def test_a_condition_on_the_owner_is_for_one_query_of_the_table() -> None:
    other, name = aliased(Folder), col(Folder.name)
    own = select(name).where(is_own(Folder))
    both = union_all(own, select(name)).subquery()
    for query in (
        select(other.name).join(Folder, col(other.id) != col(Folder.id)).where(is_own(Folder)),
        select(both.c.name),
        select(name).where(name.in_(select(own.cte().c.name))),
        select(name).where(exists(select(other.id).where(is_own(other)))),
        select(name, is_own(Folder).label("is_mine")),
        select(name).where(or_(is_own(Folder), col(Folder.year) > 1)),
        select(name).where(and_(col(Folder.year) > 1, or_(is_own(Folder), name == "a"))),
        select(name).where(~is_own(Folder)),
        select(name).where(func.coalesce(is_own(Folder), true())),
        select(name).order_by(is_own(Folder).desc()),
        select(name).group_by(name, is_own(Folder)),
        select(name).outerjoin(Clipping, is_own(Folder) & is_own(Clipping)),
        select(name).join(Clipping, is_own(Folder) & is_own(Clipping), full=True),
    ):
        with pytest.raises(TypeError, match=r"the rows of (folder|clipping) have owners"):
            json_rows(query)
    assert "folder_1.owner_id = " in CompiledStatement(select(other.name).where(is_own(other))).sql
    joined = select(name).join(other, col(other.id) == col(Folder.id))
    CompiledStatement(joined.where(is_own(other), is_own(Folder)))
    for query in (
        select(name).where(and_(col(Folder.year) > 1, and_(is_own(Folder), name == "a"))),
        select(name).where(or_(name == "a", col(Folder.year) > 1) & is_own(Folder)),
        select(name).join(Clipping, is_own(Folder) & is_own(Clipping)),
        select(name).outerjoin(Clipping, is_own(Clipping)).where(is_own(Folder)),
        select(name).outerjoin(other, is_own(other)).where(is_own(Folder)),
        select(name).where(is_own(Folder)).order_by(is_own(Folder)),
    ):
        json_rows(query)


class PenBase(Schema):
    """A field."""

    name: str


def test_an_owned_table_needs_accounts() -> None:
    class Apart(Record):
        metadata: ClassVar[MetaData] = MetaData()

    class Pen(PenBase, Owned, Apart, table=True):
        pass

    with pytest.raises(TypeError, match="Pen is Owned, but no table class inherits"):
        tie_owners([Pen])


def test_each_unique_index_of_an_owned_table_begins_with_the_owner() -> None:
    class Apart(Record):
        metadata: ClassVar[MetaData] = MetaData()

    class Stamp(PenBase, Owned, Apart, table=True):
        code: str = Field(unique=True, index=True)
        __table_args__ = (Index("uq_stamp", "name", unique=True, postgresql_where=text("true")),)

    unique = [index for index in table_of(Stamp).indexes if index.unique]
    assert {index.name for index in unique} == {"uq_stamp", "ix_stamp_code"}
    assert {index.columns[0].name for index in unique} == {"owner_id"}
    assert any(index.dialect_options["postgresql"]["where"] is not None for index in unique)


def test_a_list_of_owned_rows_cannot_be_open() -> None:
    router = Router(dependencies=[OPEN])
    router.get("/folders")(list_folders)

    with pytest.raises(TypeError, match=r"/folders shows rows with owners: .* OWNER"):
        create_app(Settings(), [router], accounts=Member)
    with pytest.raises(TypeError, match=r"/folders.* requires an account"):
        create_app(Settings(), [folders_router])
