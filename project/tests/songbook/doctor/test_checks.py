"""Each check in a state that it is for, which a transaction makes and rolls back."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

from songbook.doctor.clock import check_clock, check_time_zone
from songbook.doctor.database import (
    check_connections,
    check_durability,
    check_text,
    check_timeouts,
    check_version,
)
from songbook.doctor.findings import FAILURE, OK, WARNING, Check, Finding, Subject
from songbook.doctor.indexes import check_indexes
from songbook.doctor.local import check_disk, check_scripts, check_settings, check_space
from songbook.doctor.locks import check_locks
from songbook.doctor.rights import check_excess, check_needed
from songbook.doctor.schema import check_constraints, check_schema, check_unlogged
from songbook.doctor.statistics import check_statistics, check_transactions
from songbook.lists.pages import lists_in
from songbook.models import SEARCH_TEXT
from tests.samples import resources
from tests.samples.resources.books import Book
from tests.samples.settings import Settings
from tests.samples.tables import Stored
from tests.support.databases import beside, execute, locked, waiting

SECRET = "k3S8-wq0Zr5NfT1xYb7LuE9cVh2Ma6Dg"
PRODUCTION: dict[str, Any] = {
    "environment": "prod",
    "oauth_token_secret": SECRET,
    "database_url": "postgresql://nobody@127.0.0.1:1/nothing",
}

Examine = Callable[..., list[Finding]]


def subject(**settings: Any) -> Subject:
    """Return the sample with these settings."""
    routes = [route for router in resources.routers() for route in router.routes]
    given = Settings(**settings)
    return Subject(given, Stored.metadata, lists_in(routes, given))


@pytest.fixture
def examine(private_url: URL) -> Examine:
    """Give what runs a check after these statements, all of which are rolled back."""

    async def run(
        check: Check, statements: tuple[str, ...], options: dict[str, str], settings: dict[str, Any]
    ) -> list[Finding]:
        arguments = {"server_settings": options}
        engine = create_async_engine(private_url, poolclass=NullPool, connect_args=arguments)
        async with engine.connect() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)
            given = subject(**settings)
            return await connection.run_sync(lambda each: [*check(each, given)])

    def examine(
        check: Check, *statements: str, options: dict[str, str] | None = None, **settings: Any
    ) -> list[Finding]:
        return asyncio.run(run(check, statements, options or {}, settings))

    return examine


def assert_found(found: list[Finding], *expected: tuple[str, str]) -> None:
    """Assert that the findings have these levels, and contain these words."""
    assert [each.level for each in found] == [level for level, _ in expected], found
    for each, (_, words) in zip(found, expected, strict=True):
        assert words in each.message
        assert each.message.endswith(".")


IS_OK = [check_version, check_schema, check_constraints, check_unlogged, check_needed]
IS_OK += [check_statistics, check_transactions, check_indexes, check_clock, check_connections]
IS_OK += [check_locks]


def test_a_migrated_database_is_ok(examine: Examine) -> None:
    found = examine(lambda *arguments: [each for check in IS_OK for each in check(*arguments)])

    assert len(found) == len(IS_OK) + 2
    assert {each.level for each in found} == {OK}, found


BROKEN = [
    (check_schema, "DROP TABLE alembic_version", FAILURE, "no revision, and the code needs 1: run"),
    (check_schema, "DELETE FROM alembic_version", FAILURE, "revision none, and the code needs 1"),
    (check_schema, "UPDATE alembic_version SET version_num = 'f'", WARNING, "revision f, newer"),
    (
        check_constraints,
        "ALTER TABLE novel RENAME CONSTRAINT fk_novel_publisher_id_publisher TO mine",
        WARNING,
        "do not name mine of novel",
    ),
    (
        check_constraints,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_book_year'::regclass",
        FAILURE,
        "REINDEX INDEX CONCURRENTLY ix_book_year",
    ),
    (check_unlogged, "ALTER TABLE book SET UNLOGGED", FAILURE, "ALTER TABLE book SET LOGGED"),
    (check_time_zone, "SET TimeZone = 'Europe/Vienna'", FAILURE, "time zone Europe/Vienna"),
    (
        check_statistics,
        "ALTER TABLE book SET (autovacuum_enabled = false)",
        WARNING,
        "autovacuum is off for book",
    ),
]


NOT_VALID = (
    "ALTER TABLE book DROP CONSTRAINT ck_book_year",
    "ALTER TABLE book ADD CONSTRAINT ck_book_year CHECK (year > 0) NOT VALID",
)


def test_a_constraint_that_old_rows_may_violate_is_found(examine: Examine) -> None:
    found = examine(check_constraints, *NOT_VALID)

    assert_found(found, (WARNING, "ALTER TABLE book VALIDATE CONSTRAINT ck_book_year"))


@pytest.mark.parametrize(("check", "change", "level", "words"), BROKEN)
def test_a_change_of_the_database_is_found(
    examine: Examine, check: Check, change: str, level: str, words: str
) -> None:
    assert_found(examine(check, change), (level, words))


DRIFT = (
    f"CREATE OR REPLACE FUNCTION {SEARCH_TEXT} RETURNS text LANGUAGE sql AS 'SELECT $1'",
    "ALTER TABLE book DROP CONSTRAINT ck_book_year",
    "DROP TRIGGER next_version ON book",
)


def test_a_schema_that_differs_from_the_models_is_found_without_a_write(examine: Examine) -> None:
    constraints = len(Book.metadata.tables["book"].constraints)

    found = examine(check_schema, *DRIFT, "SET TRANSACTION READ ONLY")

    assert_found(found, (OK, "revision 1"), (FAILURE, "The schema differs from the models ("))
    for difference in ("replace_function search_text(text)", "add_constraint", "next_version"):
        assert difference in found[1].message
    assert len(Book.metadata.tables["book"].constraints) == constraints


ROLE = "CREATE ROLE doctored"
USE = "SET LOCAL ROLE doctored"
RIGHTS = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO doctored"
NO_TABLES = (
    "DO $$BEGIN EXECUTE"
    " format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()); END$$"
)


def test_the_rights_that_a_role_lacks_are_found(examine: Examine) -> None:
    reduced = ("REVOKE DELETE ON book FROM doctored", "CREATE SEQUENCE count OWNED BY book.id")
    unseen = ("REVOKE USAGE ON SCHEMA public FROM PUBLIC", USE)

    assert_found(examine(check_needed, ROLE, RIGHTS, USE), (OK, "may do all"))
    assert_found(
        examine(check_needed, ROLE, RIGHTS, *reduced, NO_TABLES, USE),
        (FAILURE, "GRANT DELETE ON book TO doctored"),
        (FAILURE, "GRANT USAGE ON SEQUENCE count TO doctored"),
        (FAILURE, "GRANT TEMPORARY ON DATABASE"),
    )
    assert_found(examine(check_needed, ROLE, *unseen), (FAILURE, "GRANT USAGE ON SCHEMA"))


def test_in_production_a_role_should_not_be_able_to_change_the_schema(examine: Examine) -> None:
    owner = "ALTER TABLE book OWNER TO doctored"
    creator = "GRANT CREATE ON SCHEMA public TO doctored"

    assert_found(examine(check_excess), (OK, "is a superuser, which production does"))
    assert_found(examine(check_excess, **PRODUCTION), (WARNING, "is a superuser: let another"))
    for change, power in ((owner, "owns 1 of the tables"), (creator, "may create tables")):
        found = examine(check_excess, ROLE, change, USE, **PRODUCTION)
        assert_found(found, (WARNING, f"doctored {power}"))
    found = examine(check_excess, ROLE, USE, **PRODUCTION)
    assert_found(found, (OK, "doctored may not change the schema"))


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (0.0, OK, "The clocks differ by"),
        (3.0, WARNING, "differs from the database's by +3.0 s"),
        (-60.0, FAILURE, "differs from the database's by -60.0 s"),
    ],
)
def test_a_clock_that_is_off_is_found(
    examine: Examine, ahead: float, level: str, words: str
) -> None:
    check = partial(check_clock, now=lambda: time.time() + ahead)

    assert_found(examine(check), (OK, "responds within"), (level, words))


def test_what_a_crash_may_lose_is_found(examine: Examine) -> None:
    found = examine(check_durability, options={"synchronous_commit": "off"})

    lost = [each for each in found if each.message.startswith("synchronous_commit is off")]
    assert_found(lost, (FAILURE, "a crash loses writes that were acknowledged"))


def test_a_session_without_timeouts_and_one_that_ends_too_early_are_found(
    examine: Examine,
) -> None:
    bounds = {"lock_timeout": "1s", "statement_timeout": "1s"}
    bounds |= {"idle_in_transaction_session_timeout": "1s", "client_connection_check_interval": "1"}

    assert_found(examine(check_timeouts, options=bounds), (OK, "have timeouts"))
    assert_found(
        examine(check_timeouts, options=bounds | {"lock_timeout": "0"}),
        (WARNING, "run ALTER ROLE … SET lock_timeout = '1200ms'."),
    )
    ended = bounds | {"idle_session_timeout": "1min", "transaction_timeout": "10s"}
    assert_found(
        examine(check_timeouts, options=ended),
        (WARNING, "SET idle_session_timeout = 0"),
        (WARNING, "ends imports and exports after 10 s"),
    )


def test_a_database_that_refuses_writes_is_found(examine: Examine) -> None:
    found = examine(check_version, options={"default_transaction_read_only": "on"})

    assert_found(found, (OK, "is supported"), (FAILURE, "Transactions are read-only"))


def test_pools_that_need_more_connections_than_there_are_are_found(examine: Examine) -> None:
    limited = (ROLE, "ALTER ROLE doctored CONNECTION LIMIT 21", USE)

    assert_found(examine(check_connections, pool_size=1000), (FAILURE, "times POOL_SIZE=1000"))
    assert_found(examine(check_connections, *limited), (WARNING, "20 connections of 21"))


def test_a_locale_with_other_orders_and_an_older_collation_are_found(
    server: URL, private_url: URL, examine: Examine
) -> None:
    name = f"other_{private_url.database}"
    locale = "ENCODING SQL_ASCII LOCALE_PROVIDER libc LOCALE 'C'"
    execute(server, f'CREATE DATABASE "{name}" TEMPLATE template0 {locale}')
    other = create_async_engine(private_url.set(database=name), poolclass=NullPool)

    async def run() -> list[Finding]:
        async with other.connect() as connection:
            return await connection.run_sync(lambda each: [*check_text(each, subject())])

    try:
        found = asyncio.run(run())
    finally:
        execute(server, f'DROP DATABASE "{name}"')
    older = "UPDATE pg_database SET datcollversion = '0' WHERE datname = current_database()"

    assert_found(found, (FAILURE, "encoding is SQL_ASCII"), (WARNING, "The locale is C of libc"))
    assert_found(
        examine(check_text, older), (OK, "C.UTF-8"), (WARNING, "made with version 0 of the")
    )


def test_tables_without_statistics_and_full_of_dead_rows_are_found(
    examine: Examine, private_url: URL
) -> None:
    rows = "INSERT INTO note (content) SELECT 'a' FROM generate_series(1, 1500)"
    flush = "SELECT pg_stat_force_next_flush()"
    execute(private_url, "ALTER TABLE note SET (autovacuum_enabled = false)", rows, flush)
    filled = examine(check_statistics)
    execute(private_url, "DELETE FROM note WHERE id NOT IN (SELECT id FROM note LIMIT 500)", flush)
    execute(private_url, "ANALYZE note")

    off = (WARNING, "autovacuum is off for note")
    assert_found(filled, off, (WARNING, "note was never analyzed"))
    assert_found(examine(check_statistics), off, (WARNING, "dead rows beside 500 living ones"))
    execute(private_url, "ALTER TABLE note RESET (autovacuum_enabled)", "VACUUM note")


def test_old_transactions_and_rows_are_found(examine: Examine, private_url: URL) -> None:
    async def run() -> list[Finding]:
        engine = create_async_engine(private_url, poolclass=NullPool)
        async with engine.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")
            check = partial(check_transactions, old_seconds=0, old_ids=0)
            return await asyncio.to_thread(examine, check)

    found = asyncio.run(run())

    assert_found(found, (WARNING, "SELECT pg_terminate_backend("), (WARNING, "VACUUM (FREEZE)"))


def test_a_session_that_others_wait_for_is_found(examine: Examine, private_url: URL) -> None:
    async def run() -> list[Finding]:
        async with beside(private_url) as second, beside(private_url) as third:
            async with locked(private_url, "note") as lock:
                asking = [
                    asyncio.create_task(each.exec_driver_sql("SELECT FROM note"))
                    for each in (second, third)
                ]
                await waiting(lock, 2)
                while (found := await asyncio.to_thread(examine, check_locks))[0].level == OK:
                    assert len(found) == 1  # it is no news that one waits for half a second
            await asyncio.gather(*asking)
        return found

    assert_found(asyncio.run(run()), (WARNING, "2 sessions wait for a lock of the transaction"))


FILLED = (
    "INSERT INTO book (name, author) VALUES ('a', 'b'), ('c', 'd')",
    "INSERT INTO note (content) VALUES ('a'), ('b')",
    "ANALYZE book, note",
)


def test_a_large_table_lacks_the_indexes_of_the_orders_and_filters_that_its_list_offers(
    examine: Examine,
) -> None:
    check = partial(check_indexes, min_rows=2)

    books, notes = examine(check, *FILLED)
    statement = books.message.partition("into the revision ")[2].removesuffix(".")
    made = [
        statement.replace(" CONCURRENTLY", "").replace("name", field)
        for field in ("name", "author")
    ]
    found = examine(check, *FILLED, *made)

    assert books.level == notes.level == WARNING
    assert "/books has 2 rows and reads them all to sort by name, author or filter" in books.message
    assert statement == "CREATE INDEX CONCURRENTLY ix_book_name ON book (name, id)"
    assert "sort by updated_at" in notes.message
    assert notes.message.endswith("ON note (updated_at, id) WHERE deleted_at IS NULL.")
    assert [each.message.split()[0] for each in found] == ["/notes"]


def test_what_production_refuses_is_found_in_every_environment() -> None:
    unsafe: dict[str, Any] = {"debug": True, "forwarded_allow_ips": "*", "pool_size": 3}
    expected = ["OAUTH_TOKEN_SECRET is missing", "DEBUG exposes", "FORWARDED_ALLOW_IPS=* trusts"]
    unset: dict[str, Any] = {"database_url": None, "oauth_token_secret": None}
    few = (WARNING, "POOL_SIZE=3 lets slow lists")

    found = check_settings(subject(workers=2, **unset, **unsafe))
    assert_found(found, *((WARNING, each) for each in expected), few, (WARNING, "not for WORKERS"))
    found = check_settings(subject(**PRODUCTION | {"oauth_token_secret": None}, **unsafe))
    assert_found(found, *((FAILURE, each) for each in expected), few)
    assert_found(check_settings(subject(**PRODUCTION)), (OK, "safe for production"))


def test_revisions_with_two_heads_are_found(tmp_path: Path) -> None:
    class Elsewhere(Settings):
        """Settings of a service in another directory."""

        directory = tmp_path

    there = Subject(Elsewhere(), Stored.metadata, [])
    assert_found([*check_scripts(there)], (WARNING, "There are no revisions"))
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    for name in ("a", "b"):
        (versions / f"{name}.py").write_text(f"revision = '{name}'\ndown_revision = None\n")

    assert_found([*check_scripts(there)], (FAILURE, "have 2 heads (a, b)"))


def test_a_disk_without_room_for_an_import_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = tmp_path / "postgres"

    small = [*check_disk(subject(database_url=None, postgres_data=data, import_bytes=1024))]

    assert_found(small[:1], (OK, f"{tmp_path} has "))
    assert f"{tmp_path} has " in small[1].message
    found = check_space(tmp_path, "an import", 2**60, "free some space")
    assert_found([found], (WARNING, "too little for an import: free some space"))
