"""The rate limit of logins, on real connections that race each other."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta

import pytest
from sqlalchemy.engine import URL

from songbook.auth.throttle import count_attempt, login_keys
from songbook.db.database import Database
from songbook.db.statements import BoundStatement
from songbook.errors.problems import TooManyRequests
from tests.support.databases import execute

pytestmark = pytest.mark.anyio

WINDOW = timedelta(minutes=15)


@pytest.fixture
async def db(database_url: URL) -> AsyncIterator[Database]:
    """Give a pool on this worker's database, in which no login was tried yet."""
    db = Database(database_url, pool_timeout=30)
    await run(db, "TRUNCATE login_tries")
    yield db
    await run(db, "TRUNCATE login_tries")
    await db.close()


@pytest.fixture
async def other_db(database_url: URL) -> AsyncIterator[Database]:
    """Give the pool of another worker."""
    db = Database(database_url, pool_timeout=30)
    yield db
    await db.close()


@pytest.fixture
async def busy_db(migrated_url: URL) -> AsyncIterator[Database]:
    """Give a pool on a database of its own, in which there must be no deadlock."""
    db = Database(migrated_url, pool_size=16, pool_timeout=30)
    try:
        yield db
    finally:
        await db.close()
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert execute(migrated_url, query) == [(0,)]


async def count_at_once(db: Database, logins: Sequence[Mapping[str, int]]) -> None:
    """Count these tries, as many of them at once as the pool has connections."""
    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
        for keys in logins:
            group.create_task(count_attempt(db, keys, WINDOW))


async def run(db: Database, sql: str) -> list[object]:
    row = await db.fetch(BoundStatement(sql, []))
    return [] if row is None else list(row.values())


async def is_let_through(db: Database, keys: Mapping[str, int]) -> bool:
    try:
        await count_attempt(db, keys, WINDOW)
    except TooManyRequests:
        return False
    return True


async def seconds_to_wait(db: Database, keys: Mapping[str, int]) -> int:
    with pytest.raises(TooManyRequests) as refused:
        await count_attempt(db, keys, WINDOW)
    assert refused.value.status == 429
    return int(refused.value.headers["Retry-After"])


async def tries(db: Database) -> list[object]:
    """Return the counts, smallest first."""
    [found] = await run(db, "SELECT array_agg(tries ORDER BY tries) FROM login_tries")
    return list(found) if isinstance(found, list) else []


async def test_of_64_tries_at_once_exactly_ten_are_let_through(
    db: Database, other_db: Database
) -> None:
    both = [db, other_db] * 32

    passed = await asyncio.gather(*(is_let_through(each, {"a": 60, "a n": 10}) for each in both))

    assert passed.count(True) == 10
    assert not await is_let_through(db, {"a n": 10})


async def test_two_workers_share_the_count(db: Database, other_db: Database) -> None:
    for each in (db, other_db, db, other_db):
        assert await is_let_through(each, {"a": 4})

    assert not await is_let_through(db, {"a": 4})
    assert not await is_let_through(other_db, {"a": 4})


async def test_each_limit_counts_for_itself(db: Database) -> None:
    assert await is_let_through(db, {"a": 2, "a n": 1})
    assert not await is_let_through(db, {"a": 2, "a n": 1})
    assert await is_let_through(db, {"a": 2, "a m": 1})

    assert not await is_let_through(db, {"a": 2, "a o": 1})
    assert await is_let_through(db, {"b": 2, "b n": 1})


async def test_after_the_window_the_count_begins_anew(db: Database) -> None:
    for _ in range(2):
        assert await is_let_through(db, {"a": 1})
        assert not await is_let_through(db, {"a": 1})
        await run(db, "UPDATE login_tries SET since = now() - interval '15 minutes'")


async def test_a_window_is_not_made_longer_by_more_tries(db: Database) -> None:
    await count_attempt(db, {"a": 2}, WINDOW)
    await run(db, "UPDATE login_tries SET since = now() - interval '14 minutes'")
    await count_attempt(db, {"a": 2}, WINDOW)

    assert await seconds_to_wait(db, {"a": 2}) <= 60


async def test_of_many_that_find_the_window_over_no_more_pass_than_before(db: Database) -> None:
    await count_attempt(db, {"a": 10}, WINDOW)
    await run(db, "UPDATE login_tries SET tries = 10, since = since - interval '1 day'")

    passed = await asyncio.gather(*(is_let_through(db, {"a": 10}) for _ in range(32)))

    assert passed.count(True) == 10


async def test_a_client_is_told_when_to_come_back(db: Database) -> None:
    await count_attempt(db, {"a": 1}, WINDOW)
    assert 880 < await seconds_to_wait(db, {"a": 1}) <= 900

    await run(db, "UPDATE login_tries SET since = now() - interval '14 minutes 30.5 seconds'")
    assert 10 < await seconds_to_wait(db, {"a": 1}) <= 30


async def test_the_last_of_the_exceeded_windows_is_told(db: Database) -> None:
    await count_attempt(db, {"a": 1}, WINDOW)
    await run(db, "UPDATE login_tries SET since = now() - interval '10 minutes'")
    await count_attempt(db, {"b": 1, "c": 2}, WINDOW)
    await run(db, "UPDATE login_tries SET since = since - interval '1 minute'")
    await count_attempt(db, {"c": 2, "d": 9}, WINDOW)

    assert 200 < await seconds_to_wait(db, {"a": 1, "d": 9}) <= 240
    assert 800 < await seconds_to_wait(db, {"a": 1, "b": 1, "d": 9}) <= 840


async def test_a_refused_try_writes_nothing_and_waits_for_nobody(
    db: Database, other_db: Database
) -> None:
    await count_attempt(db, {"b": 1}, WINDOW)
    await run(db, "UPDATE login_tries SET since = now() - interval '1 day'")
    await run(db, "INSERT INTO login_tries (key) VALUES (sha256('a'))")
    async with other_db.engine.begin() as connection:
        await connection.exec_driver_sql("SELECT FROM login_tries FOR UPDATE")
        async with asyncio.timeout(20):  # for a lock it would wait longer
            for number in range(20):
                assert not await is_let_through(db, {"a": 1, f"a {number}": 10})
    assert not await is_let_through(db, {"a": 1})

    assert await tries(db) == [1, 1]


async def test_logins_with_the_same_keys_in_any_order_do_not_deadlock(busy_db: Database) -> None:
    keys = dict.fromkeys("abcdefgh", 10_000)
    turned = dict(reversed(keys.items()))
    for _ in range(5):  # in the beginning there is no row, then each window is over
        await count_at_once(busy_db, [keys, turned] * 20)

        assert await tries(busy_db) == [40] * 8
        await run(busy_db, "UPDATE login_tries SET since = now() - interval '1 day'")


@pytest.mark.long
async def test_those_who_remove_rows_and_those_who_count_in_them_do_not_deadlock(
    busy_db: Database,
) -> None:
    pairs = [{f"{n}": 10_000, f"{(n * 7 + 3) % 40}": 10_000} for n in range(40)]
    for _ in range(10):
        await count_at_once(busy_db, pairs * 2)

        await run(busy_db, "UPDATE login_tries SET since = now() - interval '1 day'")


async def test_the_table_does_not_grow(db: Database) -> None:
    over = (
        "INSERT INTO login_tries (key, since) SELECT sha256(n::text::bytea),"
        " now() - interval '1 day' FROM generate_series(1, 105) n"
    )
    await run(db, over)

    left = []
    for number in range(12):
        await count_attempt(db, {f"a {number}": 1}, WINDOW)
        left.append(len(await tries(db)) - number - 1)

    assert left == [95, 85, 75, 65, 55, 45, 35, 25, 15, 5, 0, 0]


async def test_only_what_is_over_and_not_in_use_is_removed(
    db: Database, other_db: Database
) -> None:
    for key in ("over", "held", "current"):
        await count_attempt(db, {key: 5}, WINDOW)
    await run(
        db,
        "UPDATE login_tries SET tries = CASE key WHEN sha256('held') THEN 2 ELSE 3 END,"
        " since = now() - interval '15 minutes' WHERE key <> sha256('current')",
    )
    async with other_db.engine.begin() as connection:
        await connection.exec_driver_sql(
            "SELECT FROM login_tries WHERE key = sha256('held') FOR UPDATE"
        )
        async with asyncio.timeout(20):  # for a lock it would wait longer
            await count_attempt(db, {"another": 5}, WINDOW)

    assert await tries(db) == [1, 1, 2]


async def test_neither_addresses_nor_names_are_stored(db: Database) -> None:
    await count_attempt(db, login_keys("192.0.2.7", "Robert", per_address=60, per_name=10), WINDOW)

    [stored] = await run(db, "SELECT string_agg(login_tries::text, ' ') FROM login_tries")
    [sizes] = await run(db, "SELECT array_agg(length(key)) FROM login_tries")
    assert sizes == [32, 32]
    for told in ("192.0.2.7", "robert"):
        assert told not in str(stored).lower()
        assert told.encode().hex() not in str(stored)


async def test_a_try_costs_no_write_ahead_log(db: Database) -> None:
    [kind] = await run(
        db, "SELECT relpersistence::text FROM pg_class WHERE oid = 'login_tries'::regclass"
    )

    assert kind == "u"


async def test_a_name_that_no_text_of_postgresql_can_hold_is_counted(db: Database) -> None:
    for name in ("\0", "\ud800", "x" * 100_000):
        keys = login_keys(None, name, per_address=60, per_name=1)
        assert await is_let_through(db, keys)
        assert not await is_let_through(db, keys)


def places(*addresses: str | None) -> set[str]:
    """Return what logins from these addresses count as."""
    return {next(iter(login_keys(each, "n", per_address=1, per_name=1))) for each in addresses}


def test_a_login_counts_for_its_address_and_for_its_name_there() -> None:
    keys = login_keys("192.0.2.7", "Straße", per_address=60, per_name=10)

    assert list(keys.values()) == [60, 10]
    for same in ("strasse", "STRASSE", " straße "):
        assert login_keys("192.0.2.7", same, per_address=60, per_name=10) == keys
    for other in (("192.0.2.8", "straße"), ("192.0.2.7", "strase")):
        assert login_keys(*other, per_address=60, per_name=10) != keys


def test_an_address_counts_as_what_one_customer_has() -> None:
    assert len(places("192.0.2.7", "::ffff:192.0.2.7", "::FFFF:c000:207")) == 1
    assert len(places("2001:db8::1", "2001:0DB8:0:0:ffff:ffff:ffff:ffff", "2001:db8::2%eth0")) == 1
    assert len(places("2001:db8::", "2001:db8:0:1::", "192.0.2.7", "192.0.2.8")) == 4


def test_what_is_no_address_counts_as_one_and_the_same() -> None:
    assert (
        len(places(None, "", "testclient", "192.0.2.7:80", "192.0.2.07", "\ud800", "/run/s")) == 1
    )
    assert places(None).isdisjoint(places("192.0.2.7", "::", "0.0.0.0"))
