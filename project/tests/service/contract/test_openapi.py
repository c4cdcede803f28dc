"""The OpenAPI document: what it says is what the service does."""

import asyncio
import json
import os
import re
import resource as resource_limits
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from hashlib import sha256
from threading import Thread
from typing import Any

import httpx
import jsonschema_rs
import pytest
import uvicorn
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import insert
from sqlalchemy.engine import URL
from sqlmodel import SQLModel

from app.main import create_app
from app.settings import Settings
from songbook.auth import passwords, tokens
from songbook.http.media_types import JSON
from songbook.models.field_types import TextType
from tests.support.clients import PRINCIPAL, sign_in
from tests.support.databases import execute, spelled
from tests.support.marks import slow
from tests.support.openapi import parameters_of, resolved
from tests.support.paths import PROJECT, ROOT
from tests.support.reports import written
from tests.support.resources import Resource

COMMITTED = ROOT / "docs" / "openapi.json"
SCHEMAS = "#/components/schemas/"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Return the document."""
    return create_app(Settings()).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give the method, the path and the description of every operation."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def test_the_committed_document_is_the_one_of_the_service(document: dict[str, Any]) -> None:
    expected = json.dumps(document, indent=2) + "\n"

    assert COMMITTED.read_text() == expected, "write it anew with: make openapi"


async def test_the_first_readers_get_the_same_bytes(database_url: URL) -> None:
    app = create_app(Settings(database_url=spelled(database_url)))
    async with AsyncClient(transport=ASGITransport(app), base_url="http://songbook") as client:
        answers = await asyncio.gather(*[client.get("/openapi.json") for _ in range(20)])

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json() == json.loads(COMMITTED.read_text())


def test_every_operation_and_parameter_is_explained(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert operation["description"].endswith("."), (method, path)
        assert operation["tags"], (method, path)
        for parameter in parameters_of(document, path, method.lower()):
            description = parameter.get("description", "")
            assert description.endswith("."), f"{path}: explain {parameter['name']}"
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_an_operation_asks_for_a_token_where_its_rule_does(document: dict[str, Any]) -> None:
    alternatives: list[dict[str, list[str]]] = [{"password": []}, {"token": []}]
    asking = {"signed-in", "superuser", "profile", "account", "owner"}

    for method, path, operation in operations(document):
        asks = operation["x-rule"] in asking
        assert asks or operation["x-rule"] in {"public", "open", "shared"}
        names = {each["name"] for each in parameters_of(document, path, method.lower())}
        optional = [{}, *alternatives] if "deleted" in names else []
        assert operation["security"] == (alternatives if asks else optional), (method, path)
        assert not asks or "401" in operation["responses"], (method, path)


def test_every_failure_is_a_problem_of_one_schema(document: dict[str, Any]) -> None:
    failures = [
        resolved(document, response)
        for _, _, operation in operations(document)
        for status, response in operation["responses"].items()
        if status == "default" or int(status) >= 400
    ]

    assert len(failures) > 20
    for method, path, operation in operations(document):
        assert operation["responses"].keys() >= {"500", "default"}, (method, path)
    for failure in failures:
        assert failure["content"] == {
            "application/problem+json": {"schema": {"$ref": SCHEMAS + "ProblemDetails"}}
        }
        assert "X-Request-ID" in failure["headers"]


def test_every_schema_is_one_and_every_example_fits_its_own(document: dict[str, Any]) -> None:
    schemas = list(document["components"]["schemas"].values())
    described = [
        content
        for _, _, operation in operations(document)
        for each in (operation.get("requestBody", {}), *operation["responses"].values())
        for content in resolved(document, each).get("content", {}).values()
    ]
    for method, path, _ in operations(document):
        described += parameters_of(document, path, method.lower())
    for each in described:
        schemas.append({**each["schema"], "components": document["components"]})
        if "example" in each:
            jsonschema_rs.validate(schemas[-1], each["example"])
    for schema in schemas:
        jsonschema_rs.meta.validate(schema)


def test_every_property_is_explained_and_none_has_null_as_its_default(
    document: dict[str, Any],
) -> None:
    for name, schema in document["components"]["schemas"].items():
        for member, each in schema["properties"].items():
            assert each["description"].endswith("."), (name, member)
    assert '"default": null' not in json.dumps(document)


def test_what_is_required_has_an_example_and_what_is_sent_once_has_none(
    document: dict[str, Any],
) -> None:
    """A key that two clients send is one request; `*` overwrites what nobody has seen."""
    for method, path, operation in operations(document):
        successes = [each for status, each in operation["responses"].items() if status < "300"]
        for described in (operation.get("requestBody", {}), *successes):
            for media_type, content in described.get("content", {}).items():
                assert "example" in content, (method, path, media_type)
        for parameter in parameters_of(document, path, method.lower()):
            assert not parameter.get("required") or "example" in parameter, (path, parameter)
    for name in ("Idempotency-Key", "If-Match", "If-None-Match"):
        assert "example" not in json.dumps(document["components"]["parameters"][name])


def own_members(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the members that a response has without `expand`."""
    members: dict[str, Any] = schema["properties"]
    expanded = "Only with `expand="
    return {
        name: each
        for name, each in members.items()
        if not each.get("description", "").startswith(expanded)
    }


def test_no_table_is_shown(document: dict[str, Any], resource: Resource) -> None:
    schemas = document["components"]["schemas"]

    assert resource.table.__name__ not in schemas
    assert list(own_members(schemas[resource.public.__name__])) == [*resource.public.model_fields]
    assert not any("version" in schema.get("properties", {}) for schema in schemas.values())


def test_a_change_may_leave_every_field_out_and_none_has_a_default(
    document: dict[str, Any], resource: Resource
) -> None:
    schemas = document["components"]["schemas"]
    created, changed = (schemas[model.__name__] for model in (resource.create, resource.update))

    assert "required" not in changed
    assert "default" not in json.dumps(changed)
    assert changed["properties"].keys() == created["properties"].keys()
    assert created["additionalProperties"] is changed["additionalProperties"] is False


def test_the_filters_are_those_of_the_public_fields(
    document: dict[str, Any], resource: Resource
) -> None:
    expected = {"limit", "sort", "after", "count", "fields", "If-None-Match"}
    if any(isinstance(field.type, TextType) for field in resource.fields.values()):
        expected.add("q")
    if "deleted_at" in resource.table.model_fields:
        expected.add("deleted")
    shown = own_members(document["components"]["schemas"][resource.public.__name__])
    public = {name: shown[name] for name in shown if name not in resource.computed}
    for name, schema in public.items():
        expected |= {name + comparison for comparison in comparisons(schema)}

    described = parameters_of(document, resource.path)

    names = {parameter["name"] for parameter in described}
    assert {name for name in names if "." not in name} - {"expand"} == expected
    [sort] = [parameter for parameter in described if parameter["name"] == "sort"]
    sortable = {name for name, schema in public.items() if is_short(schema)}
    pattern = sort["schema"]["pattern"]
    assert all(re.fullmatch(pattern, f"-{name},id") for name in sortable)
    assert not any(re.fullmatch(pattern, name) for name in {*public} - sortable)


def without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the values of a field, but for null."""
    kinds: list[dict[str, Any]] = schema.get("anyOf", [schema])
    [kind] = [each for each in kinds if each["type"] != "null"]
    return kind


def comparisons(schema: dict[str, Any]) -> list[str]:
    """Return what follows the name of a field in the names of its filters."""
    match without_null(schema):
        case {"type": "array"}:
            return ["_has"]
        case {"type": "object"}:
            return []
        case {"type": "boolean"} | {"enum": _} | {"format": "uuid"}:
            return ["", "_not"]
        case {"type": "string", "format": "date" | "date-time" | "partial-time" | "decimal"}:
            return ["", "_not", "_gt", "_gte", "_lt", "_lte"]
        case {"type": "string"}:
            return ["", "_not", "_contains", "_starts"]
    return ["", "_not", "_gt", "_gte", "_lt", "_lte"]


def is_short(schema: dict[str, Any]) -> bool:
    """Return whether a cursor can hold all values of a field."""
    kind = without_null(schema)
    is_text = kind["type"] == "string" and kind.get("format") != "decimal"
    return kind["type"] not in {"array", "object"} and (
        not is_text or kind.get("maxLength", 0) <= 255
    )


# What is wrong with a request, one thing at a time; much of it means nothing to most operations.
ADDRESSES = ["", "?after=x", "?no_such=1", "?dry_run=true"]
HEADERS = [
    {"If-Match": "x"},
    {"If-Match": '"x"'},
    {"If-None-Match": "x"},
    {"If-None-Match": "*"},
    {"Content-Type": "text/plain"},
    {"Idempotency-Key": ""},
]
WRONG_PASSWORD = {"password": "x" * 8, "current_password": "y" * 8}
BODIES = ["{", '{"no_such": 1}', f'"{"x" * 70_000}"']


@pytest.fixture
async def clients(
    database_url: URL, client: AsyncClient, app: FastAPI
) -> AsyncIterator[dict[str, AsyncClient]]:
    """Give clients of the service, of others with other settings, and of other people."""
    url, unreachable = spelled(database_url), "postgresql://nobody@127.0.0.1:1/nowhere"
    user = {"Authorization": await sign_in(app, PRINCIPAL + 1, is_superuser=False)}
    async with AsyncExitStack() as stack:
        found = {"usual": client}
        for name, settings, headers in (
            ("strict", Settings(database_url=url, require_if_match=True), client.headers),
            ("busy", Settings(database_url=url, login_tries_per_name=1), client.headers),
            ("without a database", Settings(database_url=unreachable), client.headers),
            ("impatient", Settings(database_url=url, bulk_seconds=1), client.headers),
            ("of another user", Settings(database_url=url), user),
            ("of nobody", Settings(database_url=url), {}),
        ):
            app = create_app(settings)
            await stack.enter_async_context(app.router.lifespan_context(app))
            other = AsyncClient(
                transport=ASGITransport(app), base_url="http://songbook", headers=headers
            )
            found[name] = await stack.enter_async_context(other)
        yield found


class Operations:
    """The operations of a resource: the statuses that they declare, and those that they give."""

    def __init__(
        self, app: FastAPI, document: dict[str, Any], resource: Resource, client: AsyncClient
    ) -> None:
        self.app = app
        self.resource = resource
        self.client = client
        self.declared: dict[tuple[str, str], set[int]] = {}
        self.taken: dict[tuple[str, str], set[str]] = {}
        self.kinds: dict[tuple[str, str], str] = {}
        self.keyed: list[tuple[str, str]] = []
        for method, path, operation in operations(document):
            below = (f"{resource.path}/", f"{resource.path}.")
            if f"{path}/".startswith(below) and not is_of_others(method, path):
                declared = operation["responses"].keys() - {"default", "500"}
                self.declared[method, path] = {int(status) for status in declared}
                self.kinds[method, path] = kind_of(operation)
                self.taken[method, path] = taken_by(document, operation, resource)
                described = parameters_of(document, path, method.lower())
                parameters = {each["name"] for each in described}
                if "Idempotency-Key" in parameters:
                    self.keyed.append((method, path))
        self.given: dict[tuple[str, str], set[int]] = {each: set() for each in self.declared}

    async def ask(
        self,
        client: AsyncClient | None = None,
        query: str = "",
        headers: dict[str, str] | None = None,
        content: str = "",
        *,
        number: str = "",
        stored: bool = False,
    ) -> None:
        """Send a request to each operation: of a record just added, with fields as its schema has.

        `stored`: with those of another record, of a record that another one refers to, or with
        references to no record.
        """
        for method, path in self.declared:
            fields, added = self.resource.body(), await self.resource.add(self.client)
            if stored:
                await self.resource.add(self.client, **fields)
                await self.resource.add_child(self.app, added.json()["id"])
            fitting = {name: fields[name] for name in self.taken[method, path] & {*fields}}
            kind = self.kinds[method, path]
            if stored:
                fitting |= dict.fromkeys(self.resource.parents.keys() & {*fitting}, 10**15)
            answer = await (client or self.client).request(
                method,
                path.replace("{id}", number or str(added.json()["id"])) + query,
                headers={"Content-Type": kind, **(headers or {})},
                content=content or content_of(fitting, kind),
            )
            self.given[method, path].add(answer.status_code)

    async def ask_again(self, key: str) -> None:
        """Send to each operation that knows keys one that is in use, all at once: each waits."""
        added = (await self.resource.add(self.client)).json()["id"]
        fields = self.resource.body()

        async def ask(method: str, path: str) -> None:
            fitting = {name: fields[name] for name in self.taken[method, path] & {*fields}}
            kind = self.kinds[method, path]
            headers = {"Idempotency-Key": key, "Content-Type": kind}
            content, at = content_of(fitting, kind), path.replace("{id}", str(added))
            answer = await self.client.request(method, at, content=content, headers=headers)
            self.given[method, path].add(answer.status_code)

        await asyncio.gather(*(ask(*operation) for operation in self.keyed))

    async def send_rows(self, client: AsyncClient, *, unended: bool = False) -> None:
        """Send a row wherever many are taken, all at once; without an end only its beginning."""

        async def send(way: tuple[str, str], kind: str) -> None:
            content = unending() if unended else content_of(self.resource.body(), kind)
            answer = await client.request(*way, content=content, headers={"Content-Type": kind})
            self.given[way].add(answer.status_code)

        ways = [way for way in self.declared if 408 in self.declared[way]]
        await asyncio.gather(*(send(way, self.kinds[way]) for way in ways))


async def unending() -> AsyncIterator[bytes]:
    """Give the beginning of a body, and nothing more."""
    yield b"{"
    await asyncio.Event().wait()


@asynccontextmanager
async def holding(app: FastAPI, key: str) -> AsyncIterator[None]:
    """Have a key in use by a request that is still being answered, whoever sent it."""
    async with app.state.service.database.engine.connect() as connection:
        for principal in (0, PRINCIPAL):
            values = {"principal": principal, "key": sha256(key.encode()).digest()}
            table = SQLModel.metadata.tables["idempotency"]
            await connection.execute(insert(table).values(**values, fingerprint=b""))
        yield
        await connection.rollback()


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow."""
    soft, hard = resource_limits.getrlimit(resource_limits.RLIMIT_FSIZE)
    resource_limits.setrlimit(resource_limits.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource_limits.setrlimit(resource_limits.RLIMIT_FSIZE, (soft, hard))


def is_of_others(method: str, path: str) -> bool:
    """Return whether an operation writes records under another one: its own tests are about it."""
    return re.search(r"\{id\}/(?!restore)", path) is not None and method != "GET"


def kind_of(operation: dict[str, Any]) -> str:
    """Return the media type of an operation's body."""
    return next(iter(operation.get("requestBody", {}).get("content", {})), JSON)


def content_of(fields: dict[str, Any], kind: str) -> bytes:
    """Return a body with these fields."""
    return json.dumps(fields).encode() if kind == JSON else written([fields], kind)


def taken_by(document: dict[str, Any], operation: dict[str, Any], resource: Resource) -> set[str]:
    """Return the fields of an operation's body; of one's own none that need its password."""
    content = operation.get("requestBody", {}).get("content", {})
    if content and JSON not in content:
        return {*resource.create.model_fields}
    schema = resolved(document, content[JSON]["schema"]) if content else {}
    fields = set(schema.get("properties", {}))
    return fields - {*schema.get("dependentRequired", {})}


@slow
@pytest.mark.long
async def test_an_operation_gives_every_status_that_it_declares_and_no_other(
    app: FastAPI,
    clients: dict[str, AsyncClient],
    document: dict[str, Any],
    resource: Resource,
    restore_bounds: Callable[[str], None],
) -> None:
    asked = Operations(app, document, resource, clients["usual"])

    await asked.ask(content="{}", number=f"{PRINCIPAL}")  # who is the last superuser, so far
    for client in clients.values():
        await asked.ask(client)
    for address in ADDRESSES:
        await asked.ask(query=address)
    for headers in HEADERS:
        await asked.ask(headers=headers)
    for body in BODIES:
        await asked.ask(content=body)
    for number in ("0", "x"):
        await asked.ask(number=number)
    for name in ("of another user", "of nobody"):
        await asked.ask(clients[name], query="?deleted=only")
    await asked.ask(stored=True)
    for _ in range(2):
        await asked.ask(clients["busy"], content=json.dumps(WRONG_PASSWORD))
    for module in ("idempotency", "transactions"):  # a second for another one with the same key
        restore_bounds(f"songbook.crud.{module}")
    async with holding(app, "held"):
        await asyncio.gather(
            asked.ask_again("held"), asked.send_rows(clients["impatient"], unended=True)
        )
    with full_disk():
        await asked.send_rows(clients["usual"])

    assert asked.given == asked.declared


@pytest.fixture
def address(migrated_url: URL) -> Iterator[str]:
    """Give the address of a service on a database of its own."""
    settings = Settings(
        database_url=spelled(migrated_url),
        login_tries_per_address=10**6,
        login_tries_per_name=10**6,
    )
    app = create_app(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, server_header=False))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def token(migrated_url: URL) -> str:
    """Give the token of a superuser whom no request can remove or change so that it ends."""
    email, password = "superuser@example.org", passwords.hasher.hash("of the superuser")
    execute(
        migrated_url,
        "INSERT INTO users (id, username, slug, email, hashed_password, is_superuser) VALUES"
        f" ({PRINCIPAL}, 'superuser', 'superuser', '{email}', '{password}', true)",
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF TG_OP = 'DELETE' THEN RAISE integrity_constraint_violation; END IF;"
        " NEW.username := OLD.username; NEW.email := OLD.email;"
        " NEW.hashed_password := OLD.hashed_password;"
        " NEW.is_superuser := true; NEW.is_active := true; RETURN NEW; END $$",
        "CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON users FOR EACH ROW"
        f" WHEN (OLD.id = {PRINCIPAL}) EXECUTE FUNCTION keep()",
    )
    return tokens.encode(Settings().token_secret, email, time.time(), minutes=60)


@pytest.mark.processes
@slow
@pytest.mark.timeout(1500)
def test_schemathesis_finds_nothing(address: str, document: dict[str, Any], token: str) -> None:
    # Traced, Schemathesis itself takes twice as long; what is to be covered is the service.
    untraced = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    tried = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json", "--no-color"],
        cwd=PROJECT,
        env={**untraced, "SONGBOOK_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=1400,
        check=False,
    )

    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert f"Tested: {len(list(operations(document)))}\n" in tried.stdout
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}\n" in tried.stdout
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{address}/users/me", headers=headers).status_code == 200
