"""References in circles and of a table to itself, and deletions that cascade."""

import pytest
from httpx import AsyncClient

from tests.support.asserts import assert_problem
from tests.support.references import ROUNDS, assert_in_use, assert_missing, post, race


@ROUNDS
@pytest.mark.timeout(240)
async def test_a_child_and_the_deletion_of_its_parent_cannot_both_succeed(
    related: AsyncClient, rounds: int
) -> None:
    for nth in range(1, rounds + 1):
        await post(related, "/players", name=f"{nth}")
        requests = [
            related.post("/teams", json={"name": f"{nth}", "captain_id": nth}),
            related.delete(f"/players/{nth}"),
        ]
        statuses = await race(*(requests if nth % 2 else requests[::-1]))
        assert tuple(statuses if nth % 2 else statuses[::-1]) in {(201, 409), (409, 204)}


async def test_records_may_refer_to_each_other(related: AsyncClient) -> None:
    await post(related, "/teams", name="Reds")
    await post(related, "/players", name="Ann", team_id=1)
    assert (await related.put("/teams/1", json={"name": "Reds", "captain_id": 1})).is_success

    assert_in_use(await related.delete("/players/1"), "The player is still referred to by teams.")
    expanded = await related.get("/teams?expand=captain,players")
    ann = {"id": 1, "name": "Ann", "team_id": 1, "former_id": None}
    assert expanded.json() == [
        {"id": 1, "name": "Reds", "captain_id": 1, "captain": ann, "players": [ann]}
    ]


async def test_a_deletion_that_cascades_takes_the_children_along(related: AsyncClient) -> None:
    await post(related, "/teams", name="Reds")
    await post(related, "/teams", name="Blues")
    ann = await post(related, "/players", name="Ann", team_id=1)
    bob = await post(related, "/players", name="Bob", team_id=2, former_id=1)

    assert (await related.delete("/teams/1")).status_code == 204

    held = {"If-None-Match": ann.headers["ETag"]}
    assert_problem(await related.get("/players/1", headers=held), 404, "not-found")
    held = {"If-None-Match": bob.headers["ETag"]}
    read = await related.get("/players/2", headers=held)
    assert (read.status_code, read.json()["former_id"]) == (200, None)
    stale = {"If-Match": bob.headers["ETag"]}
    changed = await related.put("/players/2", json={"name": "B"}, headers=stale)
    assert_problem(changed, 412, "precondition-failed")


async def test_a_tree_grows_and_is_taken_down_from_its_leaves(related: AsyncClient) -> None:
    await post(related, "/categories", name="root")
    await post(related, "/categories", name="leaf", parent_id=1)

    detail = "The category is still referred to by categories."
    assert_in_use(await related.delete("/categories/1"), detail)
    assert (await related.delete("/categories/2")).status_code == 204
    assert (await related.delete("/categories/1")).status_code == 204

    assert_missing(await related.post("/categories/2/restore"), "parent_id")
    orphan = await related.post("/categories", json={"name": "x", "parent_id": 1})
    assert_missing(orphan, "parent_id")


async def test_a_record_that_refers_to_itself_is_deleted_and_restored(
    related: AsyncClient,
) -> None:
    await post(related, "/categories", name="root")
    assert (await related.put("/categories/1", json={"name": "r", "parent_id": 1})).is_success

    assert (await related.delete("/categories/1")).status_code == 204
    assert (await related.post("/categories/1/restore")).status_code == 200
