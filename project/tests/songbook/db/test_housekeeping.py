"""A service removes old keys and purges deleted rows by itself, and no others."""

import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from songbook.crud.idempotency_table import KEYS
from songbook.db import housekeeping
from songbook.db.connect import open_database
from songbook.db.housekeeping import Housekeeping
from songbook.db.removal import expiry_of
from songbook.metrics.instruments import INSTRUMENTS
from songbook.monitoring import read_gauges
from tests.support.databases import backends, beside, create_database, execute, spelled
from tests.support.services import SAMPLES
from tests.support.waiting import wait_until

AGED = """
INSERT INTO idempotency (principal, key, fingerprint, status, headers, body, created_at)
SELECT n % 3, sha256(n::text::bytea), '', 201, '{}', '', now() - interval '1 hour' * age
FROM generate_series(1, 3000) n, LATERAL (SELECT CASE WHEN n <= 2500 THEN 24 ELSE 23 END) a (age)
"""
YOUNG = 500
DELETED = """
WITH notes AS (
    INSERT INTO note (content, deleted_at) SELECT name, now() - interval '1 day' * days FROM
    (VALUES ('kept', NULL), ('today', 0), ('recent', 29), ('due', 31), ('old', 400)) n (name, days)
), publishers AS (
    INSERT INTO publisher (id, name, deleted_at) OVERRIDING SYSTEM VALUE
    SELECT id, 'publisher', now() - interval '31 days' FROM generate_series(1, 2) id
)
INSERT INTO novel (title, publisher_id, deleted_at) VALUES
('due', 1, now() - interval '31 days'), ('recent', 2, now() - interval '29 days')
"""
KEYS_LOCK = int.from_bytes(b"keys")


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an hour be short."""
    monkeypatch.setattr(housekeeping, "_FIRST_SECONDS", (0, 0))
    monkeypatch.setattr(housekeeping, "_PERIOD_SECONDS", 0.05)


def counted(name: str, *labels: str) -> float:
    """Return what a counter of this process has counted."""
    return INSTRUMENTS[f"songbook_{name}_total"].samples.get(labels, [0.0])[0]


async def remaining(url: URL, number: int) -> None:
    """Return when so many keys are left."""
    query = "SELECT count(*) FROM idempotency"
    await asyncio.to_thread(wait_until, lambda: execute(url, query) == [(number,)])


async def test_a_service_removes_what_is_due_in_batches_and_keeps_the_rest(
    migrated_url: URL, caplog: pytest.LogCaptureFixture
) -> None:
    execute(migrated_url, AGED, DELETED)
    keys, purged = counted("expired_keys"), counted("purged_rows", "notes")
    runs = counted("housekeeping_runs", "purge", "done")
    app = SAMPLES.app(database_url=spelled(migrated_url), log_level="INFO")
    with caplog.at_level("INFO"):
        async with app.router.lifespan_context(app):
            state: Housekeeping = app.state.service.housekeeping
            await asyncio.to_thread(wait_until, lambda: all(state.last_success.values()))
            read_gauges(app.state.service)
            gauge = INSTRUMENTS["songbook_housekeeping_last_success_seconds"].samples
            assert abs(gauge["purge",][0] - time.time()) < 60

    rest = execute(migrated_url, "SELECT count(*), max(now() - created_at) FROM idempotency")
    assert rest[0][0] == YOUNG
    assert rest[0][1] < timedelta(hours=24)
    notes = execute(migrated_url, "SELECT content FROM note ORDER BY id")
    assert notes == [("kept",), ("today",), ("recent",)]
    assert execute(migrated_url, "SELECT title FROM novel") == [("recent",)]
    assert execute(migrated_url, "SELECT id FROM publisher") == [(2,)]
    assert counted("expired_keys") - keys == 2500
    assert counted("purged_rows", "notes") - purged == 2
    assert counted("housekeeping_runs", "purge", "done") > runs
    assert "Removal job=keys resource=keys rows=2500" in caplog.text
    assert "Removal job=purge resource=publishers rows=1" in caplog.text


async def test_a_service_without_housekeeping_leaves_it_to_the_commands(migrated_url: URL) -> None:
    app = SAMPLES.app(database_url=spelled(migrated_url), housekeeping=False)
    async with app.router.lifespan_context(app):
        assert app.state.service.housekeeping.last_success == {}


async def test_a_database_that_is_away_does_not_end_the_housekeeping(
    server: URL, template: URL, caplog: pytest.LogCaptureFixture
) -> None:
    later = server.set(database=f"later_{secrets.token_hex(6)}")
    failed = counted("housekeeping_runs", "keys", "failed")
    async with SAMPLES.on(later):
        told = "Removal failed job=keys resource=keys"
        await asyncio.to_thread(wait_until, lambda: told in caplog.text)
        create_database(server, later.database, template.database)
        execute(later, AGED)
        await remaining(later, YOUNG)
    execute(server, f'DROP DATABASE "{later.database}" WITH (FORCE)')

    assert counted("housekeeping_runs", "keys", "failed") > failed
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_process_skips_a_job_that_another_one_does(migrated_url: URL) -> None:
    execute(migrated_url, AGED)
    before = counted("housekeeping_runs", "keys", "skipped")
    async with open_database(migrated_url) as db, beside(migrated_url) as other:
        state = Housekeeping(db, [expiry_of(KEYS.c.created_at, timedelta(hours=24))])
        await other.execute(text(f"SELECT pg_advisory_lock({KEYS_LOCK})"))
        await state.run()
        assert counted("housekeeping_runs", "keys", "skipped") == before + 1
        assert state.last_success == {"keys": 0}
        assert await other.scalar(text("SELECT count(*) FROM idempotency")) == 3000

        await other.execute(text(f"SELECT pg_advisory_unlock({KEYS_LOCK})"))
        await state.run()
        assert state.last_success["keys"]
        assert await other.scalar(text("SELECT count(*) FROM idempotency")) == YOUNG


async def test_processes_at_the_same_time_remove_each_row_once(migrated_url: URL) -> None:
    execute(migrated_url, AGED)
    before = counted("expired_keys")
    expiry = expiry_of(KEYS.c.created_at, timedelta(hours=24))
    async with AsyncExitStack() as opened:
        pools = [await opened.enter_async_context(open_database(migrated_url)) for _ in range(4)]
        await asyncio.gather(*(Housekeeping(db, [expiry]).run() for db in pools))

    assert counted("expired_keys") - before == 2500
    assert execute(migrated_url, "SELECT count(*) FROM idempotency") == [(YOUNG,)]


async def test_a_service_that_stops_rolls_an_interrupted_batch_back(migrated_url: URL) -> None:
    before = asyncio.all_tasks()
    execute(
        migrated_url,
        AGED,
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(30); RETURN NULL; END'",
        "CREATE TRIGGER linger AFTER DELETE ON idempotency EXECUTE FUNCTION linger()",
    )
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    query += " AND datname = current_database()"
    async with SAMPLES.on(migrated_url), asyncio.timeout(30):
        await asyncio.to_thread(wait_until, lambda: execute(migrated_url, query) == [(1,)])
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 15
    assert asyncio.all_tasks() <= before

    async with beside(migrated_url) as other:
        while await backends(other):
            pass
    assert execute(migrated_url, "SELECT count(*) FROM idempotency") == [(3000,)]
