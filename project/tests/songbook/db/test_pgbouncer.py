"""Behind PgBouncer in transaction mode: every transaction may be on another connection."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from songbook.db.statements import BoundStatement
from tests.support.asserts import assert_problem
from tests.support.databases import execute
from tests.support.replays import assert_again, assert_first, assert_reused, was_replayed
from tests.support.services import SAMPLES
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

PGBOUNCER = shutil.which("pgbouncer")
PORT = 6432
BOUNDS = {
    "lock_timeout": "1200ms",
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "client_connection_check_interval": "1s",
}
CONNECTIONS = 3
BOOK = {"name": "a", "author": "b"}
CSV = {"Content-Type": "text/csv"}
WITHOUT_CACHE = {"prepared_statement_cache_size": "0"}

behind_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer")


@pytest.fixture
def bounced(migrated_url: URL) -> Iterator[URL]:
    """Give the URL of a migrated database behind PgBouncer, which has few connections to it."""
    for name, value in BOUNDS.items():
        execute(migrated_url, f"ALTER DATABASE \"{migrated_url.database}\" SET {name} = '{value}'")
    host = str(migrated_url.query.get("host") or migrated_url.host)
    place_of = {
        "host": host,
        "port": migrated_url.query.get("port") or migrated_url.port,
        "user": migrated_url.username,
        "password": migrated_url.password,
    }
    database = " ".join(f"{name}={value}" for name, value in place_of.items() if value)
    owner = Path(host).stat().st_uid if host.startswith("/") else os.geteuid()
    with tempfile.TemporaryDirectory() as place:
        os.chown(place, owner, -1)
        settings = Path(place, "pgbouncer.ini")
        settings.write_text(
            f"[databases]\n* = {database}\n"
            f"[pgbouncer]\nlisten_addr =\nlisten_port = {PORT}\nunix_socket_dir = {place}\n"
            f"auth_type = any\npool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\n"
            f"ignore_startup_parameters = {','.join(BOUNDS)}\n"
        )
        user = owner if os.geteuid() == 0 else None  # whom it refuses to run as
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([str(PGBOUNCER), settings], user=user, **quiet) as process:
            try:
                wait_until(Path(place, f".s.PGSQL.{PORT}").exists)
                query = {"host": place, "port": str(PORT), **WITHOUT_CACHE}
                yield migrated_url.set(host=None, port=None, query=query)
            finally:
                process.terminate()


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
    async with SAMPLES.on(bounced, pool_size=10, pool_timeout=10) as (client, database):
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
        for name, value in BOUNDS.items():
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
