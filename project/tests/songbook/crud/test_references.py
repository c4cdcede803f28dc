"""References: foreign keys in bodies, parents that are in use, and parents that are deleted."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient, Response
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError

from tests.support.asserts import assert_problem
from tests.support.databases import execute, spelled
from tests.support.processes import Outcome
from tests.support.references import ROUNDS, assert_in_use, assert_missing, post, race

PUBLISHER = {"name": "Faber", "country": "GB"}

Send = Callable[[AsyncClient, dict[str, Any]], Awaitable[Response]]


async def novel(client: AsyncClient, title: str = "Emma", **fields: Any) -> Response:
    """Create a novel, of the publisher 1 unless told otherwise."""
    return await post(client, "/novels", title=title, **{"publisher_id": 1, **fields})


OF_NOVELS = "The publisher is still referred to by novels."

WRITES: dict[str, Send] = {
    "POST": lambda client, novel: client.post("/novels", json=novel),
    "PUT": lambda client, novel: client.put("/novels/1", json=novel),
    "PATCH": lambda client, novel: client.patch("/novels/1", json=novel),
}
each_write = pytest.mark.parametrize("send", WRITES.values(), ids=WRITES.keys())


@each_write
async def test_a_parent_that_is_missing_is_told_by_its_field(
    client: AsyncClient, send: Send
) -> None:
    await post(client, "/publishers", **PUBLISHER)
    await novel(client)

    for parent in (2, 10**12, 2**63 - 1, -1, 0):
        assert_missing(await send(client, {"title": "B", "publisher_id": parent}))

    assert (await client.get("/novels")).json() == [
        {"id": 1, "title": "Emma", "price": None, "publisher_id": 1, "town_id": None}
    ]


@each_write
async def test_a_parent_that_was_deleted_softly_is_missing(client: AsyncClient, send: Send) -> None:
    await post(client, "/publishers", **PUBLISHER)
    await novel(client)
    await post(client, "/publishers", name="Gone")
    assert (await client.delete("/publishers/2")).status_code == 204
    body = {"title": "B", "publisher_id": 2}

    assert_missing(await send(client, body))

    await client.post("/publishers/2/restore")
    assert (await send(client, body)).is_success


@pytest.mark.parametrize("value", [True, "1_0", 1.5, "a", None, [1], 2**63, "٣"])
async def test_a_reference_is_an_integer(client: AsyncClient, value: Any) -> None:
    await post(client, "/publishers", **PUBLISHER)

    answer = await client.post("/novels", json={"title": "B", "publisher_id": value})

    [error] = assert_problem(answer, 422, "validation")["errors"]
    assert error["pointer"] == "/publisher_id"


def test_a_reference_is_a_bigint_with_an_index_of_its_own(database_url: URL) -> None:
    columns = execute(
        database_url,
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_name = 'novel' AND column_name LIKE '%_id' ORDER BY 1",
    )
    keys = execute(
        database_url,
        "SELECT conname, confdeltype::text FROM pg_constraint"
        " WHERE conrelid = 'novel'::regclass AND contype = 'f' ORDER BY 1",
    )
    indexes = execute(
        database_url,
        "SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'ix_novel_%_id' ORDER BY 1",
    )

    assert columns == [("publisher_id", "bigint", "NO"), ("town_id", "bigint", "YES")]
    assert keys == [
        ("fk_novel_publisher_id_publisher", "r"),
        ("fk_novel_town_id_towns", "n"),
    ]
    assert [str(each[0]).partition(" USING btree ")[2] for each in indexes] == [
        "(publisher_id, id)",
        "(town_id, id)",
    ]


async def test_of_two_references_each_is_told_by_its_own_field(client: AsyncClient) -> None:
    await post(client, "/publishers", **PUBLISHER)
    body = {"title": "Emma", "publisher_id": 1}

    assert_missing(await client.post("/novels", json={**body, "town_id": 7}), "town_id")
    twice = await client.post("/novels", json={**body, "publisher_id": 7, "town_id": 7})
    assert_problem(twice, 409, "conflict")

    assert (await client.get("/novels")).json() == []


async def test_a_parent_in_use_is_not_deleted(client: AsyncClient) -> None:
    await post(client, "/publishers", **PUBLISHER)
    await novel(client)
    before = await client.get("/publishers/1")

    assert_in_use(await client.delete("/publishers/1"), OF_NOVELS)

    assert (await client.get("/publishers/1")).headers["ETag"] == before.headers["ETag"]
    await client.delete("/novels/1")
    assert (await client.delete("/publishers/1")).status_code == 204


async def test_a_parent_that_another_writer_deletes_is_kept_as_well(
    client: AsyncClient, app: FastAPI
) -> None:
    await post(client, "/publishers", **PUBLISHER)
    await novel(client)

    for statement in ("UPDATE publisher SET deleted_at = now()", "DELETE FROM publisher"):
        with pytest.raises(
            IntegrityError, match=r"fk_novel_publisher_id_publisher|there are children"
        ):
            async with app.state.service.database.engine.begin() as connection:
                await connection.execute(text(statement))

    assert (await client.get("/publishers/1")).status_code == 200


async def test_a_child_of_a_deleted_parent_is_not_restored(client: AsyncClient) -> None:
    await post(client, "/publishers", **PUBLISHER)
    await novel(client)
    await client.delete("/novels/1")
    await client.delete("/publishers/1")

    assert_missing(await client.post("/novels/1/restore"))

    assert (await client.post("/publishers/1/restore")).status_code == 200
    assert (await client.post("/novels/1/restore")).status_code == 200
    assert_in_use(await client.delete("/publishers/1"), OF_NOVELS)


async def test_a_parent_that_sets_null_moves_the_tags_of_its_children(client: AsyncClient) -> None:
    await post(client, "/publishers", **PUBLISHER)
    await post(client, "/towns", name="Bath", population=90_000)
    created = await novel(client, town_id=1)
    tag = created.headers["ETag"]

    assert (await client.delete("/towns/1")).status_code == 204

    read = await client.get("/novels/1", headers={"If-None-Match": tag})
    assert (read.status_code, read.json()["town_id"]) == (200, None)
    stale = await client.patch("/novels/1", json={"title": "E"}, headers={"If-Match": tag})
    assert_problem(stale, 412, "precondition-failed")
    current = {"If-Match": read.headers["ETag"]}
    assert (await client.patch("/novels/1", json={"title": "E"}, headers=current)).is_success


async def test_computed_members_are_shown_wherever_a_record_is(client: AsyncClient) -> None:
    created = await post(client, "/publishers", **PUBLISHER)
    publisher = {"id": 1, **PUBLISHER, "novel_count": 0}
    assert created.json() == publisher
    read = await client.get("/publishers/1")
    assert (read.json(), read.headers["ETag"]) == (publisher, created.headers["ETag"])
    await novel(client)
    await novel(client, "Persuasion")
    publisher["novel_count"] = 2

    patched = await client.patch("/publishers/1", json={"country": "IE"})
    put = await client.put("/publishers/1", json=PUBLISHER)
    unchanged = await client.patch("/publishers/1", json={})
    restored = await client.post("/publishers/1/restore")
    listed = await client.get("/publishers")
    page = await client.get("/publishers?id_gt=0&sort=-name&count=exact")

    assert patched.json() == {**publisher, "country": "IE"}
    assert put.json() == unchanged.json() == restored.json() == publisher
    assert listed.json() == page.json() == [publisher]
    csv = await client.get("/publishers", headers={"Accept": "text/csv"})
    assert csv.text.splitlines() == ["id,name,country,novel_count", "1,Faber,GB,2"]
    ndjson = await client.get("/publishers", headers={"Accept": "application/x-ndjson"})
    assert ndjson.text.count('"novel_count":2') == 1


async def test_the_tag_of_a_record_tells_of_what_is_computed(client: AsyncClient) -> None:
    tag = (await post(client, "/publishers", **PUBLISHER)).headers["ETag"]
    same = await client.get("/publishers/1", headers={"If-None-Match": tag})
    assert (same.status_code, same.headers["ETag"], same.content) == (304, tag, b"")

    await novel(client)

    read = await client.get("/publishers/1", headers={"If-None-Match": tag})
    assert (read.status_code, read.json()["novel_count"]) == (200, 1)
    old, new = tag.strip('"').split("."), read.headers["ETag"].strip('"').split(".")
    assert old[0] == new[0]
    assert old[1] != new[1]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_a_change_compares_the_version_of_a_tag_only(
    client: AsyncClient, method: str
) -> None:
    tag = (await post(client, "/publishers", **PUBLISHER)).headers["ETag"]
    await novel(client)
    await client.delete("/novels/1")
    body = None if method == "DELETE" else {"name": "F"}

    plain = f'{tag.split(".")[0]}"'
    for held in (plain, tag):
        other = held.replace("-1", "-2")
        refused = await client.request(
            method, "/publishers/1", json=body, headers={"If-Match": other}
        )
        assert_problem(refused, 412, "precondition-failed")
        assert refused.headers["ETag"] == plain
    done = await client.request(method, "/publishers/1", json=body, headers={"If-Match": tag})
    assert done.is_success


@pytest.mark.parametrize("name", ["novel_count=1", "novel_count_gt=0", "sort=novel_count"])
async def test_computed_members_are_neither_filters_nor_orders(
    client: AsyncClient, name: str
) -> None:
    [error] = assert_problem(await client.get(f"/publishers?{name}"), 422)["errors"]

    assert error["type"] in {"unknown_parameter", "sort"}


async def test_a_computed_member_is_not_written(client: AsyncClient) -> None:
    answer = await client.post("/publishers", json={**PUBLISHER, "novel_count": 7})

    assert_problem(answer, 422, "validation")


# Races: the rows that both requests leave must be consistent, in either order.


@ROUNDS
@pytest.mark.timeout(240)
@pytest.mark.parametrize("is_first", [True, False], ids=["child first", "parent first"])
async def test_a_child_and_the_soft_deletion_of_its_parent_cannot_both_succeed(
    client: AsyncClient, app: FastAPI, rounds: int, *, is_first: bool
) -> None:
    outcomes = set()
    for nth in range(1, rounds + 1):
        await post(client, "/publishers", name=f"{nth}")
        requests = [
            client.post("/novels", json={"title": f"{nth}", "publisher_id": nth}),
            client.delete(f"/publishers/{nth}"),
        ]
        statuses = await race(*(requests if is_first else reversed(requests)))
        outcomes.add(tuple(statuses if is_first else reversed(statuses)))

    assert outcomes <= {(201, 409), (409, 204)}
    async with app.state.service.database.engine.connect() as connection:
        query = (
            "SELECT count(*) FROM novel JOIN publisher ON publisher.id = publisher_id"
            " WHERE publisher.deleted_at IS NOT NULL"
        )
        assert await connection.scalar(text(query)) == 0


@ROUNDS
@pytest.mark.timeout(240)
async def test_a_restored_child_and_the_soft_deletion_of_its_parent_cannot_both_succeed(
    client: AsyncClient, rounds: int
) -> None:
    await post(client, "/publishers", **PUBLISHER)
    await novel(client)
    for nth in range(rounds):
        await client.delete("/novels/1")
        requests = [client.post("/novels/1/restore"), client.delete("/publishers/1")]
        statuses = await race(*(requests if nth % 2 else requests[::-1]))
        assert tuple(statuses if nth % 2 else statuses[::-1]) in {(200, 409), (409, 204)}
        await client.post("/publishers/1/restore")


def test_purge_removes_parents_after_their_children(
    command: Callable[..., Outcome], migrated_url: URL
) -> None:
    old = "now() - interval '100 days'"
    execute(
        migrated_url,
        f"INSERT INTO publisher (name, deleted_at) VALUES ('used', {old}), ('free', {old})",
        "INSERT INTO novel (title, publisher_id, deleted_at) VALUES ('recent', 1, now())",
    )

    purged = command("purge", DATABASE_URL=spelled(migrated_url))
    assert purged.code == 0, purged
    assert execute(migrated_url, "SELECT name FROM publisher") == [("used",)]

    execute(migrated_url, f"UPDATE novel SET deleted_at = {old}")
    assert command("purge", DATABASE_URL=spelled(migrated_url)).code == 0
    assert execute(migrated_url, "SELECT name FROM publisher") == []
    assert execute(migrated_url, "SELECT title FROM novel") == []
