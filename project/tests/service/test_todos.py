"""Todos, as their own rules promise them: deleted ones stay, seen by nobody, until the purge."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlmodel.ext.asyncio.session import AsyncSession

from songbook.cli.maintenance import remove
from songbook.db.database import Database
from songbook.db.removal import purge_of
from songbook.db.statements import BoundStatement
from songbook.lists.cursors import encode_cursor
from songbook.lists.statements import page_query
from tests.support.asserts import assert_headers, assert_problem
from tests.support.lists import params_of

module = pytest.importorskip("app.resources.todos", reason="there are no todos in this service")

METHODS = ["GET", "HEAD", "PUT", "PATCH", "DELETE"]


async def add_todo(client: AsyncClient, content: str = "Buy milk") -> Response:
    """Store a todo; return the answer."""
    answer = await client.post("/todos", json={"content": content})
    assert answer.status_code == 201, answer.text
    return answer


async def add_deleted(client: AsyncClient, content: str = "Buy milk") -> str:
    """Store a todo and delete it; return its address."""
    address: str = (await add_todo(client, content)).headers["location"]
    assert (await client.delete(address)).status_code == 204
    return address


async def rows(session: AsyncSession, columns: str) -> list[tuple[Any, ...]]:
    """Return these columns of all todos, deleted ones too."""
    found = await (await session.connection()).execute(
        text(f"SELECT {columns} FROM todo ORDER BY id")
    )
    stored = [tuple(row) for row in found]
    await session.commit()
    return stored


async def run(session: AsyncSession, statement: str) -> None:
    """Run a statement and commit it."""
    await (await session.connection()).execute(text(statement))
    await session.commit()


def contents(page: Response) -> list[str]:
    assert page.status_code == 200, page.text
    return [todo["content"] for todo in page.json()["items"]]


def moment(todo: Response, name: str) -> datetime:
    """Return a time that an answer tells, which has to have an offset."""
    told = datetime.fromisoformat(todo.json()[name])
    assert told.utcoffset() is not None
    return told


async def test_a_deleted_todo_stays_in_its_row_and_is_not_found_by_any_method(
    client: AsyncClient, session: AsyncSession
) -> None:
    before = datetime.now(UTC)
    address = await add_deleted(client)

    for method in METHODS:
        answer = await client.request(method, address, json={"content": "Buy bread"})
        assert answer.status_code == 404
        assert_headers(answer)
        if method != "HEAD":
            assert assert_problem(answer, 404, "not-found")["detail"] == "Todo not found"
    [(content, deleted_at)] = await rows(session, "content, deleted_at")
    assert content == "Buy milk"
    assert before - timedelta(minutes=1) < deleted_at < datetime.now(UTC) + timedelta(minutes=1)


async def test_a_condition_on_a_deleted_todo_finds_nothing_to_compare(client: AsyncClient) -> None:
    created = await add_todo(client)
    address = created.headers["location"]
    stale = {"If-Match": '"x"'}

    assert_problem(await client.delete(address, headers=stale), 412)
    seen = {"If-Match": created.headers["etag"]}
    assert (await client.delete(address, headers=seen)).status_code == 204
    for condition in (stale, seen, {"If-Match": "*"}):
        assert_problem(await client.delete(address, headers=condition), 404)
        assert_problem(await client.patch(address, json={}, headers=condition), 404)
    known = {"If-None-Match": created.headers["etag"]}
    assert_problem(await client.get(address, headers=known), 404)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "sort=id",
        "content=Buy+milk",
        "content=Buy+milk&content=Pay",
        "content_contains=milk",
        "q=milk",
        "id=1&id=2",
        "id_gte=1",
        "created_at_gt=2000-01-01T00:00:00Z",
        "updated_at_lte=2100-01-01T00:00:00Z",
    ],
)
async def test_no_list_no_filter_and_no_count_knows_a_deleted_todo(
    client: AsyncClient, query: str
) -> None:
    await add_deleted(client, "Buy milk")
    alive = (await add_todo(client, "Buy milk")).json()

    page = await client.get(f"/todos?{query}&count=exact".replace("?&", "?"))

    assert page.json() == {"count": 1, "items": [alive]}
    assert page.headers["x-total-count"] == "1"


@pytest.mark.parametrize("name", ["deleted_at", "version"])
async def test_the_time_of_a_deletion_is_neither_told_nor_taken(
    client: AsyncClient, app: FastAPI, name: str
) -> None:
    created = await add_todo(client)
    address, past = created.headers["location"], "2000-01-01T00:00:00Z"

    for refused in (
        await client.post("/todos", json={"content": "a", name: past}),
        await client.put(address, json={"content": "a", name: past}),
        await client.patch(address, json={name: past}),
        await client.get("/todos", params={name: past}),
        await client.get("/todos", params={name: ""}),
        await client.get("/todos", params={f"{name}_gt": past}),
        await client.get("/todos", params={"sort": name}),
    ):
        assert_problem(refused, 422, "validation")
    restored = await client.post(f"{address}/restore")
    page = await client.get("/todos")
    for answer in (created, restored, await client.get(address), page):
        assert name not in answer.text
    assert "deleted_at" not in str(app.openapi())


async def test_a_restored_todo_is_there_again_as_it_was(client: AsyncClient) -> None:
    created = await add_todo(client)
    address = created.headers["location"]
    await client.delete(address)

    restored = await client.post(f"{address}/restore")

    read = await client.get(address)
    assert (restored.status_code, restored.json()) == (200, read.json())
    for name in ("id", "content", "created_at"):
        assert restored.json()[name] == created.json()[name]
    assert restored.headers["etag"] == read.headers["etag"] != created.headers["etag"]
    assert (await client.get("/todos")).json() == {"count": 1, "items": [restored.json()]}
    assert_headers(restored)
    assert (await client.delete(address)).status_code == 204
    assert_problem(await client.get(address), 404)


async def test_who_saw_a_todo_before_it_was_deleted_cannot_change_the_restored_one(
    client: AsyncClient,
) -> None:
    created = await add_todo(client)
    address = created.headers["location"]
    await client.delete(address)
    restored = await client.post(f"{address}/restore")

    seen = {"If-Match": created.headers["etag"]}
    assert_problem(await client.patch(address, json={"content": "a"}, headers=seen), 412)
    seen = {"If-Match": restored.headers["etag"]}
    changed = await client.patch(address, json={"content": "a"}, headers=seen)
    assert changed.status_code == 200


async def test_restoring_a_todo_that_is_not_deleted_changes_nothing(client: AsyncClient) -> None:
    created = await add_todo(client)
    address = created.headers["location"]

    for _ in range(2):
        restored = await client.post(f"{address}/restore")
        assert (restored.status_code, restored.json()) == (200, created.json())
        assert restored.headers["etag"] == created.headers["etag"]

    await client.delete(address)
    first = await client.post(f"{address}/restore")
    second = await client.post(f"{address}/restore")
    assert (second.json(), second.headers["etag"]) == (first.json(), first.headers["etag"])


async def test_of_many_who_restore_a_todo_at_once_all_see_the_same(client: AsyncClient) -> None:
    address = await add_deleted(client)

    answers = await asyncio.gather(*(client.post(f"{address}/restore") for _ in range(16)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({(answer.text, answer.headers["etag"]) for answer in answers}) == 1


async def test_only_a_todo_that_is_there_can_be_restored(client: AsyncClient) -> None:
    for number in (0, 1, 2**63, 10**99):
        answer = await client.post(f"/todos/{number}/restore")
        assert assert_problem(answer, 404, "not-found")["detail"] == "Todo not found"
    assert_problem(await client.post("/todos/a/restore"), 422, "validation")
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = await client.request(method, "/todos/1/restore", json={})
        assert_problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "OPTIONS, POST"


async def test_both_times_of_a_new_todo_are_the_same_and_of_now(client: AsyncClient) -> None:
    before = datetime.now(UTC)
    todo = await add_todo(client)

    assert todo.json()["created_at"] == todo.json()["updated_at"]
    difference = moment(todo, "created_at") - before
    assert abs(difference) < timedelta(minutes=1)  # the database's clock may be another


async def test_a_change_moves_the_time_of_the_update_and_no_other(client: AsyncClient) -> None:
    created = await add_todo(client)
    address, last = created.headers["location"], created
    changes: list[tuple[str, dict[str, str]]] = [
        ("PUT", {"content": "Buy bread"}),
        ("PUT", {"content": "Buy bread"}),  # the same again is a write as well
        ("PATCH", {"content": "Buy milk"}),
    ]

    for method, body in changes:
        changed = await client.request(method, address, json=body)
        assert moment(changed, "updated_at") > moment(last, "updated_at")
        assert changed.json()["created_at"] == created.json()["created_at"]
        assert changed.json()["id"] == created.json()["id"]
        assert (await client.get(address)).json() == changed.json()
        last = changed


async def test_an_empty_patch_a_refused_change_and_reading_move_no_time(
    client: AsyncClient,
) -> None:
    created = await add_todo(client)
    address = created.headers["location"]

    empty = await client.patch(address, json={})
    await client.patch(address, json={"content": ""})
    await client.put(address, json={"content": "a"}, headers={"If-Match": '"x"'})

    read = await client.get(address)
    assert empty.json() == read.json() == created.json()
    assert empty.headers["etag"] == read.headers["etag"] == created.headers["etag"]


async def test_the_times_cannot_be_written(client: AsyncClient) -> None:
    address = (await add_todo(client)).headers["location"]

    for name in ("created_at", "updated_at", "id"):
        body = {"content": "a", name: "2000-01-01T00:00:00Z"}
        for method, url in (("POST", "/todos"), ("PUT", address), ("PATCH", address)):
            answer = await client.request(method, url, json=body)
            [error] = assert_problem(answer, 422, "validation")["errors"]
            assert error["pointer"] == f"/{name}"


async def test_the_newest_todo_comes_first_and_of_one_moment_the_last_id(
    client: AsyncClient, session: AsyncSession
) -> None:
    await run(
        session,
        "INSERT INTO todo (content, created_at, updated_at)"
        " SELECT 'No ' || i, moment, moment FROM generate_series(1, 12) AS i,"
        " LATERAL (SELECT timestamptz '2024-01-01' + i % 4 * interval '1 day') AS of (moment)",
    )
    expected = sorted(range(1, 13), key=lambda number: (number % 4, number), reverse=True)

    seen: list[int] = []
    url = "/todos?limit=5"
    while url:
        page = await client.get(url)
        assert page.json()["count"] == 12  # on all pages
        seen += [todo["id"] for todo in page.json()["items"]]
        url = page.links.get("next", {}).get("url", "")

    assert seen == expected
    oldest = await client.get("/todos?sort=created_at,id")
    by_content = await client.get("/todos?sort=content")
    assert_problem(by_content, 422, "validation")  # no address could hold a cursor of it
    assert [todo["id"] for todo in oldest.json()["items"]] == sorted(
        expected, key=lambda number: (number % 4, number)
    )


async def test_the_count_is_of_what_was_asked_for_on_all_pages(client: AsyncClient) -> None:
    empty = await client.get("/todos")
    for number in range(5):
        await add_todo(client, f"{'Buy' if number % 2 else 'Pay'} No {number}")
    await add_deleted(client, "Buy No 9")

    first = await client.get("/todos?limit=2")
    bought = await client.get("/todos?q=buy&limit=1")
    beyond = await client.get(bought.links["next"]["url"])
    nothing = await client.get("/todos?content=nothing&count=exact")

    assert empty.json() == {"count": 0, "items": []}
    assert (first.json()["count"], contents(first)) == (5, ["Pay No 4", "Buy No 3"])
    assert "x-total-count" not in first.headers
    assert (bought.json()["count"], contents(bought)) == (2, ["Buy No 3"])
    assert (beyond.json()["count"], contents(beyond)) == (2, ["Buy No 1"])
    assert nothing.json() == {"count": 0, "items": []}
    assert nothing.headers["x-total-count"] == "0"


async def test_a_page_is_another_one_when_only_its_count_has_changed(client: AsyncClient) -> None:
    address = (await add_todo(client, "a")).headers["location"]
    await add_todo(client, "b")
    first = await client.get("/todos?limit=1")
    await client.delete(address)

    second = await client.get("/todos?limit=1", headers={"If-None-Match": first.headers["etag"]})

    assert (second.status_code, second.json()["count"]) == (200, 1)
    assert contents(second) == contents(first)


async def test_a_walk_along_the_list_misses_only_what_is_deleted_meanwhile(
    client: AsyncClient,
) -> None:
    for number in range(6):
        await add_todo(client, f"No {number}")

    page = await client.get("/todos?limit=2")
    await client.delete("/todos/5")  # the last one seen
    await client.delete("/todos/3")
    rest = await client.get(page.links["next"]["url"].replace("limit=2", "limit=9"))

    assert contents(page) == ["No 5", "No 4"]
    assert (contents(rest), rest.json()["count"]) == (["No 3", "No 1", "No 0"], 4)


async def test_the_list_of_many_todos_most_of_them_deleted_reads_the_partial_indexes(
    app: FastAPI, session: AsyncSession
) -> None:
    database: Database = app.state.service.database
    await run(
        session,
        "INSERT INTO todo (content, created_at, updated_at, deleted_at)"
        " SELECT 'common n' || i, moment, moment, CASE WHEN i % 10 > 0 THEN moment END"
        " FROM generate_series(1, 20000) AS i,"
        " LATERAL (SELECT timestamptz '2024-01-01' + i * interval '1 minute') AS of (moment)",
    )
    indexes = await (await session.connection()).execute(
        text("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'todo'")
    )
    partial = {name for name, definition in indexes if "WHERE (deleted_at IS NULL)" in definition}
    assert partial == {"ix_todo_created_at", "ix_todo_words"}
    bound_to = params_of(module.Todo, module.TodoPublic, sort="-created_at").cursor_scope
    after = encode_cursor(["2024-01-05T00:00:00+00:00", "5760"], bound_to)
    async with database.engine.connect() as reader:
        driver: Any = (await reader.get_raw_connection()).driver_connection
        await driver.execute("ANALYZE todo")
        for query, index in (
            ("", "ix_todo_created_at"),
            (f"after={after}", "ix_todo_created_at"),
            ("q=common+n770", "ix_todo_words"),
        ):
            page = page_of_todos(query)
            [plan] = await driver.fetchval(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {page.sql}", *page.arguments
            )
            read = list(nodes_of_rows(plan["Plan"]))
            assert index in [node.get("Index Name") for node in read], query
            assert all(node["Actual Rows"] <= 200 for node in read), query
            assert "Seq Scan" not in [node["Node Type"] for node in read]
            row = await driver.fetchrow(page.sql, *page.arguments)
            assert row[1:] == ((1, 1) if "q=" in query else (101, 2000))


def page_of_todos(query: str) -> BoundStatement:
    """Return the query of the page of the list that a query string asks for."""
    params = params_of(module.Todo, module.TodoPublic, query, "-created_at")
    return page_query(params, with_total=True)


def nodes_of_rows(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the nodes of a plan without those of the count."""
    if plan.get("Parent Relationship") != "InitPlan":
        yield plan
        for below in plan.get("Plans", []):
            yield from nodes_of_rows(below)


async def purged(url: URL, age: timedelta) -> tuple[dict[str, int], list[tuple[str, int]]]:
    """Purge; return what it returned, and what it told on the way."""
    told: list[tuple[str, int]] = []
    removal = purge_of([module.Todo], age)
    return await remove(url, removal, lambda *so_far: told.append(so_far)), told


@pytest.mark.usefixtures("client")
async def test_the_purge_removes_only_what_was_deleted_longer_ago(
    session: AsyncSession, database_url: URL
) -> None:
    await run(
        session,
        "INSERT INTO todo (content, created_at, deleted_at) VALUES"
        " ('old', now() - interval '90 days', NULL),"
        " ('old, deleted today', now() - interval '90 days', now()),"
        " ('deleted 29 days ago', now() - interval '90 days', now() - interval '29 days'),"
        " ('deleted 31 days ago', now() - interval '90 days', now() - interval '31 days'),"
        " ('deleted years ago', now() - interval '9 years', now() - interval '8 years')",
    )

    removed, _ = await purged(database_url, timedelta(days=30))
    again, _ = await purged(database_url, timedelta(days=30))

    assert (removed, again) == ({"todos": 2}, {"todos": 0})
    assert [content for (content,) in await rows(session, "content")] == [
        "old",
        "old, deleted today",
        "deleted 29 days ago",
    ]


async def test_what_was_purged_cannot_be_restored_and_what_was_restored_is_not_purged(
    client: AsyncClient, database_url: URL
) -> None:
    gone, kept = [await add_deleted(client) for _ in range(2)]
    await client.post(f"{kept}/restore")

    removed, _ = await purged(database_url, timedelta(0))

    assert removed == {"todos": 1}
    assert_problem(await client.post(f"{gone}/restore"), 404, "not-found")
    assert (await client.get(kept)).status_code == 200
    assert (await client.get("/todos")).json()["count"] == 1


async def test_the_purge_passes_over_what_is_being_restored(
    client: AsyncClient, app: FastAPI, database_url: URL
) -> None:
    addresses = [await add_deleted(client) for _ in range(3)]
    database: Database = app.state.service.database
    async with database.engine.connect() as connection, connection.begin():
        await connection.execute(text("UPDATE todo SET deleted_at = NULL WHERE id = 2"))
        removed, _ = await purged(database_url, timedelta(0))
        await connection.commit()

    assert removed == {"todos": 2}

    found = [(await client.get(address)).status_code for address in addresses]
    assert found == [404, 200, 404]


@pytest.mark.usefixtures("client")
async def test_the_purge_goes_a_thousand_rows_at_a_time_and_tells_of_each(
    session: AsyncSession, database_url: URL
) -> None:
    await run(
        session,
        "INSERT INTO todo (content, deleted_at) SELECT 'n', CASE WHEN i % 3 > 0 THEN now() END"
        " FROM generate_series(1, 3300) AS i",
    )

    removed, told = await purged(database_url, timedelta(0))

    assert removed == {"todos": 2200}
    assert [number for _, number in told] == [1000, 2000, 2200]
    assert {name for name, _ in told} == {"todos"}
    assert len(await rows(session, "id")) == 1100
