"""The service removes old idempotency keys by itself, and no others."""

import asyncio
import secrets
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from songbook.crud.idempotency_table import KEYS
from songbook.db import removal
from songbook.db.database import Database
from tests.support.databases import beside, create_database, execute, spelled
from tests.support.services import SAMPLES
from tests.support.waiting import wait_until

AGED = """
INSERT INTO idempotency (principal, key, fingerprint, status, headers, body, created_at)
SELECT n % 3, sha256(n::text::bytea), '', 201, '{}', '', now() - interval '1 hour' * age
FROM generate_series(1, 3000) n, LATERAL (SELECT CASE WHEN n <= 2500 THEN 24 ELSE 23 END) a (age)
"""
YOUNG = 500


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an hour be short."""
    monkeypatch.setattr(removal, "_FIRST_SECONDS", 0)
    monkeypatch.setattr(removal, "_PERIOD_SECONDS", 0.05)


async def remaining(url: URL, number: int) -> None:
    """Return when so many keys are left; one connection looks, which leaves time to the others."""
    count = text("SELECT count(*) FROM idempotency")
    async with asyncio.timeout(20), beside(url) as connection:
        while await connection.scalar(count) != number:
            await connection.execute(text("SELECT pg_sleep(0.02)"))


async def test_a_service_removes_old_keys_in_batches_and_keeps_the_others(
    migrated_url: URL,
) -> None:
    execute(migrated_url, AGED)
    async with SAMPLES.on(migrated_url):
        await remaining(migrated_url, YOUNG)
        rest = execute(migrated_url, "SELECT max(now() - created_at) FROM idempotency")
    assert rest[0][0] < timedelta(hours=24)


async def test_a_database_that_is_away_does_not_end_the_removal(
    server: URL, template: URL, caplog: pytest.LogCaptureFixture
) -> None:
    later = server.set(database=f"later_{secrets.token_hex(6)}")
    async with SAMPLES.on(later):
        told = "Old keys cannot be removed"
        await asyncio.to_thread(wait_until, lambda: told in caplog.text)
        create_database(server, later.database, template.database)
        execute(later, AGED)
        await remaining(later, YOUNG)
    execute(server, f'DROP DATABASE "{later.database}" WITH (FORCE)')

    assert not [record for record in caplog.records if record.exc_info]


async def test_one_process_of_all_removes_keys_at_a_time(migrated_url: URL) -> None:
    execute(migrated_url, AGED)
    statement = removal.removal_of(KEYS.c.created_at, lock=removal._LOCK)  # noqa: SLF001
    bound = statement.bind({"age": timedelta(hours=24)})
    db = Database(spelled(migrated_url))
    async with beside(migrated_url) as other:
        await other.execute(text(f"SELECT pg_advisory_lock({removal._LOCK})"))  # noqa: SLF001
        held = await db.fetch(bound)
        await other.execute(text(f"SELECT pg_advisory_unlock({removal._LOCK})"))  # noqa: SLF001
        free = await db.fetch(bound)
    await db.close()

    assert held is not None
    assert free is not None
    assert (held["due"], held["gone"]) == (0, 0)
    assert (free["due"], free["gone"]) == (1000, 1000)


async def test_a_service_that_stops_does_not_wait_for_the_next_hour(
    migrated_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_PERIOD_SECONDS", 3600)
    execute(migrated_url, AGED)
    before = asyncio.all_tasks()
    async with asyncio.timeout(40):
        async with SAMPLES.on(migrated_url):
            await remaining(migrated_url, YOUNG)
    assert asyncio.all_tasks() <= before
