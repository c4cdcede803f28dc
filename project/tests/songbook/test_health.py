"""Health: what load balancers are told when the database is away, busy, frozen or not migrated."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from httpx import ASGITransport, AsyncClient
from sqlalchemy import text
from sqlalchemy.engine import URL

from songbook.db import Use
from songbook.db.revisions import Revisions, read_revisions
from tests.samples.settings import Settings
from tests.support.asserts import assert_problem
from tests.support.databases import beside, execute, locked, waiting
from tests.support.marks import slow
from tests.support.paths import PROJECT
from tests.support.processes import NOWHERE
from tests.support.services import SAMPLES

pytestmark = pytest.mark.long

MIGRATE = "run the command migrate"
READY = {"checks": {"database": "ok", "pool": "ok", "schema": "ok"}}


async def failures(client: AsyncClient) -> dict[str, str]:
    """Return the checks that fail, none when it is ready."""
    answer = await client.get("/readyz")
    assert answer.headers["cache-control"] == "no-store"
    checks: dict[str, str] = answer.json()["checks"]
    failed = {name: each for name, each in checks.items() if each != "ok"}
    if failed:
        assert_problem(answer, 503)
        assert answer.json()["type"] == "/problems/not-healthy"
        assert answer.headers["retry-after"] == "1"
    else:
        assert (answer.status_code, answer.json()) == (200, READY)
    return failed


async def test_a_service_with_its_database_is_alive_started_and_ready(migrated_url: URL) -> None:
    async with SAMPLES.on(migrated_url) as (client, _):
        for path in ("/livez", "/startupz", "/readyz"):
            for answer in (await client.get(path), await client.head(path)):
                assert answer.status_code == 200
                assert answer.headers["cache-control"] == "no-store"
        assert await failures(client) == {}


async def test_a_service_that_has_not_started_says_so() -> None:
    app = SAMPLES.app(database_url=NOWHERE)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://songbook") as client:
        assert (await client.get("/livez")).status_code == 200
        assert_problem(await client.get("/startupz"), 503)
        assert await failures(client) == {"startup": "not complete"}


async def test_without_a_database_a_service_is_alive_and_not_ready(server: URL) -> None:
    async with SAMPLES.on(server.set(host="127.0.0.1", port=1, query={})) as (client, _):
        assert await failures(client) == {"database": "not accepting connections or statements"}
        for path in ("/livez", "/startupz"):
            assert (await client.get(path)).status_code == 200


@slow
async def test_a_database_that_does_not_respond_is_noticed_within_a_second(
    migrated_url: URL, monkeypatch: pytest.MonkeyPatch, restore_bounds: Callable[[str], None]
) -> None:
    async with SAMPLES.on(migrated_url) as (client, _):
        assert await failures(client) == {}
        async with locked(migrated_url, "alembic_version"):
            await asyncio.sleep(0.2)
            restore_bounds("songbook.db.readiness")
            begun = time.monotonic()
            assert await failures(client) == {"database": "no response within 1 s"}
            assert time.monotonic() - begun < 10  # it would wait three times as long for the lock
        monkeypatch.undo()
        await asyncio.sleep(0.2)
        assert await failures(client) == {}


@slow
@pytest.mark.parametrize("seconds", [0.2, 20])
async def test_a_pool_without_a_free_connection_is_not_ready(
    migrated_url: URL, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr("songbook.db.readiness._POOL_SECONDS", 0.8)  # within more than the second
    async with (
        SAMPLES.on(migrated_url, pool_size=1, pool_timeout=seconds) as (client, database),
        database.connection(),
    ):
        assert await failures(client) == {"pool": "all connections are in use"}


async def test_lists_and_writes_that_take_all_their_places_leave_a_service_ready(
    migrated_url: URL,
) -> None:
    async with (
        SAMPLES.on(migrated_url, pool_size=4, pool_timeout=0.2) as (client, database),
        database.connection(Use.LIST),
        database.connection(Use.WRITE),
    ):
        assert await failures(client) == {}


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ("DROP TABLE alembic_version", {"schema": f"the tables do not exist: {MIGRATE}"}),
        ("DELETE FROM alembic_version", {"schema": f"older than the code: {MIGRATE}"}),
        ("UPDATE alembic_version SET version_num = 'newer'", {}),
    ],
)
async def test_a_schema_that_is_older_than_the_code_is_not_ready_and_a_newer_one_is(
    migrated_url: URL, change: str, failed: dict[str, str]
) -> None:
    execute(migrated_url, change)

    async with SAMPLES.on(migrated_url) as (client, _):
        assert await failures(client) == failed


async def test_many_who_ask_at_once_share_one_statement(migrated_url: URL) -> None:
    statements = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with (
        SAMPLES.on(migrated_url) as (client, _),
        beside(migrated_url) as connection,
    ):
        async with locked(migrated_url, "alembic_version") as lock:
            asked = [asyncio.create_task(client.get("/readyz")) for _ in range(50)]
            await waiting(lock, 1)
            await asyncio.sleep(0.2)
            number = await connection.scalar(text(f"{statements} AND datname = current_database()"))
        answers = await asyncio.gather(*asked)

    assert number == 1
    assert {answer.status_code for answer in answers} == {200}


async def test_a_client_that_leaves_does_not_end_the_check_of_the_others(
    migrated_url: URL,
) -> None:
    async with (
        SAMPLES.on(migrated_url) as (client, _),
        locked(migrated_url, "alembic_version") as lock,
    ):
        leaving, staying = (asyncio.create_task(client.get("/readyz")) for _ in range(2))
        await waiting(lock, 1)
        leaving.cancel()
        await lock.execute(text("ROLLBACK"))
        await lock.execute(text("BEGIN"))
        assert (await staying).status_code == 200


def test_the_revisions_are_those_that_alembic_finds(tmp_path: Path) -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    for directory in (PROJECT, Settings.directory):
        scripts = ScriptDirectory.from_config(Config(directory / "alembic.ini"))
        assert read_revisions(directory) == Revisions(
            {
                each.revision: (str(each.down_revision),) if each.down_revision else ()
                for each in scripts.walk_revisions()
            },
            frozenset(scripts.get_heads()),
        )
    assert read_revisions(tmp_path) == Revisions({}, frozenset())


def test_branches_are_ready_when_all_their_heads_are_stored() -> None:
    revisions = Revisions({"a": (), "b": ("a",), "c": ("a",)}, frozenset("bc"))

    assert [revisions.are_in(stored) for stored in ("", "a", "c", "bc", "d")] == [
        *(False, False, False),
        *(True, True),
    ]
    assert [revisions.missing(stored) for stored in ("", "a", "c", "bc", "d")] == [3, 2, 1, 0, 0]
