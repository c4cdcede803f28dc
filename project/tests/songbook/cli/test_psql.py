"""The commands `psql` and `dump`: PostgreSQL's own clients on the database of the service."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

from songbook.cli.psql import client_environment
from songbook.db import embedded
from tests.support.databases import execute, spelled
from tests.support.marks import slow
from tests.support.paths import PROJECT
from tests.support.processes import NOWHERE, Outcome
from tests.support.services import SAMPLES
from tests.support.waiting import wait_until


@slow
@pytest.mark.processes
def test_psql_is_on_the_database_and_no_argument_shows_the_password(guarded_url: URL) -> None:
    seen = r"\! tr '\000' ' ' </proc/$PPID/cmdline"
    arguments = ("-At", "-c", "SELECT current_user, current_database()", "-c", seen)
    ended = SAMPLES.run("psql", *arguments, check=False, DATABASE_URL=spelled(guarded_url))

    place, line = ended.stdout.splitlines()
    assert place == f"{guarded_url.username}|{guarded_url.database}"
    assert "psql -At -c SELECT" in line
    assert str(guarded_url.password) not in ended.stdout
    assert (ended.returncode, ended.stderr) == (0, "")


def test_without_psql_the_command_says_what_to_install(
    command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded, "MAJOR", "0")  # of which the wheel has no programs
    outcome = command("psql", DATABASE_URL=NOWHERE, PATH=str(tmp_path))

    assert (outcome.code, outcome.printed, len(outcome.told)) == (1, "", 1)
    assert outcome.told[0].startswith("samples: psql is not installed: install the client of ")


def test_a_database_that_is_away_is_said_in_one_line(command: Callable[..., Outcome]) -> None:
    outcome = command("psql", "-c", "SELECT 1", DATABASE_URL=NOWHERE)

    assert (outcome.code, outcome.printed, len(outcome.told)) == (1, "", 1)
    assert outcome.told[0].startswith("samples: cannot connect to PostgreSQL at 127.0.0.1:1: ")


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("me:p%40@db:5433/foo", "PGHOST=db PGPORT=5433 PGUSER=me PGPASSWORD=p@ PGDATABASE=foo"),
        ("postgres@/foo?host=/run/pg&port=5432", "PGHOST=/run/pg PGPORT=5432 PGUSER=postgres"),
        ("/foo?host=a:1&host=b:2", "PGHOST=a,b PGPORT=1,2"),
        ("db/foo?target_session_attrs=primary", "PGHOST=db PGTARGETSESSIONATTRS=primary"),
        ("db/foo?ssl=verify-full&passfile=/p", "PGSSLMODE=verify-full PGPASSFILE=/p"),
        ("db/foo?direct_tls=true&user=me", "PGSSLNEGOTIATION=direct PGUSER=me"),
    ],
)
def test_the_url_is_what_libpq_reads_from_its_environment(
    monkeypatch: pytest.MonkeyPatch, url: str, variables: str
) -> None:
    inherited = {"PGSERVICE": "other", "PGHOSTADDR": "192.0.2.1", "PGCONNECT_TIMEOUT": "3"}
    for name, text in inherited.items():
        monkeypatch.setenv(name, text)

    environment = client_environment(make_url(f"postgresql+asyncpg://{url}"))

    expected = dict(each.split("=") for each in variables.split())
    assert environment.items() >= expected.items()
    assert environment["PGDATABASE"] == "foo"
    assert environment["PGCONNECT_TIMEOUT"] == "3"
    assert not {"PGSERVICE", "PGHOSTADDR"} & environment.keys()


@slow
@pytest.mark.processes
def test_a_dump_makes_the_same_database_of_an_empty_one(
    migrated_url: URL, scratch_url: URL, tmp_path: Path
) -> None:
    execute(migrated_url, "INSERT INTO towns (name, population) VALUES ('Tromsø', 77992)")
    file = str(tmp_path / "dump.sql")

    SAMPLES.run("dump", f"--file={file}", DATABASE_URL=spelled(migrated_url))
    restore = ("-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", file)
    SAMPLES.run("psql", *restore, DATABASE_URL=spelled(scratch_url))

    for each in (
        "SELECT name, population FROM towns",
        "SELECT version_num FROM alembic_version",
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname",
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname",
    ):
        assert execute(scratch_url, each) == execute(migrated_url, each) != []


@slow
@pytest.mark.processes
def test_ctrl_c_cancels_a_statement_of_psql_and_its_exit_code_is_the_command_s(
    migrated_url: URL,
) -> None:
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(99)%'"
    process = subprocess.Popen(
        [sys.executable, "-m", SAMPLES.package, "psql", "-v", "ON_ERROR_STOP=1", "-f", "-"],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": spelled(migrated_url)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdin
        process.stdin.write("SELECT pg_sleep(99);\n")
        process.stdin.flush()
        wait_until(lambda: execute(migrated_url, sleeping) == [(1,)])
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()

    assert "canceling statement due to user request" in told
    assert "Traceback" not in told
    assert process.returncode == 3
