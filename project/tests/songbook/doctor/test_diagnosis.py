"""All checks together, also of a database that is away, behind PgBouncer, or that stops them."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.engine import URL

from songbook.doctor.database import check_version
from songbook.doctor.diagnosis import diagnose, examine
from songbook.doctor.findings import FAILURE, OK, WARNING, Finding, Subject
from tests.samples.settings import Settings
from tests.samples.tables import Stored
from tests.support.databases import spelled
from tests.support.marks import slow
from tests.support.pgbouncer import WITHOUT_CACHE, behind_pgbouncer, bouncer
from tests.support.processes import NOWHERE, SECRET, Outcome


def subject(url: URL | str | None) -> Subject:
    """Return the sample on a database."""
    given = spelled(url) if isinstance(url, URL) else url
    return Subject(Settings(database_url=given), Stored.metadata, [])


def run(statement: str) -> Callable[[Connection, Subject], Iterator[Finding]]:
    """Return a check that runs a statement."""

    def check_statement(connection: Connection, _subject: Subject) -> Iterator[Finding]:
        connection.exec_driver_sql(statement)
        yield Finding(OK, "The statement was run.")

    return check_statement


def test_a_database_that_is_away_is_one_failure_after_the_checks_without_it() -> None:
    report = diagnose(subject(NOWHERE))

    assert report.keys() == {"Settings", "Revisions", "Disk", "Database"}
    [found] = report["Database"]
    assert found.level == FAILURE
    assert found.message.startswith("Cannot connect to PostgreSQL at 127.0.0.1:1: start it or")
    assert SECRET not in str(report)


def test_an_embedded_database_that_is_missing_is_not_created(tmp_path: Path) -> None:
    given = Settings(database_url=None, postgres_data=tmp_path / "postgres")

    report = diagnose(Subject(given, Stored.metadata, []))

    assert [each.level for each in report["Database"]] == [FAILURE]
    assert "has no database yet: run the command migrate" in report["Database"][0].message
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("CREATE TABLE mine ()", "cannot execute CREATE TABLE in a read-only transaction"),
        ("DELETE FROM book", "cannot execute DELETE in a read-only transaction"),
        pytest.param("SELECT pg_sleep(5)", "statement timeout", marks=slow),
    ],
)
def test_a_check_that_writes_or_takes_long_is_stopped_and_the_others_are_not(
    database_url: URL, statement: str, reason: str
) -> None:
    checks = {"Database": (run(statement), check_version)}

    report = asyncio.run(examine(database_url, subject(database_url), checks))

    connected, stopped, version = report["Database"]
    assert (connected.level, stopped.level, version.level) == (OK, WARNING, OK)
    assert stopped.message.startswith("check_statement was stopped (")
    assert reason in stopped.message


def test_a_connection_that_is_lost_ends_the_checks_with_a_failure(database_url: URL) -> None:
    checks = {"Role": (run("SELECT pg_terminate_backend(pg_backend_pid())"), check_version)}

    report = asyncio.run(examine(database_url, subject(database_url), checks))

    assert [each.level for each in report["Database"]] == [OK, FAILURE]
    assert report["Database"][1].message.startswith("The checks were stopped (")
    assert report["Role"] == []


@slow
@behind_pgbouncer
@pytest.mark.processes
def test_a_pooler_in_between_is_found_and_what_it_loses(migrated_url: URL) -> None:
    with bouncer(migrated_url) as url:
        lossy = diagnose(subject(url))
        whole = diagnose(subject(url.update_query_dict(WITHOUT_CACHE)))
    with bouncer(migrated_url, ignored=["lock_timeout"]) as url:
        refused = diagnose(subject(url))["Database"]

    text = "A pooler in transaction mode is in between"
    failed, passed = lossy["Database"][0], whole["Database"][0]
    assert (failed.level, passed.level) == (FAILURE, OK)
    assert failed.message.startswith(f"{text} and loses prepared statements: append ?prepared_st")
    assert passed.message.startswith(f"{text}: run `migrate` with a DATABASE_URL that leads direct")
    timeouts = [each for each in whole["Database"] if "lock_timeout" in each.message]
    assert [each.level for each in timeouts] == [WARNING]
    assert "SET statement_timeout = '5s'; ALTER ROLE" in timeouts[0].message
    [found] = refused
    assert found.level == FAILURE
    assert "is behind a PgBouncer that refuses the timeouts of the service" in found.message


def test_the_command_prints_lines_or_json_and_exits_with_1_for_a_failure(
    command: Callable[..., Outcome],
) -> None:
    failed = command("doctor", DATABASE_URL=NOWHERE)
    as_json = command("doctor", "--json", DATABASE_URL=NOWHERE)

    lines = failed.printed.splitlines()
    rows = json.loads(as_json.printed)
    assert failed.code == as_json.code == 1
    assert lines[:2] == ["Settings", f"  warning {rows[0]['message']}"]
    assert lines[-2].startswith("  failure Cannot connect to PostgreSQL at 127.0.0.1:1:")
    assert lines[-1] == "2 ok, 1 warning, 1 failure."
    assert [row["level"] for row in rows] == [WARNING, OK, OK, FAILURE]
    assert rows[-1]["group"] == "Database"
    assert SECRET not in failed.printed + as_json.printed
