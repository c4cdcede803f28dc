"""The service on real PostgreSQL: a server for a run, a database for a worker, a clean slate."""

import asyncio
import fcntl
import itertools
import json
import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType
from typing import Any, NamedTuple

import hypothesis
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import NullPool, insert, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from app import __main__, resources
from app.main import create_app
from app.resources.users import User
from app.settings import Settings
from songbook.auth import passwords, tokens
from songbook.models.discovery import family
from songbook.models.tables import table_of

PROJECT = Path(__file__).parents[1]
HASHER = passwords.hasher
"""The service's own, before this run puts a cheaper one in its place."""

PASSWORD = "correct-horse-battery"
"""What every password of these tests begins with, so that it is found wherever it leaks."""

SECRETS = re.compile(
    rf"{PASSWORD}"
    r"|\$argon2"
    r"|\beyJ[\w-]+\.[\w-]+\."  # a JSON Web Token
    r"|://[^\s:@/]*:(?!\*\*\*@)[^\s@/]+@"  # the password of a URL
)

# What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

slow = pytest.mark.skipif(
    os.environ.get("SLOW_TESTS") != "1", reason="takes many seconds: ask with SLOW_TESTS=1"
)
"""Marks a test that is for CI, so that a run on the way stays short."""

# The examples of a test share its fixtures, and lay out their own rows; a machine may be busy.
hypothesis.settings.register_profile(
    "songbook",
    deadline=None,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
hypothesis.settings.load_profile("songbook")


class Resource:
    """A resource as its classes describe it, and bodies that fit it, each unlike all others."""

    def __init__(self, name: str, module: ModuleType) -> None:
        self.name = name
        self.path: str = module.router.prefix
        self.table, self.create, self.update, self.public = family(module)
        schema = self.create.model_json_schema()
        self.required: list[str] = schema["required"]
        self.fields = {name: kinds(field) for name, field in schema["properties"].items()}
        self.defaults = {
            name: field["default"]
            for name, field in schema["properties"].items()
            if name in self.public.model_fields and "default" in field
        }
        self.is_protected = {route.rule.name for route in module.router.routes} - {"open"} != set()
        self._numbers = itertools.count(1)

    def body(self, **given: Any) -> dict[str, Any]:
        """Return a body with every field."""
        return {name: self.value(name) for name in self.fields} | given

    def value(self, name: str) -> Any:
        """Return a value of a field; the types that are not here yet have to be added."""
        kind, number = self.fields[name], next(self._numbers)
        if kind.get("string", {}).get("format") == "password":
            return f"{PASSWORD}{number}"
        if "integer" in kind:
            low, high = kind["integer"]["minimum"], kind["integer"]["maximum"]
            return low + number % (high - low)
        if "boolean" in kind:
            return number % 2 == 0
        if "string" in kind:
            texts = (
                f"{name} {number}",
                f"{name}{number}",
                f"{name}-{number}",
                f"{name}{number}@x.org",
            )
            short = kind["string"].get("minLength", 0)
            fitting = (text.ljust(short, ".") for text in texts)
            return next(text for text in fitting if re.search(kind["string"]["pattern"], text))
        raise NotImplementedError(kind)

    def shown(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return those of the fields that a client is shown; a password is not among them."""
        return {name: fields[name] for name in fields if name in self.public.model_fields}

    def told(self, answer: Response) -> dict[str, Any]:
        """Return what an answer tells of the fields that a client writes, and the id."""
        told: dict[str, Any] = answer.json()
        return {name: value for name, value in told.items() if name in {"id", *self.fields}}

    async def page(self, client: AsyncClient, path: str = "", **parameters: Any) -> Response:
        """Ask for a page of the list, oldest first, without the row of who asks."""
        asked = {"sort": "id", "id_lt": PRINCIPAL, **parameters}
        return await client.get(path or self.path, params=asked)

    def rows(self, page: Response) -> list[dict[str, Any]]:
        """Return the rows of a page, whichever form the resource gives it."""
        listed: Any = page.json()
        rows: list[dict[str, Any]] = listed["items"] if isinstance(listed, dict) else listed
        return rows

    async def add(self, client: AsyncClient, **given: Any) -> Response:
        """Store a record; return the answer."""
        answer = await client.post(self.path, json=self.body(**given))
        assert answer.status_code == 201, answer.text
        return answer


PRINCIPAL = 10**12
"""The id of the superuser who asks for what not everyone is told."""


def kinds(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the schemas that a field allows by their types: integer, string, null."""
    return {kind["type"]: kind for kind in schema.get("anyOf", [schema])}


RESOURCES = [Resource(name, module) for name, module in resources.modules().items()]


@pytest.fixture(params=RESOURCES, ids=lambda resource: resource.name)
def resource(request: pytest.FixtureRequest) -> Resource:
    """Give each resource in turn."""
    found: Resource = request.param
    return found


def assert_problem(answer: Response, status: int, slug: str | None = None) -> dict[str, Any]:
    """Assert that an answer is the one shape that every failure has; return its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    problem: dict[str, Any] = answer.json()
    assert set(problem) - {"errors", "report"} == {
        "type",
        "title",
        "status",
        "detail",
        "instance",
        "request_id",
    }
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert slug is None or problem["type"] == f"/problems/{slug}"
    return problem


def assert_headers(answer: Response, cache: str = "no-cache") -> None:
    """Assert that an answer has the headers that every answer has, each of them once.

    `cache` is what it says to caches when it is no failure.
    """
    names = [name.lower() for name, _ in answer.headers.raw]
    assert len(set(names)) == len(names)
    assert re.fullmatch("[A-Za-z0-9._-]{1,64}", answer.headers["x-request-id"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == (cache if answer.status_code < 400 else "no-store")
    assert "server" not in answer.headers


def assert_discreet(text: str) -> None:
    """Assert that what a process tells holds no token, no password, no hash of one."""
    if found := SECRETS.search(text):
        lines = text[: found.start()].count("\n")
        pytest.fail(f"line {lines + 1} tells a secret: {text.splitlines()[lines]}")


async def assert_discreet_answer(answer: Response) -> None:
    """Assert that an answer tells no password and no hash; only a login is given a token."""
    text = (await answer.aread()).decode(errors="replace")
    assert "$argon2" not in text
    named = text.replace('"pointer":"/hashed_password', "")  # they sent it
    if answer.is_success:  # rows may have any text
        named = "".join(re.findall(r'\A[^{\[].*|"hashed_password":', text))
    assert "hashed_password" not in named
    assert PASSWORD not in text
    kind, path = answer.headers.get("content-type", ""), answer.request.url.path
    if answer.is_success and text and kind == "application/json" and path != "/openapi.json":
        told = [name for name in names_in(json.loads(text)) if re.search("(?i)password|hash", name)]
        assert told == []


def names_in(value: Any) -> Iterator[str]:
    """Give the names of all members of all objects in a JSON value."""
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from names_in(part)


class Leaks(logging.Handler):
    """Keeps the records of the log that tell a secret."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a record as it would be written, with its traceback."""
        text = self.format(record)
        if SECRETS.search(text):
            self.found.append(text)


LEAKS = Leaks()


@pytest.fixture(autouse=True)
def discreet_log() -> Iterator[None]:
    """Fail the test during which the log, as verbose as it can be, was told a secret."""
    LEAKS.found.clear()
    root, ours = logging.getLogger(), logging.getLogger("songbook")
    level = ours.level
    root.addHandler(LEAKS)  # each time anew: some tests configure the logging of their own
    ours.setLevel(logging.DEBUG)
    yield
    ours.setLevel(level)
    root.removeHandler(LEAKS)
    assert LEAKS.found == []


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run the tests on the event loop that serves."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> Iterator[None]:
    """Make passwords' hashes cheap in this process: a run makes hundreds."""
    cheap = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passwords, "hasher", PasswordHash([cheap]))
        yield


@pytest.fixture(scope="session")
def run_folder(testrun_uid: str) -> Iterator[Path]:
    """Give a folder that all workers of this run share.

    It is not one of pytest's, which another run of root's would make private again.
    """
    folder = Path(tempfile.gettempdir()) / f"songbook-tests-{testrun_uid}"
    folder.mkdir(mode=0o711, exist_ok=True)
    yield folder
    if not (folder / "postgres" / "cluster" / "postmaster.pid").exists():  # nobody uses it any more
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(run_folder: Path) -> Iterator[URL]:
    """Give the URL of the PostgreSQL of this run: that of DATABASE_URL, else an embedded one."""
    given = Settings().url
    if given is not None:
        yield given
        return
    from songbook.db import embedded

    folder = run_folder / "postgres"
    yield make_url(embedded.attach(folder, durable=False))
    embedded.detach(folder)


@pytest.fixture(scope="session")
def template(server: URL, run_folder: Path, testrun_uid: str) -> Iterator[URL]:
    """Give the URL of a migrated, empty database, made once in a run."""
    url = server.set(database=f"template_{testrun_uid[:12]}")
    with (run_folder / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (run_folder / "template.done").exists():
            create_database(server, url.database)
            run_app("migrate", DATABASE_URL=spelled(url))
            (run_folder / "template.done").touch()
    yield url
    if Settings().url is not None:  # the embedded server goes with all that it has
        execute(server, f'DROP DATABASE IF EXISTS "{url.database}" WITH (FORCE)')


@pytest.fixture(scope="session")
def database_url(server: URL, template: URL, worker_id: str) -> Iterator[URL]:
    """Give the URL of a migrated database of this worker's own."""
    name = f"{template.database}_{worker_id}".replace("template", "worker")
    create_database(server, name, template.database)
    yield server.set(database=name)
    execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def scratch_url(server: URL) -> Iterator[URL]:
    """Give the URL of an empty database for one test."""
    name = f"scratch_{secrets.token_hex(6)}"
    create_database(server, name)
    yield server.set(database=name)
    execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def migrated_url(server: URL, template: URL) -> Iterator[URL]:
    """Give the URL of a migrated, empty database for one test."""
    name = f"migrated_{secrets.token_hex(6)}"
    create_database(server, name, template.database)
    yield server.set(database=name)
    execute(server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def guarded_url(migrated_url: URL, run_folder: Path) -> Iterator[URL]:
    """Give the URL of a role that is asked for its password: characters with a meaning in URLs."""
    role, password = f"role_{secrets.token_hex(6)}", 'p%40@:/?#[]&=+ $"\\é'
    execute(migrated_url, f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD '{password}'")
    guarded = migrated_url.set(username=role, password=password)
    asked = [f"local all {role} scram-sha-256", f"host all {role} all scram-sha-256"]
    set_authentication(migrated_url, run_folder, role, asked)
    deadline = time.monotonic() + 10
    while not is_refused(guarded.set(password="another")):  # a reload takes its time
        assert time.monotonic() < deadline, "waited in vain"
    yield guarded
    set_authentication(migrated_url, run_folder, role, [])
    execute(migrated_url, f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


def is_refused(url: URL) -> bool:
    """Tell whether PostgreSQL refuses the password."""
    try:
        execute(url, "SELECT 1")
    except DBAPIError as error:
        return "authentication failed" in str(error)
    return False


def set_authentication(url: URL, run_folder: Path, role: str, lines: list[str]) -> None:
    """Make these the lines of pg_hba.conf about a role."""
    with (run_folder / "hba.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        [(path,)] = execute(url, "SHOW hba_file")
        execute(
            url,
            "CREATE TEMP TABLE hba AS SELECT n, line FROM"
            f" string_to_table(pg_read_file('{path}'), chr(10)) WITH ORDINALITY AS file (line, n)"
            f" WHERE line NOT LIKE '%{role}%'",
            *(f"INSERT INTO hba VALUES (0, '{line}')" for line in lines),
            f"COPY (SELECT line FROM hba ORDER BY n) TO '{path}'",
            "SELECT pg_reload_conf()",
        )


@pytest.fixture(scope="session")
async def app(database_url: URL) -> AsyncIterator[FastAPI]:
    """Give the running service on this worker's database."""
    app = create_app(Settings(database_url=spelled(database_url)))
    async with app.router.lifespan_context(app):
        yield app


# TRUNCATE makes every table and index anew, which takes 31 ms; this takes 2 ms. No trigger objects.
EMPTY = r"""
DO $$
DECLARE found text;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR found IN SELECT tablename FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
        EXECUTE format('DELETE FROM %I', found);
    END LOOP;
    FOR found IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' LOOP
        PERFORM setval(found\:\:regclass, 1, false);
    END LOOP;
END
$$
"""


@pytest.fixture
async def client(app: FastAPI, request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    """Give a client of the service, whose tables are empty.

    In a test of each resource it sends the token of a superuser where the resource asks for one.
    """
    async with app.state.database.engine.begin() as connection:
        await connection.execute(text(EMPTY))
    client = client_of(app)
    if "resource" in request.fixturenames:
        tested = request.getfixturevalue("resource")
        if isinstance(tested, Resource) and tested.is_protected:
            client.headers["Authorization"] = await sign_in(app)
    async with client:
        yield client


async def add_user(superuser: AsyncClient, name: str, **given: Any) -> Response:
    """Store a user of this name, whose password is the one that all have; return the answer."""
    user = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    answer = await superuser.post("/users", json=user | given)
    assert answer.status_code == 201, answer.text
    return answer


async def log_in(client: AsyncClient, name: str, password: str = PASSWORD) -> Response:
    """Ask for a token."""
    return await client.post("/api/auth/token", data={"username": name, "password": password})


async def signed_in(app: FastAPI, name: str, password: str = PASSWORD) -> AsyncClient:
    """Return a client that sends the token of whoever has this name and this password."""
    client = client_of(app)
    answer = await log_in(client, name, password)
    assert answer.status_code == 200, answer.text
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return client


def client_of(app: FastAPI, address: str = "127.0.0.1", **headers: str) -> AsyncClient:
    """Return a client at an address, whose answers are looked through for secrets."""
    return AsyncClient(
        transport=ASGITransport(app, client=(address, 123)),
        base_url="http://songbook",
        headers=headers,
        event_hooks={"response": [assert_discreet_answer]},
    )


async def sign_in(app: FastAPI, id: int = PRINCIPAL, *, is_superuser: bool = True) -> str:
    """Store a user; return the Authorization header that says that he sends a request."""
    email = f"user{id}@example.org"
    user = {"id": id, "email": email, "username": f"user{id}", "slug": f"user{id}"}
    values = {**user, "hashed_password": "none", "is_superuser": is_superuser}
    async with app.state.database.engine.begin() as connection:
        await connection.execute(insert(table_of(User)).values(values))
    secret = app.state.settings.token_secret
    return f"Bearer {tokens.issue(secret, email, time.time(), minutes=5)}"


@pytest.fixture
async def superuser(
    app: FastAPI,
    client: AsyncClient,  # noqa: ARG001 - it empties the tables
) -> AsyncIterator[AsyncClient]:
    """Give a client that sends the token of a superuser, the only one."""
    async with client_of(app, Authorization=await sign_in(app)) as superuser:
        yield superuser


@pytest.fixture
async def session(
    app: FastAPI,
    client: AsyncClient,  # noqa: ARG001 - it empties the tables
) -> AsyncIterator[AsyncSession]:
    """Give a database session beside the service's own."""
    async with app.state.database.session() as session:
        yield session


async def waiting(connection: AsyncConnection, number: int) -> None:
    """Return when so many statements of this database wait for a lock; fail after five seconds."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(5):
        while (await connection.scalar(query) or 0) < number:
            await connection.execute(text("SELECT pg_stat_clear_snapshot()"))


def run_app(*arguments: str, check: bool = True, **environment: str) -> CompletedProcess[str]:
    """Run `python -m app` with these arguments, and these environment variables."""
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=check,
    )


class Outcome(NamedTuple):
    """What a command answered: its exit code, what it printed, and the lines it told on stderr."""

    code: int
    printed: str
    told: list[str]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Give `python -m app` run in this process: as `run_app`, a second faster."""

    def run(*arguments: str, **environment: str) -> Outcome:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["app", *arguments])
        code: str | int | None = 0
        try:
            __main__.cli()
        except SystemExit as end:
            code = end.code
        printed, told = capsys.readouterr()
        lines = told.splitlines() + ([code] if isinstance(code, str) else [])
        return Outcome(1 if isinstance(code, str) else code or 0, printed, lines)

    return run


def spelled(url: URL) -> str:
    """Return a URL as DATABASE_URL has it."""
    return url.render_as_string(hide_password=False)


def execute(url: URL, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements outside of a transaction; return the rows of the last one."""

    async def run() -> list[tuple[Any, ...]]:
        engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as connection:
                for statement in statements:
                    answer = await connection.execute(text(statement))
                return [tuple(row) for row in answer] if answer.returns_rows else []
        finally:
            await engine.dispose()

    with ThreadPoolExecutor(1) as outside_of_any_loop:
        return outside_of_any_loop.submit(asyncio.run, run()).result()


def create_database(server: URL, name: str | None, template: str | None = "template0") -> None:
    """Create a database whose text sorts and folds as everywhere: by code point, by Unicode."""
    locale = "ENCODING UTF8 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
    execute(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}" {locale}')


def has_server(folder: Path) -> bool:
    """Tell whether any process of the folder's PostgreSQL lives: each holds this lock."""
    try:
        with (folder / "server").open("rb") as server:
            fcntl.flock(server, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for a condition, for twenty seconds at most."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
