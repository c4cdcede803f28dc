"""Behind PgBouncer in transaction mode: every transaction may be on another connection."""

import asyncio

import pytest
from sqlalchemy.engine import URL

from songbook.db.statements import BoundStatement
from tests.support.asserts import assert_problem
from tests.support.patience import TIMEOUTS
from tests.support.pgbouncer import CONNECTIONS, WITHOUT_CACHE, behind_pgbouncer
from tests.support.replays import assert_again, assert_first, assert_reused, was_replayed
from tests.support.services import SAMPLES

pytestmark = pytest.mark.processes

BOOK = {"name": "a", "author": "b"}
CSV = {"Content-Type": "text/csv"}


async def test_who_is_to_keep_no_prepared_statement_keeps_none(migrated_url: URL) -> None:
    query = BoundStatement("SELECT count(*) FROM pg_prepared_statements", [])
    for url, keeps in (
        (migrated_url, True),
        (migrated_url.update_query_dict(WITHOUT_CACHE), False),
    ):
        async with SAMPLES.on(url, pool_size=1) as (client, database):
            for _ in range(3):
                assert (await client.post("/books", json=BOOK)).status_code == 201
                assert (await client.post("/by-session", json=BOOK)).status_code == 200
            row = await database.fetch(query)
            assert row is not None
            assert (row[0] > 1) == keeps


@behind_pgbouncer
async def test_many_at_once_share_few_connections(bounced: URL) -> None:
    async with SAMPLES.on(bounced, pool_size=10) as (client, database):
        for turn in range(2):
            answers = await asyncio.gather(
                *(
                    client.post("/books", json=BOOK, headers={"Idempotency-Key": f"{turn}-{nth}"})
                    for nth in range(32)
                ),
                *(client.post("/books", json=BOOK) for _ in range(16)),
                *(client.post("/books", content="name,author\na,b\n", headers=CSV) for _ in "four"),
                *(client.post("/by-session", json=BOOK) for _ in range(8)),
                *(client.patch("/books/1", json={"year": nth + 1}) for nth in range(8)),
                *(client.post("/books?dry_run=true", json=BOOK) for _ in range(8)),
                *(client.get("/books?count=exact&q=a") for _ in range(16)),
            )
            statuses = {answer.status_code for answer in answers}
            assert statuses <= ({200, 201, 404} if turn == 0 else {200, 201})
        listed = await client.get("/books?limit=1&count=exact")
        assert listed.headers["x-total-count"] == str(2 * (32 + 16 + 4 + 8))
        row = await database.fetch(
            BoundStatement(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'songbook'",
                [],
            )
        )
        assert row is not None
        assert row[0] <= CONNECTIONS
        for name, value in TIMEOUTS.items():
            shown = await database.fetch(BoundStatement(f"SHOW {name}", []))
            assert shown is not None
            assert (name, shown[0]) == (name, value)


@behind_pgbouncer
async def test_what_is_sent_again_under_its_key_is_done_once_behind_pgbouncer_too(
    bounced: URL,
) -> None:
    keyed = {"Idempotency-Key": "k"}
    rows = {"content": "name,author\na,b\nc,d\n", "headers": {**CSV, "Idempotency-Key": "l"}}
    async with SAMPLES.on(bounced, pool_size=10) as (client, _):
        answers = await asyncio.gather(
            *(client.post("/books", json=BOOK, headers=keyed) for _ in range(64))
        )
        told = [answer for answer in answers if answer.status_code != 409]
        [first] = [answer for answer in told if not was_replayed(answer)]
        assert_first(first)
        for answer in answers:
            if answer not in told:
                assert_problem(answer, 409, "idempotency-key-in-use")
            elif answer is not first:
                assert_again(answer, first)
        assert_reused(await client.post("/books", json=BOOK | {"year": 1}, headers=keyed))

        stored = await client.post("/books", **rows)  # type: ignore[arg-type] # they are named
        assert_first(stored)
        again = await client.post("/books", **rows)  # type: ignore[arg-type] # they are named
        assert_again(again, stored)
        assert len((await client.get("/books")).json()) == 3
