"""Records that refer to each other: what is shown of them, to whom, under which names."""

import asyncio
import csv
import threading
from collections.abc import AsyncIterator, Iterable
from io import BytesIO
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request, Response
from httpx import AsyncClient
from sqlalchemy.engine import URL
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from songbook.application import create_app
from songbook.auth import OPEN, SIGNED_IN
from songbook.bulk import imports_of
from songbook.bulk.copy import discard_orphans, stage
from songbook.bulk.spool import Spool
from songbook.crud import Id, IfMatch, ReadDep, Records, View, WriteDep, view_of
from songbook.db import Database
from songbook.errors import handlers
from songbook.http import Router
from songbook.lists import Page, page_of
from songbook.models import Record, RecordPublic, Schema, SoftDelete
from songbook.openapi import operations
from tests.samples.resources.members import Member
from tests.samples.settings import Settings
from tests.support.clients import client_of
from tests.support.databases import spelled, waiting
from tests.support.marks import slow
from tests.support.openapi import parameters_of
from tests.support.revisions import new_metadata


class Apart(SQLModel, registry=registry(metadata=new_metadata())):
    """Keeps the tables of this file out of the service's own."""


class DraftBase(Schema):
    """What only users may read."""

    text: str


class Draft(DraftBase, Record, Apart, table=True):
    """The table."""


class DraftPublic(DraftBase, RecordPublic):
    """The representation in responses."""


class PosterBase(Schema):
    """Refers to what only users may read."""

    title: str
    draft_id: int | None = Field(default=None, foreign_key="draft.id")


class Poster(PosterBase, Record, Apart, table=True):
    """The table."""


class PosterPublic(PosterBase, RecordPublic):
    """The representation in responses."""


class NodeBase(Schema):
    """Refers to itself by its own name; the other fields are called as parts of statements were."""

    name: str
    node_id: int | None = Field(default=None, foreign_key="node.id")
    shown: bool = True
    parent: str = "none"
    children: int = 0


class Node(NodeBase, SoftDelete, Record, Apart, table=True):
    """A table with a reference that is not public, and soft deletion."""

    hidden_id: int | None = Field(default=None, foreign_key="node.id")


class NodePublic(NodeBase, RecordPublic):
    """The representation in responses, with what is computed."""

    loud: str
    less: int


class OrderBase(Schema):
    """Has a long name, as the class below."""

    name: str


class Order(OrderBase, Record, Apart, table=True):
    """The table."""

    __tablename__ = "purchase_order_line_item"


class OrderPublic(OrderBase, RecordPublic):
    """The representation in responses."""


class ReturnBase(Schema):
    """The name of its foreign key is longer than PostgreSQL's names are."""

    purchase_order_line_item_id: int = Field(foreign_key="purchase_order_line_item.id")


class Return(ReturnBase, Record, Apart, table=True):
    """The table."""

    __tablename__ = "purchase_order_line_item_return"


class ReturnPublic(ReturnBase, RecordPublic):
    """The representation in responses."""


class BoardBase(Schema):
    """What the OpenAPI document has no route of."""

    name: str


class Board(BoardBase, Record, Apart, table=True):
    """The table."""


class BoardPublic(BoardBase, RecordPublic):
    """The representation in responses."""


class PinBase(Schema):
    """Refers to what the OpenAPI document has no route of."""

    name: str
    board_id: int | None = Field(default=None, foreign_key="board.id")


class Pin(PinBase, Record, Apart, table=True):
    """The table."""


class PinPublic(PinBase, RecordPublic):
    """The representation in responses."""


drafts, posters = Records(Draft, DraftPublic), Records(Poster, PosterPublic)
nodes = Records(Node, NodePublic, {"loud": Node.name + "!", "less": -Node.id})  # type: ignore[dict-item, operator]


def routes_of(
    records: Records, create: type[SQLModel], path: str, lists: Any, reads: Any
) -> Router:
    """Return the routes of a resource; `lists` and `reads` are the permissions of its reads."""
    router = Router(prefix=path)
    public: Any = records.public

    async def list_records(page: Page, db: ReadDep) -> Response:
        return await page.response(db)

    async def create_record(body: Any, request: Request, db: WriteDep) -> Response:
        return records.created(await db.fetch(records.insert(body.model_dump())), request)

    async def read_record(id: Id, view: View, db: ReadDep) -> Response:
        return records.found(await db.fetch(records.select(id, view)))

    async def replace_record(id: Id, if_match: IfMatch, body: Any, db: WriteDep) -> Response:
        return records.updated(await db.fetch(records.update(id, body.model_dump(), if_match)))

    async def delete_record(id: Id, if_match: IfMatch, db: WriteDep) -> Response:
        return records.deleted(await db.fetch(records.delete(id, if_match)))

    list_records.__annotations__["page"] = Annotated[Page, Depends(page_of(records))]
    read_record.__annotations__["view"] = Annotated[View, Depends(view_of(records))]
    create_record.__annotations__["body"] = replace_record.__annotations__["body"] = create
    router.get("", response_model=list[public], dependencies=[lists])(list_records)
    router.post(
        "",
        response_model=public,
        status_code=201,
        bulk=imports_of(records, create),
        dependencies=[OPEN],
    )(create_record)
    router.get("/{id}", response_model=public, dependencies=[reads])(read_record)
    router.put("/{id}", response_model=public, dependencies=[OPEN])(replace_record)
    router.delete("/{id}", status_code=204, dependencies=[OPEN])(delete_record)
    return router


boards_router = Router(prefix="/boards", include_in_schema=False)


@boards_router.get("", dependencies=[OPEN])
async def list_boards(
    page: Annotated[Page, Depends(page_of(Records(Board, BoardPublic)))], db: ReadDep
) -> Response:
    """List boards, which the OpenAPI document describes only as the parents of pins."""
    return await page.response(db)


pins_router = Router(prefix="/all/pins")


@pins_router.get("", dependencies=[OPEN])
async def list_pins(
    page: Annotated[Page, Depends(page_of(Records(Pin, PinPublic)))], db: ReadDep
) -> Response:
    """List pins, without a `response_model`."""
    return await page.response(db)


RESOURCES = [
    routes_of(drafts, DraftBase, "/drafts", SIGNED_IN, SIGNED_IN),
    routes_of(posters, PosterBase, "/posters", SIGNED_IN, OPEN),
    pins_router,
    boards_router,
    routes_of(posters, PosterBase, "/shown/posters", OPEN, OPEN),
    routes_of(nodes, NodeBase, "/nodes", OPEN, OPEN),
    routes_of(Records(Order, OrderPublic), OrderBase, "/orders", OPEN, OPEN),
    routes_of(Records(Return, ReturnPublic), ReturnBase, "/returns", OPEN, OPEN),
]


@pytest.fixture
async def related(app: FastAPI, database_url: URL) -> AsyncIterator[AsyncClient]:
    """Give a client of a service of these resources, which are empty."""
    engine = app.state.service.database.engine
    async with engine.begin() as connection:
        await connection.run_sync(Apart.metadata.create_all)
    service = create_app(Settings(database_url=spelled(database_url)), RESOURCES, accounts=Member)
    async with service.router.lifespan_context(service), client_of(service) as client:
        yield client
    async with engine.begin() as connection:
        await connection.run_sync(Apart.metadata.drop_all)


@pytest.mark.parametrize("path", ["/posters/1", "/shown/posters"])
async def test_a_route_that_everyone_may_call_shows_no_parent_that_only_users_may_read(
    related: AsyncClient, path: str
) -> None:
    """Even though the first list of the resource is for users, too."""
    await related.post("/posters", json={"title": "A"})

    assert (await related.get(path)).status_code == 200
    assert (await related.get(f"{path}?expand=draft")).status_code == 422
    assert (await related.get(f"{path}?draft.text=secret")).status_code == 422
    document = (await related.get("/openapi.json")).json()
    assert "draft.text" in {each["name"] for each in parameters_of(document, "/posters")}
    offered = {each["name"] for each in parameters_of(document, "/shown/posters")}
    assert not {"draft.text", "expand"} & offered


async def test_a_field_may_be_called_as_a_part_of_a_statement(related: AsyncClient) -> None:
    for body in ({"name": "a"}, {"name": "b", "node_id": 1}):
        assert (await related.post("/nodes", json=body)).status_code == 201

    shown = await related.get("/nodes?expand=node,nodes")
    assert [each["parent"] for each in shown.json()] == ["none", "none"]
    assert (await related.get("/nodes/1?expand=nodes")).json()["nodes"][0]["children"] == 0


async def test_a_record_may_refer_to_one_of_its_own_table(related: AsyncClient) -> None:
    for body in ({"name": "a"}, {"name": "b", "node_id": 1}, {"name": "c", "node_id": 2}):
        assert (await related.post("/nodes", json=body)).status_code == 201

    assert [each["id"] for each in (await related.get("/nodes?node.name=a")).json()] == [2]
    [_, second, third] = (await related.get("/nodes?expand=node")).json()
    assert second["node"]["name"] == "a"
    assert third["node"]["name"] == "b"
    first = (await related.get("/nodes/1?expand=nodes,node")).json()
    assert [each["name"] for each in first["nodes"]] == ["b"]
    assert first["node"] is None
    lines = await related.get("/nodes?expand=node", headers={"Accept": "application/x-ndjson"})
    assert len(lines.text.splitlines()) == 3


async def test_a_reference_that_is_not_public_is_no_relation(related: AsyncClient) -> None:
    assert (await related.get("/nodes?expand=hidden")).status_code == 422
    assert (await related.get("/nodes?hidden.id=1")).status_code == 422


async def test_a_parameter_of_a_record_occurs_once(related: AsyncClient) -> None:
    await related.post("/nodes", json={"name": "a"})

    answer = await related.get("/nodes/1?expand=node&expand=nodes")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["type"] == "repeated_parameter"


async def test_a_conflict_is_told_by_its_field_however_long_the_names_are(
    related: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "mapped_classes", lambda: [Order, Return])
    await related.post("/orders", json={"name": "a"})
    body = {"purchase_order_line_item_id": 1}
    assert (await related.post("/returns", json=body)).status_code == 201

    orphan = await related.post("/returns", json={"purchase_order_line_item_id": 2})
    assert orphan.json()["errors"][0]["pointer"] == "/purchase_order_line_item_id"
    parent = await related.delete("/orders/1")
    assert parent.json()["detail"] == "The order is still referred to by returns."


@slow
async def test_an_import_leaves_the_parents_of_its_rows_to_other_writers(
    related: AsyncClient, app: FastAPI
) -> None:
    await related.post("/drafts", json={"text": "a"})
    database: Database = app.state.service.database
    columns = ["title", "draft_id"]

    async with database.connection() as importing:
        await importing.execute("BEGIN")
        await stage(database, importing, Poster, columns, BytesIO(b"b\t1\n"))
        await discard_orphans(database, importing, Poster, columns, "draft_id")

        assert await database.fetch(drafts.update(1, {"text": "c"}))
        deleting = asyncio.create_task(related.delete("/drafts/1"))
        async with database.engine.connect() as other:
            await waiting(other, 1)
        await importing.execute("ROLLBACK")
    assert (await deleting).status_code == 204


async def test_a_computed_text_that_is_a_formula_is_escaped_in_csv(related: AsyncClient) -> None:
    await related.post("/nodes", json={"name": "=1+1"})

    for query, text in (("", "=1+1!"), ("?escape=formulas", "'=1+1!")):
        exported = await related.get(f"/nodes{query}", headers={"Accept": "text/csv"})
        [row] = csv.DictReader(exported.text.removeprefix("\ufeff").splitlines())
        assert (row["loud"], row["less"]) == (text, "-1")


async def test_the_document_tells_of_the_conflict_with_a_missing_parent(
    related: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "mapped_classes", lambda: [Draft, Poster])
    described = (await related.get("/openapi.json")).json()["paths"]

    assert "409" in described["/posters/{id}"]["put"]["responses"]
    assert "409" not in described["/drafts/{id}"]["put"]["responses"]


async def test_what_is_related_is_described_even_if_its_routes_are_not(
    related: AsyncClient,
) -> None:
    described = (await related.get("/openapi.json")).json()

    schemas = described["components"]["schemas"]
    board = schemas["PinPublic"]["properties"]["board"]
    assert board["anyOf"][0] == {"$ref": "#/components/schemas/BoardPublic"}
    assert schemas["BoardPublic"]["properties"].keys() == {"id", "name"}


@slow
async def test_rows_without_a_parent_are_discarded_while_others_are_served(
    related: AsyncClient,
) -> None:
    """They were discarded by the event loop, which took a second for three million rows."""
    await related.post("/nodes", json={"name": "a"})
    rows = [f"{name},{name % 3}" for name in range(1, 60_001)]
    body = "\n".join(["name,node_id", *rows])

    with pytest.MonkeyPatch.context() as patched:
        threads = []
        discard = Spool.discard

        def noted(spool: Spool, places: Iterable[int]) -> None:
            threads.append(threading.current_thread())
            discard(spool, places)

        patched.setattr(Spool, "discard", noted)
        imported = await related.post(
            "/nodes?on_error=skip", content=body, headers={"Content-Type": "text/csv"}
        )

    report = imported.json()
    assert (report["stored"], report["refused"]) == (20_000, 40_000)
    assert [each["line"] for each in report["refusals"][:3]] == [3, 4, 6]
    assert threads
    assert threading.main_thread() not in threads
    names = [each["name"] for each in (await related.get("/nodes?limit=4")).json()]
    assert names == ["a", "1", "4", "7"]
